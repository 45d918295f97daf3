"""Judges completions by another task's labels for the same questions; needs no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import tables
from rlvr.errors import RlvrError
from rlvr.stages import score
from rlvr_plugins import Task
from rlvr_plugins.filters.words import words
from rlvr_plugins.manager import catalogue


def run(config: dict[str, Any], *, data: Path, second: Path, completions: Path, scores: Path) -> dict[str, Any]:
    """`scores` gets a row a completion of the items that `second` has too, in their order, under the key of `data`.

    Items are the same where their questions have the same words, in lower case and without punctuation. Raises
    RlvrError where no item is in both, or two items of a file have the same words.
    """
    task, other = catalogue().task(config["task"]), catalogue().task(config["second"])
    items, labels = tables.read(data), tables.read(second)
    answers = tables.read(completions)
    by_question = {question: labels[place] for question, place in _places(other, labels, second).items()}
    label_of = {
        items[place]["key"]: by_question[question]
        for question, place in _places(task, items, data).items()
        if question in by_question
    }
    if not label_of:
        raise RlvrError(
            f"tasks.{task.name}.second_labels: none of the {len(items)} held-out questions is among the {len(labels)} "
            f"of {other.name!r} ({second}); allowed: labels for the same questions"
        )
    shared = [row for row in answers if row["key"] in label_of]
    examples = [tables.to_example(label["key"], label["example"]) for label in (label_of[row["key"]] for row in shared)]
    verdicts = score.judged(other, [(row["completion"], each) for row, each in zip(shared, examples, strict=True)])
    rows = [{"key": row["key"], **vars(verdict)} for row, verdict in zip(shared, verdicts, strict=True)]
    tables.write(scores, rows, tables.SCORE)
    return {
        "completions": len(rows),
        "strict": sum(row["strict"] for row in rows),
        "items": len(label_of),
        "without_label": len(items) - len(label_of),
        "labels_not_used": len(labels) - len(label_of),
    }


def _places(task: Task, rows: list[dict[str, Any]], path: Path) -> dict[str, int]:
    """Where the item with each question stands."""
    places: dict[str, int] = {}
    for place, row in enumerate(rows):
        asked = task.question(tables.to_example(row["key"], row["example"]))
        question = " ".join(words(asked))
        if question in places:
            raise RlvrError(
                f"{path}, rows {places[question] + 1} and {place + 1}: ask the same, {asked[:80]!a}, so that "
                "labels can't be told apart; allowed: each question once"
            )
        places[question] = place
    return places
