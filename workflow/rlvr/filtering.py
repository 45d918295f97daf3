"""Passes a file of rows through one filter, a batch at a time, so that memory does not grow with the rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlvr import plugin_options, tables
from rlvr.errors import RlvrError
from rlvr_plugins import FilterContext, Row, calls
from rlvr_plugins.manager import PluginError, catalogue

BATCH = 1000
KEPT_DROPPED = 50
MOST_REASONS = 30
OTHER = "other reasons"
SHOWN = 3000
"""Characters of a dropped row's texts that are kept to look at."""

Finish = Callable[[pa.RecordBatch, list[Row], Sequence[str]], pa.RecordBatch]


@dataclass
class Counts:
    """What became of the rows of a split.

    dropped: reason -> rows; first: the first dropped row; sample: some of them.
    """

    rows: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    first: dict[str, Any] | None = None
    sample: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "kept": self.kept, "dropped": dict(self.dropped.most_common())}


def apply(
    config: dict[str, Any],
    context: FilterContext,
    source: Path,
    target: Path,
    finish: Finish = lambda batch, rows, reasons: batch,
    fill: Callable[[list[Row]], list[Row]] = lambda rows: rows,
    check: Callable[[Counts], None] = lambda counts: None,
) -> Counts:
    """Writes the rows of `source` that the filter keeps to `target`, in their order.

    config: a step's slice: filter, options, step. fill: completes the rows before the filter sees
    them. finish: `(batch, its rows, the reasons) -> batch`, with the columns to be written. check: may
    raise by what was dropped. Raises RlvrError, in one line, where the filter fails or drops every row.
    """
    plugin = catalogue().filter(config["filter"])
    options = plugin_options.load("filter", plugin.name, config["options"])
    counts = Counts()
    chance = random.Random(f"{config['step']} {context.split}")
    try:
        with calls.calling(f"start of filter {plugin.name!r}", calls.DATA_SECONDS):
            select = plugin.start(options, context)
    except PluginError:
        raise
    except Exception as error:
        raise RlvrError(f"filter {plugin.name!r}: {_said(error)}") from error
    unfinished = target.with_name(f".{target.name}.part")
    with tables.opened(source) as file:
        empty = finish(pa.RecordBatch.from_pylist([], schema=file.schema_arrow), [], [])
        with tables.Writer(unfinished, empty.schema) as writer:
            for batch in file.iter_batches(BATCH):
                rows = fill(rows_of(batch))
                where = f"{source}, rows {counts.rows + 1} to {counts.rows + len(rows)}"
                reasons = _reasons(plugin.name, select, rows, where)
                kept = pa.array([not reason for reason in reasons], pa.bool_())
                writer.write(finish(batch, rows, reasons).filter(kept))
                _count(counts, rows, reasons, chance, context.split)
    check(counts)
    if counts.rows and not counts.kept:
        why = ", ".join(f"{reason} {number}" for reason, number in counts.dropped.most_common(3))
        raise RlvrError(f"{config['step']}: drops all {counts.rows} rows of {source} ({why}); loosen the filter")
    unfinished.replace(target)
    return counts


def line(config: dict[str, Any], split: str, counts: Counts) -> str:
    """What a filter did to a split, for the screen."""
    why = ", ".join(f"{reason} {number:,}" for reason, number in counts.dropped.most_common(4))
    return f"{config['step']}: {config['task']} {split} {counts.rows:,} → {counts.kept:,}{f' ({why})' if why else ''}"


def write_records(
    stats: Path, dropped: Path, name: str, counts: dict[str, Counts], more: Mapping[str, Any] | None = None
) -> None:
    """Writes what was counted, by split, and the samples of dropped rows. more: laid beside the counts."""
    found = {split: each.as_json() for split, each in counts.items()}
    stats.write_text(tables.json_text({"filter": name, **found, **(more or {})}), encoding="utf-8")
    tables.write(dropped, [row for found in counts.values() for row in found.sample], tables.DROPPED)


def rows_of(batch: pa.RecordBatch) -> list[Row]:
    """The rows of a batch of training or SFT rows."""
    completions = tables.messages(batch["completion"]) if "completion" in batch.schema.names else [None] * len(batch)
    columns = [batch[name].to_pylist() for name in ("task", "key", "example")]
    return [
        Row(task, tables.to_example(key, example), prompt, completion[-1]["content"] if completion else None)
        for task, key, example, prompt, completion in zip(
            *columns, tables.messages(batch["prompt"]), completions, strict=True
        )
    ]


def _reasons(name: str, select: Callable, rows: Sequence[Row], where: str) -> Sequence[str]:
    try:
        with calls.calling(f"filter {name!r}", calls.DATA_SECONDS):
            reasons = select(rows)
    except PluginError:
        raise
    except Exception as error:
        raise RlvrError(f"filter {name!r}: {_said(error)} ({where})") from error
    if not isinstance(reasons, Sequence) or len(reasons) != len(rows) or not all(isinstance(r, str) for r in reasons):
        shown = f"{len(reasons)} values" if isinstance(reasons, Sequence) else type(reasons).__name__
        raise RlvrError(f"filter {name!r}: gave {shown} for {len(rows)} rows ({where}); allowed: a text for each row")
    return reasons


def _count(counts: Counts, rows: Sequence[Row], reasons: Sequence[str], chance: random.Random, split: str) -> None:
    for row, reason in zip(rows, reasons, strict=True):
        counts.rows += 1
        if not reason:
            counts.kept += 1
            continue
        reason, _, detail = reason.partition("\n")
        reason = " ".join(reason.split())[:100]
        if reason not in counts.dropped and len(counts.dropped) >= MOST_REASONS:
            reason = OTHER
        counts.dropped[reason] += 1
        shown = {"split": split, "row": counts.rows, **_shown(row, reason, detail)}
        counts.first = counts.first or shown
        _keep_some(counts, shown, chance)


def _keep_some(counts: Counts, shown: dict[str, Any], chance: random.Random) -> None:
    """Every dropped row has the same chance to be among those that are kept to look at."""
    seen = counts.dropped.total()
    if len(counts.sample) < KEPT_DROPPED:
        counts.sample.append(shown)
    elif (place := chance.randrange(seen)) < KEPT_DROPPED:
        counts.sample[place] = shown


def _shown(row: Row, reason: str, detail: str) -> dict[str, Any]:
    rates = [rollout.verdict.strict for rollout in row.rollouts]
    return {
        "key": row.key,
        "reason": reason,
        "detail": " ".join(detail.split())[:500],
        "example": tables.to_text(row.example)[:SHOWN],
        "prompt": row.user[:SHOWN],
        "completion": ((row.rollouts[0].completion if row.rollouts else row.completion) or "")[:SHOWN],
        "pass_rate": sum(rates) / len(rates) if rates else None,
    }


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
