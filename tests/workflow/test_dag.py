"""Which rules run again after a change: exactly those that depend on it."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from conftest import MICRO, snakemake, write_config

AFTER_GRPO = {"export": 2, "generate": 2, "score": 2, "report": 1}


def planned(checkout: Path, **env: str) -> dict[str, int]:
    """Jobs a dry run would start, by rule; without config slices and the target itself."""
    output = snakemake(checkout, "--dry-run", **env).stdout
    if "Nothing to be done" in output:
        return {}
    stats = re.search(r"Job stats:\n.*\n-+ .*\n((?:.+\n)+)", output)[1]
    jobs = {name: int(count) for name, count in (line.split() for line in stats.splitlines())}
    return {name: n for name, n in jobs.items() if name not in ("total", "default", "config_slice")}


def changed(**sections) -> dict:
    config = copy.deepcopy(MICRO)
    for key, value in sections.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    return config


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    file.write_text(text.replace(old, new))


def test_nothing_runs_twice(after_run):
    assert planned(after_run) == {}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            changed(grpo={"rewards": {"correctness": 1.0, "format": 0.2}}),
            {"grpo": 2, **AFTER_GRPO},
        ),
        (changed(seeds=[0, 1]), {"grpo": 2, **AFTER_GRPO}),
        (
            changed(grpo={"variants": {**MICRO["grpo"]["variants"], "bnpo": {"trainer": {"loss_type": "bnpo"}}}}),
            {"grpo": 1, "export": 1, "generate": 1, "score": 1, "report": 1},
        ),
        (
            changed(sft={"trainer": {**MICRO["sft"]["trainer"], "learning_rate": 1e-4}}),
            {"sft": 1, "grpo": 2, "export": 3, "generate": 3, "score": 3, "report": 1},
        ),
        (
            changed(evaluation={"max_completion_tokens": 9}),
            {"generate": 4, "score": 4, "report": 1},
        ),
        ({**MICRO, "report": {"samples": 3}}, {"report": 1}),
    ],
    ids=["reward weight", "added seed", "added variant", "sft option", "evaluation", "report"],
)
def test_a_config_change_reruns_what_depends_on_it(after_run, config, expected):
    write_config(after_run, config)
    assert planned(after_run) == expected


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "rlvr_plugins/rewards/format.py",
            "1.0 if sample.verdict.well_formed",
            "0.9 if sample.verdict.well_formed",
            {"grpo": 2, **AFTER_GRPO},
        ),
        (
            "rlvr_plugins/verifiers/expressions.py",
            "MAX_CHARACTERS = 200",
            "MAX_CHARACTERS = 199",
            {"grpo": 2, "export": 2, "generate": 2, "score": 4, "report": 1},
        ),
        ("workflow/rlvr/reporting/accuracy.py", 'method="wilson"', 'method="exact"', {"report": 1}),
        ("workflow/rlvr/reporting/page.html.j2", "<h2>Data</h2>", "<h2>Rows</h2>", {"report": 1}),
        ("rlvr_plugins/rewards/format.py", "right or wrong.", "whether right or wrong.", {}),
        ("workflow/rlvr/stages/sft.py", "SFT warm-start on", "A warm start on", {}),
        ("workflow/rlvr/cli.py", "prog=", "add_help=True, prog=", {}),
        ("rlvr_plugins/tasks/gsm8k.py", 'REPOSITORY = "openai/gsm8k"', 'REPOSITORY = "other/gsm8k"', {}),
    ],
    ids=[
        "reward source",
        "verifier source",
        "report module",
        "report template",
        "docstring of a reward",
        "docstring of a stage",
        "command line",
        "task that is not used",
    ],
)
def test_an_edit_reruns_what_depends_on_it(after_run, file, old, new, expected):
    edit(after_run / file, old, new)
    assert planned(after_run) == expected
