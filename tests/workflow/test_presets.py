"""The presets: each is valid, alone and on every tier of memory, can be planned, and trains with a tiny model."""

from __future__ import annotations

import json
import random
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from conftest import ROOT, copy_checkout, snakemake, write_config
from rlvr import comparison, config, revisions, slices, yaml_files
from rlvr.engines import choice
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


def header(name: str) -> list[str]:
    """The arguments of the command that the last file of a preset says it starts with."""
    head = re.split(r"^\w+:", PRESETS[name][-1].read_text(), maxsplit=1, flags=re.MULTILINE)[0]
    [command] = re.findall(r"^# +snakemake (.+)$", head, re.MULTILINE)
    return shlex.split(command)


def named(name: str) -> list[Path]:
    """The config files of that command."""
    arguments = header(name)
    return [ROOT / file for file in arguments[arguments.index("--configfile") + 1 :]]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_says_where_it_comes_from(name):
    loaded = load(name)
    head = PRESETS[name][0].read_text().partition("\nexperiment:")[0]
    if loaded.base.kind == "hub":
        assert "not measured by us" in head.replace("\n# ", " ")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_the_command_that_starts_it(name):
    files = named(name)
    assert files[: len(PRESETS[name])] == PRESETS[name]
    cut = slices.of(config.load(files))
    assert any(stage.startswith("grpo/") for stage in cut)
    assert set(files[len(PRESETS[name]) :]) <= set(TIERS)
    if load(name).adapter and name != "smollm2-countdown":
        [tier] = files[len(PRESETS[name]) :]
        rows = (ROOT / "docs" / "presets.md").read_text().splitlines()
        [row] = [row for row in rows if row.startswith("|") and f"`{name.partition('/')[0]}.yaml`" in row]
        assert tier.name in row


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith("/night")])
def test_a_night_is_the_same_experiment_with_fewer_steps(name):
    whole, night = slices.of(load(name.partition("/")[0])), slices.of(load(name))
    assert set(whole) == set(night)
    for stage in whole:
        if stage.startswith("grpo/"):
            before, after = whole[stage]["trainer"], night[stage]["trainer"]
            apart = {key for key in {*before, *after} if before.get(key) != after.get(key)}
            assert {"max_steps", "save_steps"} <= apart <= {"max_steps", "save_steps", "warmup_steps"}
            assert after["save_steps"] < after["max_steps"]
            assert {**whole[stage], "trainer": None} == {**night[stage], "trainer": None}


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith("/night")])
def test_a_night_takes_10_to_12_hours_on_the_tier_of_its_command(name):
    """By the table of the documentation, which is arithmetic."""
    tier = named(name)[-1].stem.removesuffix("gb")
    rows = (ROOT / "docs" / "presets.md").read_text().splitlines()
    [row] = [row for row in rows if row.startswith(f"| `{name.partition('/')[0]}` | {tier} GB |")]
    assert 10 <= float(row.rpartition(" | ")[2].removesuffix(" h |")) <= 12


@pytest.mark.parametrize("name", [name for name in PRESETS if "/" not in name and load(name).adapter])
def test_the_table_of_presets_is_current(name, monkeypatch):
    """On one tier; the whole table is a slow test."""
    monkeypatch.setattr(choice, "installed", lambda part: True)
    made = runpy.run_path(str(ROOT / "benchmarks" / "preset_table.py"))["line"](name, 24)
    assert made in (ROOT / "docs" / "presets.md").read_text(), "run python benchmarks/preset_table.py"


@pytest.mark.slow
def test_the_whole_table_of_presets_is_current():
    """In a process of its own, where all packages count as installed; 7 s of CPU time."""
    command = [sys.executable, ROOT / "benchmarks" / "preset_table.py", "--check"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


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
        if stage in ("preflight", "hours"):  # about the memory that the tier is for, and the time
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
    planned = snakemake(checkout, "--dry-run", *header(name)).stdout
    for line in revisions.unlocked(config.read(named(name))):
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
@pytest.mark.usefixtures("preloaded")
@pytest.mark.parametrize("name", [name for name in REAL if not name.endswith("/night")])
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
