"""Rewards that tell no completions apart, or never apply, are said, and end a training that learns nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
from transformers import TrainerState

from conftest import run_grpo
from rlvr import console, tables
from rlvr.engines import training
from rlvr.errors import RlvrError
from rlvr.rewards import Scorer
from rlvr.variance import Variance
from rlvr_plugins import Example

NONE = """
from rlvr_plugins import Reward, hookimpl
@hookimpl
def rlvr_rewards():
    yield Reward("never", lambda sample: None)
"""


@pytest.fixture
def said(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(console, "say", lines.append)
    return lines


@pytest.mark.slow
def test_rewards_of_which_none_applies_end_a_training_that_says_so(made, tmp_path, installed, said, capsys):
    installed(NONE)
    line = (
        r"^grpo\.rewards: no reward applied to any completion of 2 steps \('never'\), so that nothing was learned; .*"
        r"what was sampled: (.*)$"
    )
    with pytest.raises(RlvrError, match=line) as caught:
        run_grpo(made, tmp_path, rewards={"never": 1.0})
    sampled = pd.read_parquet(str(caught.value).rpartition(": ")[2])
    assert len(sampled) == 16 and sampled["rewards/never"].isna().all()
    outputs = run_grpo(made, tmp_path / "allowed", rewards={"never": 1.0}, max_zero_variance_steps=None)
    metrics = pd.read_parquet(outputs["metrics"])
    assert metrics["completions/no_reward_applied"].tolist() == [1.0, 1.0]
    assert metrics["not_applied/never"].tolist() == [8.0, 8.0]
    assert metrics["reward"].isna().all() and metrics["reward"].dtype == float


def test_the_progress_bar_says_that_no_reward_applied():
    progress = training.Progress("grpo", {"reward": "reward", "accuracy/strict": "strict"})
    state = TrainerState(max_steps=1)
    progress.on_train_begin(None, state, None)
    progress.on_log(None, state, None, logs={"reward": None, "accuracy/strict": 0.25})
    assert progress._bar.postfix == "reward=none applied, strict=0.25"
    progress.on_train_end(None, state, None)


def batches(variance: Variance, steps: range, **rewards) -> None:
    for step in steps:
        variance.add(step, rewards)


def test_rewards_without_variance_are_said_after_ten_steps_and_end_training_at_the_bound(said):
    variance = Variance({"a": 1.0, "b": 0.5}, group=2, most=12)
    batches(variance, range(1, 5), a=[0.0, 0.0, 1.0, 1.0], b=[0.0, 0.0, 0.0, 0.0])
    variance.restore(variance.state())
    batches(variance, range(5, 11), a=[0.0, 0.0, 1.0, 1.0], b=[0.0, 0.0, 0.0, 0.0])
    assert said == []
    batches(variance, range(11, 13), a=[0.0, 0.0, 1.0, 1.0], b=[0.0, 0.0, 0.0, 0.0])
    why = "('a' had no spread within a prompt, 'b' was 0 for every completion)"
    assert said == [
        f"grpo: all completions of each prompt earned the same in steps 1 to 10 {why}: nothing is learned from them"
    ]
    with pytest.raises(
        RlvrError, match=r"^grpo\.max_zero_variance_steps: all completions of each prompt.*steps 1 to 12"
    ):
        variance.add(13, {"a": [0.0, 0.0], "b": [0.0, 0.0]})
    variance.finish(12)  # a run that is over is not stopped, and its policy is kept


def test_one_group_with_spread_begins_the_count_anew(said):
    variance = Variance({"a": 1.0}, group=2, most=10)
    for begun in (1, 11, 21):
        batches(variance, range(begun, begun + 9), a=[0.0, 0.0])
        batches(variance, range(begun + 9, begun + 10), a=[0.0, 1.0])
    variance.add(40, {"a": [1.0, 1.0]})
    variance.add(40, {"a": [0.0, 1.0]})  # another round of the same step
    variance.add(40, {"a": [0.0, 0.0]})
    variance.finish(400)
    assert said == []


def test_a_batch_counts_for_all_steps_that_train_on_it(said):
    variance = Variance({"a": 1.0}, group=2, most=8)
    batches(variance, range(1, 9, 4), a=[0.0, 0.0])
    with pytest.raises(RlvrError, match="steps 1 to 8"):
        variance.add(9, {"a": [0.0, 0.0]})


def test_rewards_that_cancel_out_and_noise_of_rounding_are_no_variance():
    for values in ({"a": [0.0, 1.0], "b": [1.0, 0.0]}, {"a": [0.1 + 0.2, 0.3], "b": [0.0, 0.0]}, {"a": [None, 0.5]}):
        variance = Variance(dict.fromkeys("ab", 1.0), group=2, most=3)
        with pytest.raises(RlvrError, match="steps 1 to 3"):
            batches(variance, range(1, 5), **values)


def test_a_reward_that_is_constant_beside_others_that_are_not_is_named_once(said):
    variance = Variance({"a": 1.0, "b": 1.0, "c": 1.0}, group=2, most=None)
    batches(variance, range(1, 40), a=[0.0, 1.0], b=[0.25, 0.25], c=[None, None])
    assert said == [
        "grpo: in steps 1 to 10 reward 'b' was 0.25 for every completion",
        "grpo: in steps 1 to 10 reward 'c' applied to no completion",
    ]


def test_null_is_never(said):
    variance = Variance({"a": 1.0}, group=2, most=None)
    batches(variance, range(1, 1000), a=[None, None])
    variance.finish(1000)
    assert said == [
        "grpo: all completions of each prompt earned the same in steps 1 to 10 ('a' applied to no completion): "
        "nothing is learned from them"
    ]


def score(scorer: Scorer, texts: list[str], step: int) -> None:
    example = Example("2,3=5", {"numbers": [2, 3], "target": 5, "operators": "+-"})
    batch = {
        "completions": [[{"role": "assistant", "content": text}] for text in texts],
        "completion_ids": [[1, 9]] * len(texts),
        "task": ["countdown"] * len(texts),
        "key": [example.key] * len(texts),
        "example": [tables.to_text(example)] * len(texts),
        "trainer_state": SimpleNamespace(global_step=step),
    }
    for function in scorer.functions():
        function(**batch)


def test_a_scorer_hands_on_the_groups_of_each_batch_and_its_checkpoints_keep_the_count(tmp_path):
    scorer = Scorer(["format"], {9}, group=2, variance=Variance({"format": 1.0}, 2, 3))
    score(scorer, ["x"] * 4, 0)
    scorer.save(tmp_path / "state.json")
    resumed = Scorer(["format"], {9}, group=2, variance=Variance({"format": 1.0}, 2, 3))
    resumed.load(tmp_path / "state.json")
    score(resumed, ["x"] * 4, 1)
    score(resumed, ["x"] * 4, 2)
    with pytest.raises(RlvrError, match="steps 1 to 3"):
        score(resumed, ["x"] * 4, 3)
