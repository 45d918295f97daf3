from __future__ import annotations

import io
import threading
from types import SimpleNamespace

import pytest

from rlvr import patience, rewards, tables
from rlvr.errors import RlvrError
from rlvr.growing import Growing
from rlvr.rewards import Scorer
from rlvr_plugins import Example, Reward
from rlvr_plugins.guard import Rewarder

COUNTDOWN = Example("2,3=5", {"numbers": [2, 3], "target": 5, "operators": "+-"})
RIGHT, WRONG = "<think>x</think><answer>2 + 3</answer>", "<think>x</think><answer>3 - 2</answer>"
END = 9


def score(scorer: Scorer, texts: list[str], step: int = 0) -> tuple[list[list[float | None]], dict[str, float]]:
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
    return values, logged


def with_reward(function, max_failures: float = 0.0, bounds: tuple[float, float] = (0.0, 1.0)) -> Scorer:
    """A scorer whose one reward is `function`."""
    scorer = Scorer([], {END}, max_failures)
    scorer._rewarders = [Rewarder(Reward("r", function, bounds))]
    return scorer


def test_each_reward_scores_each_completion():
    scorer = Scorer(["correctness", "format"], {END})
    values, logged = score(scorer, [RIGHT, WRONG, "nothing"])
    assert values == [[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    assert [function.__name__ for function in scorer.functions()] == ["correctness", "format"]
    assert logged == {
        "accuracy/strict": pytest.approx(1 / 3),
        "accuracy/flexible": pytest.approx(1 / 3),
        "completions/answer_tags": pytest.approx(2 / 3),
    }


def test_what_was_sampled_is_kept_with_its_rewards(tmp_path):
    scorer = Scorer(["correctness", "format"], {END}, log=Growing(tmp_path, rewards.schema(["correctness", "format"])))
    score(scorer, [RIGHT, WRONG], step=4)
    score(scorer, [WRONG], step=5)
    scorer.write(tmp_path / "rows.parquet")
    rows = tables.read(tmp_path / "rows.parquet")
    assert [(row["step"], row["rewards/correctness"], row["rewards/format"], row["status"]) for row in rows] == [
        (5, 2, 1, "right"),
        (5, 0, 1, "wrong"),
        (6, 0, 1, "wrong"),
    ]


@pytest.mark.parametrize(("keep", "expected"), [(None, 8), (5, 4), (2, 2), (4, 4)])
def test_of_a_step_the_first_whole_groups_are_kept(tmp_path, keep, expected):
    log = Growing(tmp_path, rewards.schema(["correctness"]))
    scorer = Scorer(["correctness"], {END}, log=log, keep=keep, group=2)
    for step in (0, 1):
        score(scorer, ["a", "b", "c", "d"], step)
        score(scorer, ["e", "f", "g", "h"], step)
    scorer.write(tmp_path / "rows.parquet")
    rows = tables.read(tmp_path / "rows.parquet")
    assert [row["completion"][0] for row in rows] == 2 * list("abcdefgh"[:expected])
    assert [row["step"] for row in rows] == [1] * expected + [2] * expected
    assert scorer.sampled == 16


def test_a_resumed_run_goes_on_from_what_its_checkpoint_saw(tmp_path):
    def start() -> Scorer:
        return Scorer(["correctness"], {END}, log=Growing(tmp_path / "parts", rewards.schema(["correctness"])))

    killed = start()
    score(killed, ["one"], 0)
    killed.save(tmp_path / "state.json")
    score(killed, ["two"], 1)
    killed.save(tmp_path / "later.json")
    resumed = start()
    resumed.load(tmp_path / "state.json")
    score(resumed, ["again"], 1)
    resumed.write(tmp_path / "rows.parquet")
    assert [row["completion"] for row in tables.read(tmp_path / "rows.parquet")] == ["one", "again"]
    assert resumed.sampled == 2
    (tmp_path / "parts" / "000000.parquet").write_bytes(b"x")
    with pytest.raises(RlvrError, match=r"parts/000000.parquet is damaged or missing.*to train from the start"):
        start().load(tmp_path / "state.json")


def test_what_waits_to_be_written_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "GROUP_ROWS", 3)
    log = Growing(tmp_path, rewards.schema([]))
    row = dict.fromkeys(rewards.schema([]).names)
    for step in range(7):
        log.add([{**row, "step": step}])
        assert len(log._waiting) < 3
    assert len(list(tmp_path.iterdir())) == 2
    log.write(tmp_path / "rows.parquet")
    assert [row["step"] for row in tables.read(tmp_path / "rows.parquet")] == list(range(7))


def test_a_completion_without_an_end_token_is_truncated():
    scorer = Scorer(["correctness"], {7})
    score(scorer, [RIGHT])
    assert scorer.latest[0]["truncated"]


def test_chance_differs_between_completions_and_repeats_with_the_run(tmp_path):
    def draws(seed: int, before: Scorer | None = None) -> list[int]:
        scorer = before or Scorer([], {END}, seed=seed)
        seen = []
        scorer._rewarders = [Rewarder(Reward("r", lambda sample: seen.append(sample.draw) or 0.0))]
        score(scorer, [RIGHT, RIGHT])
        score(scorer, [RIGHT, RIGHT], step=1)
        return seen

    first = draws(0)
    assert len(set(first)) == 4 and draws(0) == first and not set(draws(1)) & set(first)
    halfway = with_reward(lambda sample: 0.0)
    score(halfway, [RIGHT, RIGHT])
    halfway.save(tmp_path / "state.json")
    resumed = Scorer([], {END}, seed=0)
    resumed.load(tmp_path / "state.json")
    assert draws(0, resumed)[:2] == first[2:]


def test_none_means_that_a_reward_does_not_apply():
    values, logged = score(with_reward(lambda sample: None), [RIGHT, WRONG])
    assert values == [[None, None]]
    assert logged["not_applied/r"] == 2


@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        (1e38, "out_of_range"),
        (-0.1, "out_of_range"),
        (float("nan"), "nan"),
        (float("inf"), "infinite"),
        (float("-inf"), "infinite"),
        ("1", "not_a_number"),
        (object(), "not_a_number"),
        ([1.0], "wrong_length"),
        ((), "wrong_length"),
        (ZeroDivisionError("boom"), "raised"),
    ],
)
def test_a_failure_is_counted_and_earns_the_lowest_value(returned, kind):
    def reward(sample):
        if sample.completion == RIGHT:
            return 1.0
        if isinstance(returned, Exception):
            raise returned
        return returned

    scorer = with_reward(reward, max_failures=0.5, bounds=(-1.0, 1.0) if returned != -0.1 else (0.0, 1.0))
    values, logged = score(scorer, [RIGHT, WRONG])
    assert values == [[1.0, scorer._rewarders[0].reward.bounds[0]]]
    assert logged[f"failures/r/{kind}"] == 1
    assert scorer.failures == {f"r/{kind}": 1}


def test_training_stops_once_too_large_a_share_has_failed(tmp_path):
    scorer = with_reward(lambda sample: 1.0 if sample.completion == RIGHT else float("nan"), max_failures=0.25)
    score(scorer, [RIGHT] * 30 + [WRONG] * 10)
    score(scorer, [RIGHT] * 30 + [WRONG] * 10)
    scorer.save(tmp_path / "state.json")
    resumed = with_reward(scorer._rewarders[0].reward.function, max_failures=0.25)
    resumed.load(tmp_path / "state.json")
    line = (
        r"'r' failed on 30 of 90 completions \(nan 30\), more than grpo.max_failures \(0.25\) allows; "
        r"such as nan; allowed: None or 0 to 1, on \"<think>x"
    )
    with pytest.raises(RlvrError, match=line):
        score(resumed, [WRONG] * 10)


def test_one_failure_among_the_first_few_does_not_stop_a_run_and_all_of_them_do():
    mostly = with_reward(lambda sample: 1.0 if sample.completion == RIGHT else float("nan"), max_failures=0.1)
    score(mostly, [RIGHT] * 7 + [WRONG])
    with pytest.raises(RlvrError, match=r"'r' failed on 8 of 8 completions"):
        score(with_reward(lambda sample: float("nan"), max_failures=0.1), [WRONG] * 8)


def test_a_verifier_that_raises_is_counted_and_its_completion_is_wrong(monkeypatch):
    def verify(completion, example):
        raise KeyError("numbers")

    monkeypatch.setattr(rewards, "catalogue", lambda: SimpleNamespace(task=lambda name: task, reward=reward))
    reward = rewards.catalogue
    from rlvr_plugins.manager import catalogue

    task = SimpleNamespace(name="countdown", verify=verify, isolate=None)
    scorer = Scorer([], {END}, max_failures=1.0)
    scorer._rewarders = [Rewarder(catalogue().reward("correctness"))]
    values, logged = score(scorer, [RIGHT])
    assert values == [[0.0]]
    assert logged["failures/countdown/raised"] == 1
    assert scorer.latest[0]["status"] == "error"
    with pytest.raises(RlvrError, match=r"'countdown' failed on 1 of 1 completions .* such as raised: KeyError"):
        strict = Scorer([], {END})
        strict._judges = scorer._judges
        strict._rewarders = scorer._rewarders
        score(strict, [RIGHT])


class Screen(io.StringIO):
    """A screen that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.said = threading.Event()

    def flush(self) -> None:
        self.said.set()


def test_a_reward_that_takes_long_is_named_while_it_does(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(patience.console, "_screen", screen)
    score(with_reward(lambda sample: 1.0), [RIGHT])
    assert screen.getvalue() == ""
    monkeypatch.setattr(patience, "SECONDS", 0.05)
    score(with_reward(lambda sample: float(screen.said.wait(120))), [RIGHT])
    assert "reward 'r' has been at one batch for 0.05 s; isolate=Limits(…) would end it" in screen.getvalue()
