"""pass@k while a model trains: training does not notice, a kill loses nothing."""

from __future__ import annotations

import json
from itertools import combinations

import pandas as pd
import pytest
from test_stages import GRPO, LORA, Killed, equal, run_grpo, weights_of

from conftest import MICRO
from rlvr import config, tables
from rlvr.engines import checkpoints, evaluation
from rlvr.errors import RlvrError
from rlvr.pass_at import estimate

ASKED = {
    "every_steps": 2,
    "every_epochs": None,
    "items": 5,
    "samples": 3,
    "temperature": 1.0,
    "pass_at": [1, 3],
    "max_completion_tokens": 4,
    "batch_size": 6,
    "seed": 0,
}
MOVING = {"random": 1.0}
"""A model that is never right would not be moved by the other rewards."""
TRAINER = {**GRPO["trainer"], "max_steps": 4, "save_steps": 2}


def test_pass_at_k_is_the_share_of_draws_with_a_right_one():
    for right in range(6):
        draws = list(combinations([True] * right + [False] * (5 - right), 3))
        assert estimate(right, 5, 3) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_the_subset_is_the_same_for_a_seed_and_takes_each_task():
    rows = [{"task": task, "key": f"{task}{i}"} for task in "xy" for i in range(9)]
    first = evaluation.subset(rows, 4, seed=0)
    assert first == evaluation.subset(rows, 4, seed=0) != evaluation.subset(rows, 4, seed=1)
    assert [row["task"] for row in first] == ["x"] * 4 + ["y"] * 4
    assert len(evaluation.subset(rows, 100, seed=0)) == 18


@pytest.mark.parametrize("adapter", [None, {**LORA, "dropout": 0.3}], ids=["all weights", "adapter with dropout"])
def test_training_ends_with_the_same_weights_with_and_without(made, tmp_path, adapter):
    changes = {"adapter": adapter, "trainer": TRAINER, "rewards": MOVING}
    without = run_grpo(made, tmp_path / "without", None, **changes)
    with_it = run_grpo(made, tmp_path / "with", None, **changes, evaluate=ASKED)
    assert equal(weights_of(without), weights_of(with_it))
    rows = [tables.read(tmp_path / name / "c.parquet") for name in ("without", "with")]
    assert rows[0] == rows[1]
    metrics = [pd.read_parquet(tmp_path / name / "m.parquet") for name in ("without", "with")]
    columns = [f"evaluate/countdown/pass@{k}" for k in (1, 3)]
    evaluated = metrics[1][metrics[1][columns[0]].notna()]
    assert list(evaluated["step"]) == [0, 2, 4] and evaluated[columns].notna().all(axis=None)
    trained = metrics[1][metrics[1][columns[0]].isna()].drop(columns=columns).reset_index(drop=True)
    assert metrics[0]["grad_norm"].min() > 0
    timeless = [each.drop(columns=["step_time", "sampling_time"]) for each in (trained, metrics[0])]
    pd.testing.assert_frame_equal(*timeless, check_dtype=False, check_like=True)
    answers = pd.read_parquet(tmp_path / "with" / "e.parquet")
    assert answers.groupby(["step", "key"]).size().tolist() == [3] * 15
    assert set(answers["key"]) <= set(pd.read_parquet(made.eval)["key"])
    assert not len(pd.read_parquet(tmp_path / "without" / "e.parquet"))


def test_a_killed_run_goes_on_with_the_same_answers(made, tmp_path, monkeypatch):
    def kill(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise Killed

    settings = {**ASKED, "every_steps": None, "every_epochs": 1 / 32}  # 2 of 64 prompts a step: every step
    changes = {"trainer": TRAINER, "evaluate": settings, "keep_completions": 4, "adapter": LORA, "rewards": MOVING}
    run_grpo(made, tmp_path / "whole", None, **changes)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints.Sealer, "on_step_begin", kill)
        run_grpo(made, tmp_path / "killed", None, **changes)
    run_grpo(made, tmp_path / "killed", None, **changes)
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    assert equal(weights_of(whole / "policy"), weights_of(killed / "policy"))
    for name, rows in (("e", 5 * 15), ("c", 4 * 4)):
        found = [tables.read(folder / f"{name}.parquet") for folder in (whole, killed)]
        assert found[0] == found[1] and len(found[0]) == rows
    names = [c for c in pd.read_parquet(whole / "m.parquet").columns if c.startswith("evaluate/")]
    metrics = [pd.read_parquet(folder / "m.parquet")[["step", *names]] for folder in (whole, killed)]
    pd.testing.assert_frame_equal(*metrics)
    assert len(names) == 2


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({}, "grpo.evaluate: every_steps, every_epochs: exactly one of them is needed"),
        ({"every_steps": 1, "every_epochs": 1.0}, "exactly one of them is needed"),
        ({"every_steps": 0}, "grpo.evaluate.every_steps: 0 is not possible; allowed: greater than or equal to 1"),
        ({"every_steps": 1, "pass_at": [1, 8]}, "pass_at: 8 is not possible; allowed: up to samples (4)"),
        ({"every_steps": 1, "pass_at": [1, 1]}, "pass_at: each k once"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, section, line):
    file = tmp_path / "experiment.yaml"
    file.write_text(json.dumps({**MICRO, "grpo": {**MICRO["grpo"], "evaluate": section}}))
    with pytest.raises(RlvrError) as raised:
        config.load([file])
    assert line in str(raised.value)
