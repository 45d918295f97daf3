"""The presets: each is valid, alone and on every tier of memory, can be planned, and trains with a tiny model."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pandas as pd
import pytest

from conftest import ROOT, copy_checkout, snakemake, write_config
from rlvr import comparison, config, revisions, slices, yaml_files
from rlvr_plugins.tasks import word_problems

FOLDER = ROOT / "config" / "presets"
PRESETS = {path.stem: [path] for path in sorted(FOLDER.glob("*.yaml"))}
PRESETS |= {
    f"{overlay.parent.name}/{overlay.stem}": [*PRESETS[overlay.parent.name], overlay]
    for overlay in sorted(FOLDER.glob("*/*.yaml"))
}
TIERS = sorted((ROOT / "config" / "memory").glob("*.yaml"))
REAL = [name for name in PRESETS if not name.startswith("tiny")]


def load(name: str, *more: Path) -> config.Config:
    return config.load([*PRESETS[name], *more])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_says_where_it_comes_from(name):
    loaded = load(name)
    head = PRESETS[name][0].read_text().partition("\nexperiment:")[0]
    if loaded.base.kind == "hub":
        assert "not measured by us" in head.replace("\n# ", " ")


def test_presets_have_folders_of_their_own():
    names = [load(name).experiment for name in PRESETS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("tier", TIERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", [name for name in PRESETS if load(name).adapter])
def test_a_tier_of_memory_keeps_the_batches_and_all_that_is_learned_but_the_bits_it_names(name, tier):
    """Loading refuses a batch that does not hold whole groups."""
    plain, small = slices.of(load(name)), slices.of(load(name, tier))
    assert plain.keys() == small.keys()
    for stage in plain:
        if stage == "preflight":  # estimates the memory that the tier is about
            continue
        if stage.startswith("generate"):
            assert {**small[stage], "batch_size": None} == {**plain[stage], "batch_size": None}
        elif stage.startswith(("sft", "grpo")):
            before, after = plain[stage].pop("trainer"), small[stage].pop("trainer")
            assert _rows(before) == _rows(after)
            assert _without_sizes(before) == _without_sizes(after)
            if yaml_files.load_mapping(tier).get("adapter"):
                plain[stage]["adapter"] = {**plain[stage]["adapter"], "load_in_4bit": True}
            assert plain[stage] == small[stage]
        else:
            assert plain[stage] == small[stage]


def _rows(trainer: dict) -> int:
    return trainer.get("per_device_train_batch_size", 8) * trainer.get("gradient_accumulation_steps", 1)


def _without_sizes(trainer: dict) -> dict:
    return {key: value for key, value in trainer.items() if "batch_size" not in key and "accumulation" not in key}


@pytest.mark.parametrize("name", [*PRESETS, *(tier.stem for tier in TIERS)])
def test_the_documentation_names_every_preset_and_tier(name):
    assert f"{name}.yaml" in (ROOT / "docs" / "presets.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_every_preset_can_be_planned(tmp_path, name):
    checkout = copy_checkout(tmp_path / "checkout")
    files = [str(path.relative_to(ROOT)) for path in PRESETS[name]]
    planned = snakemake(checkout, "--dry-run", "--configfile", *files).stdout
    for line in revisions.unlocked(config.read(PRESETS[name])):
        assert line in planned
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", planned, re.MULTILINE))
    arms = comparison.arms(load(name))
    assert int(jobs["grpo"]) == sum(arm.startswith("grpo/") for arm in arms)
    assert int(jobs["export"]) == len(arms) - 1
    assert int(jobs["generate"]) == int(jobs["score"]) == len(arms) * len(comparison.decodings(load(name)))


TINY = {"model": "tiny", "revision": None}
SHAPE = {"hidden_size": 32, "layers": 1, "heads": 2, "vocabulary": 400, "max_positions": 8192}
DATA = {
    "gsm8k": {"train": 64, "eval": 6, "options": {"source": "synthetic"}},
    "countdown": {"train": 256, "eval": 6, "options": {"source": "generator", "counts": [3, 4]}},
    "openmath": {"options": {"source": "path", "train_path": "openmath.jsonl"}},
}
STEPS = {"max_steps": 2, "optim": "adamw_torch"}


def swapped(name: str) -> dict:
    """The preset with the model, the data, the number of steps, the lengths and the engines swapped, and no gate."""
    content: dict = {}
    for file in PRESETS[name]:
        content = yaml_files.merge(content, yaml_files.load_mapping(file))
    over = {
        "base": {**TINY, "tiny": SHAPE},
        "tasks": {task: DATA[task] for task in content["tasks"]},
        "adapter": {"load_in_4bit": False},
        "engines": {"training": "transformers", "generation": "transformers", "rollouts": "transformers"},
        "grpo": {"trainer": {**STEPS, "max_completion_length": 8}},
        "evaluation": {"max_completion_tokens": 8},
        "gate": {"mode": "off"},
        "device": "cpu",
    }
    if content.get("sft"):
        over["sft"] = {"trainer": STEPS}
        for task, settings in content["tasks"].items():
            if task != "openmath" and (settings or {}).get("sft") != 0:
                over["tasks"][task] = {**DATA[task], "sft": 64}
    return yaml_files.merge(content, over)


def _write_openmath(path: Path) -> None:

    rng = random.Random(0)
    rows = []
    for _ in range(64):
        question, solution = word_problems.generate(rng)
        steps, _, answer = solution.rpartition("####")
        rows.append(
            {
                "problem": question,
                "expected_answer": answer.strip(),
                "generated_solution": steps.strip(),
                "problem_source": "x",
            }
        )
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_every_preset_trains_for_two_steps_with_a_tiny_model(tmp_path, name):
    checkout = copy_checkout(tmp_path / "checkout")
    _write_openmath(checkout / "openmath.jsonl")
    content = swapped(name)
    write_config(checkout, content)
    snakemake(checkout)
    run = checkout / "results" / content["experiment"]
    table = pd.read_csv(run / "report" / "pass_at_1.csv", keep_default_na=False)
    assert set(table["arm"]) == {"base", "grpo"} | ({"sft"} if content.get("sft") else set())
    [trained] = (run / "grpo").glob("*/seed0")
    metrics = pd.read_parquet(trained / "metrics.parquet")
    assert metrics["step"].max() == 2 and {"entropy", "completions/mean_length"} <= set(metrics.columns)
    assert {f"rewards/{reward}/mean" for reward in content["grpo"]["rewards"]} <= set(metrics.columns)
    sampled = pd.read_parquet(trained / "completions.parquet")
    assert len(sampled) >= 2 * _rows(content["grpo"]["trainer"])
    page = (run / "report/index.html").read_text()
    prompts = content["tasks"].get("gsm8k", {}).get("prompts", {})
    for kind, prompt in prompts.items():
        asked = pd.read_parquet(run / f"eval/{kind}/gsm8k/greedy/completions.parquet")["prompt"]
        assert all(messages[0]["content"] == prompt["system_prompt"] for messages in asked)
        assert all(messages[1]["content"].endswith("\nLet's think step by step.") for messages in asked)
        assert "&lt;reasoning&gt;\nPut your reasoning here." in page
    assert ("Not under the prompt of training: base on gsm8k" in (run / "report/pass_at_1.md").read_text()) == bool(
        prompts
    )
    several = run / "report/pass_at_k.csv"
    if "sampled" in content["evaluation"]:
        ks = pd.read_csv(several)
        assert sorted(set(ks["k"])) == content["evaluation"]["sampled"]["pass_at"] and set(ks["samples"]) == {10}
    else:
        assert not several.exists()
