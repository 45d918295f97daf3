"""Whether the rows of an experiment leave room in the model for their completions, before anything trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlvr import tables
from rlvr.engines import room
from rlvr.engines.lengths import Lengths, limit
from rlvr.memory import longest
from rlvr_plugins.manager import catalogue

MOST_COUNTED = 2000
"""SFT rows whose tokens are counted, those with the most characters."""
SLACK = 64
"""Bytes by which the chat template may add more to a row than to the first one."""


class Rows:
    """Files of rows by task: `train`, `sft` after the filters, `eval`."""

    def __init__(self, base: Path, train: Sequence[Path], sft: Sequence[Path], held_out: Sequence[Path]) -> None:
        self._files = {"train": train, "sft": sft, "eval": held_out}
        self._counter = Lengths(base)
        self._most = limit(base)

    def problem(self, settings: Mapping[str, Any]) -> str | None:
        """One line on the first rows that leave no room; None where all do. settings: of `demands.of`."""
        for demand in settings["demands"]:
            if line := self._prompts(demand):
                return line
        return next(filter(None, (self._demonstrations(bound) for bound in settings["sft"])), None)

    def cut(self, settings: Mapping[str, Any]) -> list[str]:
        """Lines on demonstrations of which `max_length` cuts the end off."""
        lines = []
        for bound in settings["sft"]:
            most = bound["max_length"]
            if most and (not self._most or most <= self._most):
                count, _, longest_one = self._longer(most)
                if count:
                    lines.append(
                        f"{_counted(count)} demonstrations are longer than {bound['key']} ({most}; the longest has "
                        f"{longest_one} tokens) and lose their end; allowed: a larger one, or filters: "
                        f"[{{tokens: {{max: {most}}}, splits: [sft]}}]"
                    )
        return lines

    def _prompts(self, demand: Mapping[str, Any]) -> str | None:
        if not self._most:
            return None
        rows = list(self._candidates(demand))
        counted = self._counter.conversations([row["prompt"] for row in rows])
        kind = room.HELD_OUT if demand["split"] == "eval" else room.TRAIN
        own = demand["prompt"] and f"prompts.{demand['prompt']['arm']}"
        return room.problem(self._most, rows, counted, demand["completion"], demand["key"], kind, own or "")

    def _candidates(self, demand: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The rows of a demand: held-out ones all, so that their places count, of others those that may be too long."""
        for file in self._files[demand["split"]]:
            table = tables.table(file)
            if not len(table) or table["task"][0].as_py() not in demand["tasks"]:
                continue
            if demand["split"] != "eval":
                table = self._large(table, self._most - demand["completion"])
            for row in tables.rows_of(table):
                yield {**row, "prompt": _put(row, demand["prompt"])} if demand["prompt"] else row

    def _large(self, table: pa.Table, tokens: int) -> pa.Table:
        """The rows that may have more tokens than that: a token is at least a byte."""
        bytes_ = longest.sizes(table, pc.binary_length)
        [first] = tables.rows_of(table.slice(0, 1).select(["prompt"]))
        return table.filter(pa.array(bytes_ + self._counter.overhead(first["prompt"]) + SLACK > tokens))

    def _demonstrations(self, bound: Mapping[str, Any]) -> str | None:
        if not self._most or (bound["max_length"] and bound["max_length"] <= self._most):
            return None
        count, row, tokens = self._longer(self._most)
        if not count:
            return None
        return (
            f"{bound['key']}: {_counted(count)} demonstrations with their prompts are longer than the model takes "
            f"({self._most}), the longest {tokens} tokens (tasks.{row['task']}, SFT row "
            f"{room.shortened(row['key'], 40)}); allowed: up to {self._most}, or filters: "
            f"[{{tokens: {{max: {self._most}}}, splits: [sft]}}]"
        )

    def _longer(self, most: int) -> tuple[int, dict[str, Any] | None, int]:
        """How many SFT rows are longer, and the longest of all with its tokens."""
        count, found, size = 0, None, 0
        for file in self._files["sft"]:
            table = tables.table(file)
            if not len(table):
                continue
            table = longest.largest(self._large(table, most), MOST_COUNTED)
            rows = longest.rows(table)
            for row, tokens in zip(rows, self._counter.wholes(rows) if rows else [], strict=True):
                count += tokens > most
                if tokens > size:
                    found, size = {"task": row.task, "key": row.key}, tokens
        return count, found, size


def _counted(count: int) -> str:
    return f"{count:,}{' or more' if count >= MOST_COUNTED else ''}"


def _put(row: Mapping[str, Any], own: Mapping[str, Any]) -> list[dict[str, str]]:
    """The prompt of a row as an arm puts it that has one of its own."""
    example = tables.to_example(row["key"], row["example"])
    return catalogue().task(row["task"]).prompt(example, own["system_prompt"], own["user_prompt"])
