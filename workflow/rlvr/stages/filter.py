"""Passes training and SFT rows through one filter, and keeps what it counted and some of what it dropped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr import console, filtering, leaks, tables
from rlvr.errors import RlvrError
from rlvr_plugins import Example, FilterContext, Task
from rlvr_plugins.filter_types import EVALUATION, TOKENIZER, VERIFIER
from rlvr_plugins.guard import Judge
from rlvr_plugins.manager import catalogue


def run(
    config: dict[str, Any],
    *,
    from_train: Path,
    from_sft: Path,
    train: Path,
    sft: Path,
    dropped: Path,
    stats: Path,
    base: Path | None = None,
    evaluation: list[Path] | None = None,
) -> dict[str, Any]:
    """Filters both splits, or passes on the one that the filter is not for.

    `stats` gets, for each split, the rows in, kept, and dropped by reason; `dropped` up to 50 dropped
    rows a split, drawn evenly. With `leakage` in the config, `stats` gets `shared` too: the rows that share a run of
    words with an evaluation question. Raises RlvrError where that says `found: refuse` and a row was found.
    """
    needs = catalogue().filter(config["filter"]).needs
    task = catalogue().task(config["task"])
    lengths = _lengths(base) if TOKENIZER in needs else None
    judge = Judge(task) if VERIFIER in needs else None
    counts: dict[str, filtering.Counts] = {}
    shared: dict[str, int] = {}
    try:
        for split, source, target in (("train", from_train, train), ("sft", from_sft, sft)):
            if split not in config["splits"]:
                shutil.copyfile(source, target)
                continue
            context = FilterContext(
                task,
                split,
                prompt_tokens=lengths and lengths.prompts,
                whole_tokens=lengths and lengths.wholes,
                judge=judge and _judged_by(judge),
                evaluation=_examples(evaluation) if EVALUATION in needs else None,
            )
            more, overlaps = _leakage(config.get("leakage"), context, evaluation)
            counts[split] = filtering.apply(config, context, source, target, **more)
            console.say(filtering.line(config, split, counts[split]))
            if overlaps:
                shared[split] = overlaps.count
    finally:
        if judge:
            judge.close()
    filtering.write_records(stats, dropped, config["filter"], counts, {"shared": shared} if shared else {})
    return {"rows": {split: found.as_json() for split, found in counts.items()}}


def _leakage(
    section: dict[str, Any] | None, context: FilterContext, evaluation: list[Path] | None
) -> tuple[dict[str, Any], leaks.Overlaps | None]:
    """What the check for leakage adds to a filter, and what counts the runs of words."""
    if section is None:
        return {}, None

    def refuse(counts: filtering.Counts) -> None:
        if counts.first:
            raise RlvrError(leaks.refusal(context.task.name, context.split, counts.dropped, counts.first))

    more: dict[str, Any] = {"check": refuse} if section["found"] == "refuse" else {}
    if section["ngram"] is None:
        return more, None
    overlaps = leaks.Overlaps(section["ngram"], replace(context, evaluation=_examples(evaluation)))
    return {**more, "fill": overlaps}, overlaps


def _lengths(base: Path):
    from rlvr.engines.lengths import Lengths  # takes seconds to import

    return Lengths(base)


def _judged_by(judge: Judge):
    return lambda completions, examples: judge.judge_all(list(zip(completions, examples, strict=True)))


def _examples(paths: list[Path] | None) -> Iterator[tuple[Task, Example]]:
    for path in paths or []:
        for row in tables.stream(path):
            yield catalogue().task(row["task"]), tables.to_example(row["key"], row["example"])
