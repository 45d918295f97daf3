"""Keeps the training rows that a filter chooses by the completions that were sampled for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlvr import console, filtering, tables
from rlvr.errors import RlvrError
from rlvr.patience import watched
from rlvr_plugins import Example, FilterContext, Row, Verdict
from rlvr_plugins.guard import Judge
from rlvr_plugins.manager import catalogue
from rlvr_plugins.types import ERROR

MAX_ERRORS = 0.1


def run(
    config: dict[str, Any], *, rows: Path, rollouts: Path, train: Path, dropped: Path, rates: Path, stats: Path
) -> dict[str, Any]:
    """Judges the completions and asks the filter.

    `train` gets the rows kept, each with its `pass_rate`: the share of completions that are strictly right, or
    right by what the filter's option `by` says. Raises RlvrError when the verifier failed on over a tenth of them.
    `rates` gets key, pass_rate and whether it was kept, of each row that was sampled.
    """
    task = catalogue().task(config["task"])
    judge = Judge(task)
    groups = _Groups(rollouts, judge, config["options"].get("by", "strict"))
    context = FilterContext(task, "train", judge=groups.judged)
    try:
        counts = filtering.apply(config, context, rows, train, finish=groups.finish, fill=groups.fill)
    except RlvrError:
        groups.require_sound()
        raise
    finally:
        judge.close()
    groups.require_none_left()
    groups.require_sound()
    tables.write(rates, groups.rates, tables.RATE)
    filtering.write_records(stats, dropped, config["filter"], {"train": counts})
    console.say(filtering.line(config, "train", counts))
    return {"rows": counts.as_json(), "sampled": len(groups.rates)}


class _Groups:
    """The completions of one prompt after the other, beside the rows as they pass."""

    def __init__(self, rollouts: Path, judge: Judge, by: str) -> None:
        self._path = rollouts
        self._judge = judge
        self._by = by
        self._failures: list[str] = []
        self._judged = 0
        self._groups: Iterator = groupby(tables.stream(rollouts), key=lambda row: row["position"])
        self._next = self._advance()
        self._position = 0
        self.rates: list[dict[str, Any]] = []

    def judged(self, completions, examples):
        return self._verdicts(list(zip(completions, examples, strict=True)))

    def _verdicts(self, pairs: list[tuple[str, Example]]) -> list[Verdict]:
        with watched("task", self._judge.task):
            verdicts = self._judge.judge_all(pairs)
        self._judged += len(verdicts)
        self._failures += [verdict.reason for verdict in verdicts if verdict.status == ERROR]
        return verdicts

    def require_sound(self) -> None:
        """Raises RlvrError when the verifier failed on more than a tenth of the completions; says so when on fewer."""
        if not self._failures:
            return
        said = f"the verifier failed on {len(self._failures)} of {self._judged} completions: {self._failures[0]}"
        if len(self._failures) > MAX_ERRORS * self._judged:
            raise RlvrError(said)
        console.say(f"select: {said}; counted as wrong")

    def fill(self, rows: list[Row]) -> list[Row]:
        """The rows with their judged completions."""
        taken: list[list[dict[str, Any]]] = []
        for row in rows:
            taken.append(self._take(row))
            self._position += 1
        pairs = [(found["completion"], row.example) for row, group in zip(rows, taken, strict=True) for found in group]
        verdicts = iter(self._verdicts(pairs))
        filled = []
        for row, group in zip(rows, taken, strict=True):
            rollouts = tuple(tables.to_rollout(found, next(verdicts)) for found in group)
            filled.append(replace(row, rollouts=rollouts))
        return filled

    def finish(self, batch: pa.RecordBatch, rows: list[Row], reasons: Sequence[str]) -> pa.RecordBatch:
        """The batch with the pass rates, which are noted."""
        rates = [_rate(row, self._by) for row in rows]
        for row, rate, reason in zip(rows, rates, reasons, strict=True):
            if rate is not None:
                self.rates.append({"key": row.key, "pass_rate": rate, "kept": not reason})
        return batch.append_column("pass_rate", pa.array(rates, pa.float64()))

    def require_none_left(self) -> None:
        if self._next is not None:
            raise RlvrError(f"{self._path}: has completions for a row that is not there; delete it and run again")

    def _take(self, row: Row) -> list[dict[str, Any]]:
        if self._next is None or self._next[0] != self._position:
            return []
        group = self._next[1]
        if any(found["key"] != row.key for found in group):
            raise RlvrError(f"{self._path}: row {self._position} is for another item; delete it and run again")
        self._next = self._advance()
        return group

    def _advance(self) -> tuple[int, list[dict[str, Any]]] | None:
        position, group = next(self._groups, (None, ()))
        return None if position is None else (position, list(group))


def _rate(row: Row, by: str) -> float | None:
    if not row.rollouts:
        return None
    return sum(getattr(rollout.verdict, by) for rollout in row.rollouts) / len(row.rollouts)
