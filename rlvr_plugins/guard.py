"""Runs verifiers and rewards so that nothing they do stops a run or poisons its numbers.

What a plugin does wrong becomes an outcome of a known kind. A plugin that sets `isolate` runs in a
worker process, every other one in this process, where it is counted but not confined: see docs/plugins.md.
"""

from __future__ import annotations

import math
import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rlvr_plugins import calls
from rlvr_plugins.isolation import Failure, Worker
from rlvr_plugins.types import ERROR, Example, Reward, Sample, Task, Verdict

EVALUATION_BATCH = 128
MOST_ANSWERS = 1_000_000_000
MOST_READ = 10_000
"""Characters of a message that are looked at."""

FAILURES = (
    "raised",
    "not_a_verdict",
    "nan",
    "infinite",
    "out_of_range",
    "not_a_number",
    "wrong_length",
    "timeout",
    "memory",
    "crashed",
)
"""Kinds of failure: the function raised; what a verifier returned is no sound Verdict; a reward's value was
NaN, infinite, outside the bounds, no number, or several values; the worker ran out of time or memory, or died."""


@dataclass(frozen=True)
class Outcome:
    """What a reward gave for one sample.

    value: within the reward's bounds, the lowest of them after a failure; None where the reward does not apply.
    failure: one of `FAILURES`, or "".
    detail: one line on the failure.
    """

    value: float | None
    failure: str = ""
    detail: str = ""


def value_of(reward: Reward, returned: Any) -> Outcome:
    """The outcome for what a reward's function returned.

    By type alone, as an object may compare and convert itself to anything: a subclass of float or int counts as the
    number that it holds; scalars of NumPy, Fraction and Decimal count as theirs; all else is no number.
    """
    low, high = reward.bounds
    if returned is None:
        return Outcome(None)
    value = _number(returned)
    failure = ""
    if value is None:
        single = not isinstance(returned, Sequence) or isinstance(returned, str | bytes)
        failure = "not_a_number" if single else "wrong_length"
    elif isinstance(value, float) and math.isnan(value):
        failure = "nan"
    elif isinstance(value, float) and math.isinf(value):
        failure = "infinite"
    elif not low <= value <= high:
        failure = "out_of_range"
    if failure:
        return Outcome(low, failure, f"{_shown(returned)}; allowed: None or {low:g} to {high:g}")
    return Outcome(float(value))


def _number(returned: Any) -> float | int | None:
    """The plain number that an object holds, None where it is no real number."""
    kind = type(returned)
    numpy = sys.modules.get("numpy")
    if kind in (Fraction, Decimal):
        try:
            return float(returned)
        except OverflowError:
            return int(returned)
    if issubclass(kind, float):
        return float.__float__(returned)
    if issubclass(kind, int):
        return int.__int__(returned)
    if numpy and issubclass(kind, numpy.bool_ | numpy.integer | numpy.floating):
        held = numpy.generic.item(returned)
        held = float(held) if type(held) is numpy.longdouble else held
        return held if type(held) in (float, int, bool) else None
    return None


def score_one(reward: Reward, sample: Sample) -> Outcome:
    """The outcome of a reward in this process; raises nothing but Interrupted."""
    try:
        return value_of(reward, reward.function(sample))
    except MemoryError:
        return Outcome(reward.bounds[0], "memory", "out of memory")
    except BaseException as error:
        if not calls.theirs(error):
            raise
        return Outcome(reward.bounds[0], "raised", said(error))


def judge_one(task: Task, completion: str, example: Example) -> Verdict:
    """The verdict of a task's verifier in this process; raises nothing but Interrupted."""
    try:
        verdict = task.verify(completion, example)
    except MemoryError:
        return failed("memory", "out of memory")
    except BaseException as error:
        if not calls.theirs(error):
            raise
        return failed("raised", said(error))
    if type(verdict) is not Verdict:
        return failed("not_a_verdict", f"returned {_line(type(verdict).__name__)}, not a Verdict")
    problem = _unsound(verdict)
    return failed("not_a_verdict", f"returned a Verdict whose {problem}") if problem else verdict


def verdict_from_json(content: Any) -> Verdict:
    """The verdict that a worker sent. Raises ValueError where it is none."""
    try:
        verdict = Verdict(**content)
        problem = _unsound(verdict)
    except TypeError as error:
        raise ValueError(str(error)) from None
    if problem:
        raise ValueError(problem)
    return verdict


_FIELDS = {
    "strict": bool,
    "flexible": bool,
    "well_formed": bool,
    "answer": str,
    "reason": str,
    "answers": int,
}


def _unsound(verdict: Verdict) -> str:
    """What is wrong with the types of a verdict's fields, "" where nothing is."""
    for name, kind in _FIELDS.items():
        value = getattr(verdict, name)
        if type(value) is not kind:
            return f"{name} is {_shown(value)}, not {kind.__name__}"
    if type(verdict.score) not in (int, float):
        return f"score is {_shown(verdict.score)}, not float"
    if not 0 <= verdict.score <= 1:
        return f"score is {_shown(verdict.score)}; allowed: 0 to 1"
    if not 0 <= verdict.answers <= MOST_ANSWERS:
        return f"answers is {_shown(verdict.answers)}; allowed: 0 to {MOST_ANSWERS:,}"
    return ""


def said(error: BaseException) -> str:
    name = _line(type(error).__name__)
    try:
        return _line(f"{name}: {error}")
    except BaseException as other:
        if not calls.theirs(other):
            raise
        return name


def _shown(value: Any) -> str:
    """The value as Python writes it, or its type where it can't be written."""
    try:
        return _line(repr(value))
    except BaseException as error:
        if not calls.theirs(error):
            raise
        return f"a value of type {_line(type(value).__name__)}"


def failed(kind: str, detail: str) -> Verdict:
    """The verdict where a verifier failed: wrong, with the kind of failure at the head of the reason."""
    return Verdict(False, False, False, "", f"{kind}: {detail}", ERROR)


def failure_of(verdict: Verdict) -> str:
    """The kind of failure behind a verdict; "error" where the verifier itself said so, "" where there is none."""
    if verdict.status != ERROR:
        return ""
    kind = verdict.reason.partition(":")[0]
    return kind if kind in FAILURES else "error"


def _line(text: str) -> str:
    return calls.one_line(text[:MOST_READ])[:200]


@contextmanager
def inside(kind: str, name: str) -> Iterator[calls.Call]:
    """Around items that a plugin gets in this process: puts back the states of chance, the standard streams and the
    working directory, which it shares with the training."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    chance = random.getstate(), numpy and numpy.random.get_state(), torch and torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else None
    streams, folder = (sys.stdin, sys.stdout, sys.stderr), os.open(".", os.O_RDONLY)
    try:
        with calls.calling(f"{kind} {name!r}", calls.ITEM_SECONDS) as call:
            yield call
    finally:
        random.setstate(chance[0])
        if numpy:
            numpy.random.set_state(chance[1])
        if torch:
            torch.set_rng_state(chance[2])
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)
        sys.stdin, sys.stdout, sys.stderr = streams
        os.fchdir(folder)
        os.close(folder)


class Judge:
    """A task's verifier, in this process or in a worker; `close` ends the worker."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._worker = Worker("task", task.name, task.isolate) if task.isolate else None

    def judge_all(self, pairs: Sequence[tuple[str, Example]]) -> list[Verdict]:
        """As `judge`, with the worker's batch budget for each `EVALUATION_BATCH` pairs."""
        starts = range(0, len(pairs), EVALUATION_BATCH)
        return [verdict for start in starts for verdict in self.judge(pairs[start : start + EVALUATION_BATCH])]

    def judge(self, pairs: Sequence[tuple[str, Example]]) -> list[Verdict]:
        """One verdict for each completion and its example, in their order."""
        if self._worker is None:
            with inside("task", self.task.name) as call:
                return [judge_one(self.task, *pair) for pair in call.each(pairs)]
        answers = self._worker.run([to_json(completion, example) for completion, example in pairs])
        return [self._verdict(answer) for answer in answers]

    def _verdict(self, answer: dict[str, Any] | Failure) -> Verdict:
        if isinstance(answer, Failure):
            return failed(answer.kind, answer.detail)
        try:
            return verdict_from_json(answer.get("verdict"))
        except ValueError as error:
            return failed("crashed", _line(f"the worker answered nonsense ({error})"))

    def close(self) -> None:
        if self._worker:
            self._worker.close()


class Rewarder:
    """A reward, in this process or in a worker; `close` ends the worker."""

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self._worker = Worker("reward", reward.name, reward.isolate) if reward.isolate else None

    def score(self, samples: Sequence[Sample]) -> list[Outcome]:
        """One outcome for each sample, in their order."""
        if self._worker is None:
            with inside("reward", self.reward.name) as call:
                return [score_one(self.reward, sample) for sample in call.each(samples)]
        return [self._outcome(answer) for answer in self._worker.run([sample_to_json(sample) for sample in samples])]

    def _outcome(self, answer: dict[str, Any] | Failure) -> Outcome:
        low = self.reward.bounds[0]
        if isinstance(answer, Failure):
            return Outcome(low, answer.kind, answer.detail)
        if answer.get("failure") in FAILURES:
            return Outcome(low, answer["failure"], _line(str(answer.get("detail", ""))))
        return value_of(self.reward, answer.get("value"))

    def close(self) -> None:
        if self._worker:
            self._worker.close()


def to_json(completion: str, example: Example) -> dict[str, Any]:
    return {"completion": completion, "key": example.key, "fields": dict(example.fields)}


def sample_to_json(sample: Sample) -> dict[str, Any]:
    rest = {name: getattr(sample, name) for name in ("tokens", "truncated", "draw")}
    return {**to_json(sample.completion, sample.example), "verdict": vars(sample.verdict), **rest}


def answer_in_worker(kind: str, plugin: Task | Reward, item: dict[str, Any]) -> dict[str, Any]:
    """What a worker answers to an item that `Judge` or `Rewarder` sent."""
    example = Example(item["key"], item["fields"])
    if kind == "task":
        return {"verdict": vars(judge_one(plugin, item["completion"], example))}
    rest = {name: item[name] for name in ("tokens", "truncated", "draw")}
    outcome = score_one(plugin, Sample(item["completion"], example, Verdict(**item["verdict"]), **rest))
    return {"value": outcome.value, "failure": outcome.failure, "detail": outcome.detail}
