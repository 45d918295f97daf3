from __future__ import annotations

from types import SimpleNamespace

import pytest

from rlvr import tables
from rlvr.errors import RlvrError
from rlvr.rewards import Scorer, checked
from rlvr_plugins import Example, Reward, Sample, Verdict

SAMPLE = Sample("some text", Example("k", {}), Verdict(True, True, True))
COUNTDOWN = Example("2,3=5", {"numbers": [2, 3], "target": 5, "operators": "+-"})
RIGHT, WRONG = "<think>x</think><answer>2 + 3</answer>", "<think>x</think><answer>3 - 2</answer>"
END = 9


def score(scorer: Scorer, texts: list[str], step: int = 0) -> list[list[float]]:
    logged = {}
    batch = {
        "completions": [[{"role": "assistant", "content": text}] for text in texts],
        "completion_ids": [[1, 2, END] for _ in texts],
        "task": ["countdown"] * len(texts),
        "key": [COUNTDOWN.key] * len(texts),
        "example": [tables.to_text(COUNTDOWN)] * len(texts),
        "trainer_state": SimpleNamespace(global_step=step),
        "log_metric": logged.__setitem__,
    }
    values = [function(prompts=[None] * len(texts), **batch) for function in scorer.functions()]
    assert set(logged) == {"accuracy/strict", "accuracy/flexible"}
    return values


def test_each_reward_scores_each_completion():
    scorer = Scorer(["correctness", "format"], {END})
    assert score(scorer, [RIGHT, WRONG, "nothing"]) == [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    assert [function.__name__ for function in scorer.functions()] == ["correctness", "format"]


def test_what_was_sampled_is_kept_with_its_rewards(tmp_path):
    scorer = Scorer(["correctness", "format"], {END})
    score(scorer, [RIGHT, WRONG], step=4)
    score(scorer, [WRONG], step=5)
    assert [(row["step"], row["correctness"], row["format"]) for row in scorer.rows] == [
        (4, 1, 1),
        (4, 0, 1),
        (5, 0, 1),
    ]
    scorer.save(tmp_path / "rows.parquet")
    again = Scorer(["correctness", "format"], {END})
    again.load(tmp_path / "rows.parquet")
    assert again.rows == scorer.rows


def test_a_completion_without_an_end_token_is_truncated():
    scorer = Scorer(["correctness"], {7})
    score(scorer, [RIGHT])
    assert scorer.rows[0]["truncated"]


def test_none_means_that_a_reward_does_not_apply():
    assert checked(Reward("r", lambda sample: None), SAMPLE) is None


@pytest.mark.parametrize("value", [1e38, -0.1, float("nan"), float("inf"), "1", [1.0]])
def test_a_value_outside_the_bounds_stops_training(value):
    with pytest.raises(RlvrError, match=r"reward 'r' gave .* for \"some text\"; allowed: None or 0.0 to 1.0"):
        checked(Reward("r", lambda sample: value), SAMPLE)
