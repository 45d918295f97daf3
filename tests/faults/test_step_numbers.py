"""The tables of a run count its steps alike, so that they can be joined on `step`."""

from __future__ import annotations

import pandas as pd
import pytest

from rlvr.stages import grpo

TRAINER = {"max_steps": 3, "learning_rate": 1e-3, "steps_per_generation": 1}
EVALUATE = {
    "every_steps": 1,
    "every_epochs": None,
    "items": 2,
    "samples": 1,
    "temperature": 1.0,
    "pass_at": [1],
    "max_completion_tokens": 4,
    "batch_size": 2,
    "seed": 0,
}


@pytest.mark.slow
def test_completions_and_answers_join_the_metrics_of_their_step(made, tmp_path):
    """Completions of step n are sampled for the n-th update; answers of step n come after it, those of 0 before all."""
    cut = made.cut["grpo/dapo/seed0"]
    changes = {"rewards": {"random": 1.0}, "trainer": cut["trainer"] | TRAINER, "evaluate": EVALUATE}
    outputs = {name: tmp_path / name for name in ("policy", "metrics", "completions", "evaluated")}
    grpo.run(cut | changes, base=made.base, data=[made.train], held_out=[made.eval], **outputs)
    metrics, completions, evaluated = (pd.read_parquet(outputs[name]) for name in list(outputs)[1:])
    trained = metrics[metrics["reward"].notna()].set_index("step")
    assert list(trained.index) == [1, 2, 3]
    by_step = completions.groupby("step")
    for column, mean in (("rewards/random", "rewards/random/mean"), ("tokens", "completions/mean_length")):
        assert by_step[column].mean().to_dict() == pytest.approx(trained[mean].to_dict())
    assert by_step["rewards/random"].mean().nunique() == 3, "each step has a mean of its own to be told by"
    measured = metrics.set_index("step")["evaluate/countdown/pass@1"].dropna()
    assert evaluated.groupby("step")["strict"].mean().to_dict() == measured.to_dict()
    assert list(measured.index) == [0, 1, 2, 3]
