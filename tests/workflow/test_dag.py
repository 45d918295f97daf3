"""Which rules run again after a change: exactly those that depend on it."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from conftest import MICRO, snakemake, write_config

AFTER_GRPO = {"export": 2, "gate": 2, "generate": 2, "score": 2, "report": 1}
AFTER_ALL = {"export": 3, "gate": 3, "generate": 3, "score": 3, "report": 1}


def planned(checkout: Path, *targets: str, **env: str) -> dict[str, int]:
    """Jobs a dry run would start, by rule; without config slices and the target itself."""
    output = snakemake(checkout, "--dry-run", *targets, **env).stdout
    if "Nothing to be done" in output:
        return {}
    stats = re.search(r"Job stats:\n.*\n-+ .*\n((?:.+\n)+)", output)[1]
    jobs = {name: int(count) for name, count in (line.split() for line in stats.splitlines())}
    return {name: n for name, n in jobs.items() if name not in ("total", "default", "config_slice")}


def changed(**sections) -> dict:
    config = copy.deepcopy(MICRO)
    for key, value in sections.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
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
            {"preflight": 1, "dataset": 1, "grpo": 1, "export": 1, "gate": 1, "generate": 1, "score": 1, "report": 1},
        ),
        (
            changed(sft={"trainer": {**MICRO["sft"]["trainer"], "learning_rate": 1e-4}}),
            {"sft": 1, "grpo": 2, **AFTER_ALL},
        ),
        (
            changed(evaluation={"max_completion_tokens": 9}),
            {"preflight": 1, "generate": 4, "score": 4, "report": 1},
        ),
        ({**MICRO, "report": {"samples": 3}}, {"report": 1}),
        (
            {**MICRO, "filters": [{"duplicates": {}}, {"tokens": {"max": 499}}]},
            {"filter": 2, "preflight": 1, "dataset": 1, "sft": 1, "grpo": 2, **AFTER_ALL},
        ),
        (
            {**MICRO, "filters": [{"duplicates": {"by": "normalised"}}, {"tokens": {"max": 500}}]},
            {"filter": 3, "preflight": 1, "dataset": 1, "sft": 1, "grpo": 2, **AFTER_ALL},
        ),
        (
            {**MICRO, "filters": [*MICRO["filters"], {"pass_rate": {"samples": 2, "max_completion_tokens": 8}}]},
            {"preflight": 1, "rollouts": 1, "select": 1, "dataset": 1, "grpo": 2, **AFTER_GRPO},
        ),
        (changed(grpo={"max_epochs": 3}), {"dataset": 1, "report": 1}),
        (changed(preflight={"reserve": 0.2}), {"preflight": 1}),
        (changed(gate={"max_kl": 0.4}), {"gate": 3, "report": 1}),
        (
            changed(
                tasks={"countdown": {**MICRO["tasks"]["countdown"], "prompts": {"base": {"system_prompt": "Add."}}}}
            ),
            {"preflight": 1, "generate": 1, "score": 1, "report": 1},
        ),
        (
            changed(
                tasks={"countdown": {**MICRO["tasks"]["countdown"], "prompts": {"base": {"system_prompt": "Add."}}}},
                evaluation={"cross_protocol": True},
            ),
            {"preflight": 1, "generate": 5, "score": 5, "report": 1},
        ),
        (
            changed(evaluation={"sampled": {"samples": 2, "pass_at": [1, 2]}}),
            {"generate": 4, "score": 4, "report": 1},
        ),
    ],
    ids=[
        "reward weight",
        "added seed",
        "added variant",
        "sft option",
        "evaluation",
        "report",
        "bound of the last filter",
        "option of the first filter",
        "added pass rate",
        "max_epochs",
        "preflight",
        "bound of the gate",
        "prompt of the base arm",
        "all arms under all prompts",
        "samples beside greedy",
    ],
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
            {"grpo": 2, **AFTER_GRPO, "score": 4},
        ),
        (
            "rlvr_plugins/filters/duplicates.py",
            "seen before",
            "repeated",
            {"filter": 3, "preflight": 1, "dataset": 1, "sft": 1, "grpo": 2, **AFTER_ALL},
        ),
        ("rlvr_plugins/filters/pass_rate.py", '"not sampled"', '"left out"', {}),
        ("workflow/rlvr/reporting/card.md.j2", "## Columns", "## The columns", {"dataset": 1, "report": 1}),
        ("workflow/rlvr/statistics/proportions.py", 'method="wilson"', 'method="beta"', {"report": 1}),
        ("workflow/rlvr/reporting/page.html.j2", "<h2>Data</h2>", "<h2>Rows</h2>", {"dataset": 1, "report": 1}),
        ("rlvr_plugins/rewards/format.py", "right or wrong.", "whether right or wrong.", {}),
        ("workflow/rlvr/stages/sft.py", "SFT warm-start on", "A warm start on", {}),
        ("workflow/rlvr/memory/estimate.py", "ROW = 7 *", "ROW = 8 *", {"preflight": 1}),
        ("workflow/rlvr/cli.py", "prog=", "add_help=True, prog=", {}),
        ("rlvr_plugins/tasks/gsm8k.py", 'REPOSITORY = "openai/gsm8k"', 'REPOSITORY = "other/gsm8k"', {}),
    ],
    ids=[
        "reward source",
        "verifier source",
        "filter source",
        "filter that is not used",
        "data card",
        "report module",
        "report template",
        "docstring of a reward",
        "docstring of a stage",
        "preflight",
        "command line",
        "task that is not used",
    ],
)
def test_an_edit_reruns_what_depends_on_it(after_run, file, old, new, expected):
    edit(after_run / file, old, new)
    assert planned(after_run) == expected


def test_filters_see_an_edit_of_what_they_ask_of_the_task_even_where_the_data_was_made_before(after_run):
    edit(after_run / "rlvr_plugins/tasks/countdown.py", '{"id": values["id"]}', '{"name": values["id"]}')
    snakemake(after_run, "results/micro/data/countdown/raw/manifest.json")
    plan = planned(after_run)
    assert plan["filter"] == 3 and "data" not in plan
