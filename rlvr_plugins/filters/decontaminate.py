"""Rows that stand in an evaluation set of the experiment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rlvr_plugins import Filter, FilterContext, Row, Task, hookimpl
from rlvr_plugins.filters.words import words
from rlvr_plugins.tasks.columnar import digest

ITEM, EXACT, NORMALISED, NGRAM = RULES = ("item", "exact", "normalised", "ngram")
SHOWN = 300


@dataclass(frozen=True)
class Options:
    """rules: what makes a row one of an evaluation set, tried in this order.
        `item`: the same key, of whichever task: the same question whatever its wording or order; of Countdown
            the same numbers and target.
        `exact`: the same question to the letter.
        `normalised`: the same words, in lower case and without punctuation.
        `ngram`: a run of `ngram` words of an evaluation question, operators counted as words.
    ngram: words in such a run. Of GSM8K's 7,473 training questions 8 drops 98, most of them for a phrase such as
        "what is the sum of the ages of", and 13 drops 4, reworded test questions.

    The last three look at the wording of a question and leave out tasks whose items have none of their own.
    """

    rules: tuple[Literal["item", "exact", "normalised", "ngram"], ...] = RULES
    ngram: int = 8

    def __post_init__(self) -> None:
        if not self.rules or len(set(self.rules)) < len(self.rules):
            raise ValueError(f"rules must be one or more of {', '.join(RULES)}, each once")
        if self.ngram < 2:
            raise ValueError("ngram must be at least 2")


def check(options: Options, task: Task) -> None:
    if task.question is None and ITEM not in options.rules:
        raise ValueError(f"rules: the items of {task.name!r} have no wording of their own; add item")


def start(options: Options, context: FilterContext):
    """Drops what stands in an evaluation set of the experiment, by key, by text and by runs of words."""
    held_out: dict[str, dict] = {rule: {} for rule in options.rules}
    for task, example in context.evaluation:
        question = _question(task, example)
        shown = (example.key if question is None else question)[:SHOWN]
        for rule, marks in _marks(options, task, example.key, question):
            held_out[rule].update(dict.fromkeys(marks, shown))

    def reason(row: Row) -> str:
        for rule, marks in _marks(options, context.task, row.key, _question(context.task, row.example)):
            known = held_out[rule]
            hit = next(filter(known.__contains__, marks), None)
            if hit is not None:
                return f"in an evaluation set: {rule}\n{known[hit]}"
        return ""

    def select(rows: Sequence[Row]) -> list[str]:
        return [reason(row) for row in rows]

    return select


def _question(task: Task, example) -> str | None:
    return task.question(example) if task.question else None


def _marks(options: Options, task: Task, key: str, question: str | None) -> Iterator[tuple[str, Iterable]]:
    """What stands for an item under each rule that applies to it."""
    found = None
    for rule in options.rules:
        if rule == ITEM:
            yield rule, (digest(key),)
            continue
        if question is None:
            continue
        if rule == EXACT:
            yield rule, (digest(question),)
            continue
        found = words(question) if found is None else found
        if rule == NORMALISED and found:
            yield rule, (digest(" ".join(found)),)
        elif rule == NGRAM:
            yield rule, map(hash, zip(*(found[i:] for i in range(options.ngram)), strict=False))


@hookimpl
def rlvr_filters():
    yield Filter("decontaminate", options=Options, start=start, needs=("evaluation",), check=check, requires=("regex",))
