"""Stages stop at another protocol than the one their inputs were made under."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from test_stages import GRPO, SFT

from rlvr import cli, comparison, config, protocol, provenance, slices
from rlvr.errors import RlvrError
from rlvr.reporting import protocols
from rlvr.reporting.results import Arm, Results

EVALUATION = {"max_completion_tokens": 4, "batch_size": 12, "engine": "transformers", "device": "cpu"}
EVALUATION |= {"prompt": None, "sampled": None}
EXPORT = {"dtype": "bfloat16"}


def stage(name: str, folder: Path, settings: dict, manifest: str = "manifest.json", **files: Path) -> dict:
    """Runs a stage as its rule would; returns its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(settings))
    arguments = [name, "--config", folder / f"{name}.json", "--manifest", folder / manifest]
    for key, path in files.items():
        arguments += [f"--{key.replace('_', '-')}", path]
    parsed = cli._parser().parse_args(list(map(str, arguments)))
    cli._execute(name, parsed)
    return json.loads((folder / manifest).read_text())


def rewrite(folder: Path, **changes) -> None:
    """Makes a manifest hold for files that were changed, as someone would who wants to get by."""
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text()) | changes
    files = [folder / name for name in {Path(name).parts[0] for name in content.pop("files")}]
    provenance.write_manifest(manifest, files, content)


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory):
    """An experiment's folder with rows, base, SFT and its model, each with its manifest."""
    root = tmp_path_factory.mktemp("locked")
    raw = root / "raw"
    outputs = {key: raw / f"{key}.parquet" for key in ("train", "eval", "sft")} | {"stats": raw / "stats.json"}
    stage("data", raw, made.cut["data/countdown"], **outputs)
    shutil.copytree(made.base, root / "base" / "weights")
    provenance.write_manifest(root / "base" / "manifest.json", [root / "base" / "weights"], {"stage": "base"})
    files = {"base": root / "base" / "weights", "data": raw / "sft.parquet"}
    settings = {**SFT, "trainer": {**SFT["trainer"], "max_steps": 1}}
    sft = root / "sft"
    stage("sft", sft, settings, **files, policy=sft / "policy", metrics=sft / "metrics.parquet")
    model = root / "model"
    stage("export", model, EXPORT, base=files["base"], policy=sft / "policy", weights=model / "weights")
    return root


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def generate(folder: Path, **changes) -> dict:
    files = {"model": folder / "model" / "weights", "data": folder / "raw" / "eval.parquet"}
    return stage(
        "generate", folder / "eval", EVALUATION | changes, **files, completions=folder / "eval" / "completions.parquet"
    )


def score(folder: Path) -> dict:
    files = {"data": folder / "raw" / "eval.parquet", "completions": folder / "eval" / "completions.parquet"}
    scores = folder / "eval" / "scores.parquet"
    return stage("score", folder / "eval", {"task": "countdown"}, "scores.manifest.json", **files, scores=scores)


def grpo(folder: Path) -> dict:
    files = {"base": folder / "base" / "weights", "sft": folder / "sft" / "policy"}
    files |= {"data": folder / "raw" / "train.parquet"}
    run = folder / "grpo"
    outputs = {"policy": run / "policy", "metrics": run / "m.parquet", "completions": run / "c.parquet"}
    settings = {**GRPO, "trainer": {**GRPO["trainer"], "max_steps": 1}}
    return stage("grpo", run, settings, **files, **outputs, evaluated=run / "e.parquet")


def test_the_same_prompt_is_held_from_the_data_to_the_scores(folder):
    found = [json.loads((folder / name / "manifest.json").read_text()) for name in ("raw", "sft", "model")]
    found += [grpo(folder), generate(folder), score(folder)]
    held = [manifest["protocol"]["countdown"] for manifest in found]
    assert len({each["prompt_hash"] for each in held[1:]}) == 1 and held[0]["chat_template"] is None
    assert len({each["system_prompt"] for each in held}) == 1 and held[0]["system_prompt"]
    assert (held[3]["max_completion_tokens"], held[3]["decoding"]["samples"]) == (6, 4)
    assert (held[4]["max_completion_tokens"], held[4]["decoding"]["mode"]) == (4, "greedy")
    assert held[4] == held[5]


def edited_template(weights: Path) -> None:
    file = weights / "chat_template.jinja"
    file.write_text(file.read_text() + "\n{{ 'Go.' }}")


def other_end(weights: Path) -> None:
    file = weights / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": [7]}))


@pytest.mark.parametrize(
    ("change", "line"), [(edited_template, r"chat_template:(.|\n)*\+\{\{ 'Go.' \}\}"), (other_end, 'end_tokens: .*"7"')]
)
def test_a_tokenizer_changed_between_sft_and_evaluation_is_refused_though_its_manifest_holds(folder, change, line):
    change(folder / "model" / "weights")
    rewrite(folder / "model")
    for own in (None, {"task": "countdown", "system_prompt": "Add.", "user_prompt": None}):
        with pytest.raises(RlvrError, match=line):
            generate(folder, prompt=own)
    assert not list((folder / "eval").glob("*.parquet"))


def test_a_template_changed_before_export_or_grpo_is_refused(folder):
    edited_template(folder / "sft" / "policy")
    rewrite(folder / "sft")
    files = {"base": folder / "base" / "weights", "policy": folder / "sft" / "policy"}
    with pytest.raises(RlvrError, match=r"the tokenizer of .*policy: the protocol of countdown"):
        stage("export", folder / "model", EXPORT, **files, weights=folder / "model" / "weights")
    edited_template(folder / "base" / "weights")
    rewrite(folder / "base")
    rewrite(folder / "sft", inputs={"base": provenance.identity(folder / "base" / "weights")})
    with pytest.raises(RlvrError, match=r"chat_template:(.|\n)*\+\{\{ 'Go.' \}\}"):
        grpo(folder)


def test_rows_under_another_prompt_are_refused(folder, made):
    raw = folder / "raw"
    outputs = {key: raw / f"{key}.parquet" for key in ("train", "eval", "sft")} | {"stats": raw / "stats.json"}
    stage("data", raw, {**made.cut["data/countdown"], "system_prompt": "Add."}, **outputs)
    for run in (grpo, generate):
        with pytest.raises(RlvrError, match=r"system_prompt:\n(.|\n)*  \+Add\."):
            run(folder)
    manifest = json.loads((raw / "manifest.json").read_text())
    first = protocol.of_facts(json.loads((folder / "sft" / "manifest.json").read_text())["protocol"])["countdown"]
    rewrite(raw, protocol=protocol.facts({"countdown": first.prompt_part()}), stage=manifest["stage"])
    with pytest.raises(RlvrError, match=r"row '.*' of countdown: stands under another system prompt"):
        generate(folder)


def test_scores_and_report_refuse_what_was_answered_under_another_prompt(folder):
    generate(folder)
    score(folder)
    cells = [comparison.Cell("base", "countdown", "greedy"), comparison.Cell("sft", "countdown", "greedy")]
    for cell in cells:
        shutil.copytree(folder / "eval", folder / cell.folder)
    results = Results(folder, [Arm("base"), Arm("sft")], ["countdown"], {}, cells=cells)
    system = json.loads((folder / "eval" / "manifest.json").read_text())["protocol"]["countdown"]["system_prompt"]
    texts = {"countdown": {"training": {"system_prompt": system, "user_prompt": None}}}
    under = protocols.checked(results, results.verified(), texts)
    assert [each.prompt_hash for each in under.values()] == 2 * [under[cells[0]].prompt_hash]
    assert protocols.cross(results) is None
    crossed = comparison.Cell("base", "countdown", "greedy-as-sft", "sft")
    shutil.copytree(folder / "eval", folder / crossed.folder, ignore=shutil.ignore_patterns("base", "sft"))
    table = protocols.cross(dataclasses.replace(results, cells=[*cells, crossed]))
    assert table.to_dict("records") == [
        {"arm": arm, "task": "countdown", "decoding": "greedy", "prompt of training": "0.0 (0.0–24.2) *"}
        | {"prompt of sft": "" if arm == "sft" else "0.0 (0.0–24.2)"}
        for arm in ("base", "sft")
    ]
    assert "training of sft" in protocols.table(results, results.verified(), under)["of"][0]

    with pytest.raises(RlvrError, match=r"base/countdown/greedy: the protocol of .* that of the config(.|\n)*-Add\."):
        changed = {"countdown": {"training": {"system_prompt": "Add.", "user_prompt": None}}}
        protocols.checked(results, results.verified(), changed)
    generate(folder, max_completion_tokens=3)
    shutil.rmtree(folder / cells[1].folder)
    score(folder)
    shutil.copytree(folder / "eval", folder / cells[1].folder, ignore=shutil.ignore_patterns("base", "sft"))
    with pytest.raises(RlvrError, match=r"sft/countdown/greedy(.|\n)*max_completion_tokens: 4 -> 3"):
        protocols.checked(results, results.verified(), texts)


def test_arms_are_crossed_with_each_others_prompts_only_where_these_differ(tmp_path):
    file = tmp_path / "experiment.yaml"
    own = {"base": {"system_prompt": "Add."}, "sft": {}}
    content = {
        "experiment": "x",
        "tasks": {"gsm8k": {"train": 4, "sft": 4, "eval": 3, "options": {"source": "synthetic"}, "prompts": own}},
        "sft": {},
        "grpo": {"rewards": {"correctness": 1.0}},
        "evaluation": {"cross_protocol": True},
    }
    file.write_text(json.dumps(content))
    loaded = config.load([file])
    cut = slices.of(loaded)
    names = {cell.name: cell.prompt for cell in comparison.cells(loaded)}
    assert names == {
        "base/gsm8k/greedy": "base",
        "base/gsm8k/greedy-as-training": "training",
        "sft/gsm8k/greedy": "sft",
        "sft/gsm8k/greedy-as-base": "base",
        "grpo/grpo/seed0/gsm8k/greedy": "training",
        "grpo/grpo/seed0/gsm8k/greedy-as-base": "base",
    }
    for cell in comparison.cells(loaded):
        put = cut[slices.generate_slice(loaded, cell.arm, cell.task, cell.decoding)]["prompt"]
        texts = cut["report"]["protocols"]["gsm8k"][cell.prompt]
        assert put == (None if cell.prompt == "training" else {"task": "gsm8k", **texts})
    file.write_text(json.dumps({**content, "evaluation": {}}))
    assert [cell.decoding for cell in comparison.cells(config.load([file]))] == ["greedy"] * 3
