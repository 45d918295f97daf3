"""What tasks share whose question is a text and whose answer is a number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from rlvr_plugins import Example
from rlvr_plugins.tasks import word_problems
from rlvr_plugins.tasks.demonstrations import demonstration
from rlvr_plugins.tasks.files import RowError
from rlvr_plugins.tasks.sources import BOOLEAN, ID, TEXT, TEXT_OR_NUMBER, Columns, SourceOptions
from rlvr_plugins.verifiers.numbers import parse_number
from rlvr_plugins.verifiers.tags import shown

SYSTEM = (
    "Think step by step between <reasoning> and </reasoning>, "
    "then give only the final number between <answer> and </answer>."
)
KINDS = {
    "question": TEXT,
    "answer": TEXT_OR_NUMBER,
    "solution": TEXT,
    "predicted": TEXT_OR_NUMBER,
    "correct": BOOLEAN,
    "source": TEXT,
    "id": ID,
}
"""What `columns` may name, and what each column must hold.

answer: the gold: a number, or a solution that ends in `####` and a number. solution: steps for the
demonstration; without it the answer's own. predicted: the answer the solution comes to. correct: whether
that is right, for the filter `correct`. source, id: carried along; no id may stand twice.
"""
_WORDS = re.compile(r"\w+")
_WORDS_AND_SIGNS = re.compile(r"\w+|[^\w\s.,;:!?$]")


def columns(named: dict[str, str] | None, default: dict[str, str]) -> Columns:
    """The columns to read: the default ones, or those named with the default for question and answer."""
    chosen = {**{key: default[key] for key in ("question", "answer")}, **named} if named else default
    return {key: (column, KINDS[key]) for key, column in chosen.items()}


def eval_columns(options: SourceOptions, default: dict[str, str]) -> Columns:
    """The columns to read of the held-out file: question and answer, and what else was named for it."""
    found = columns(options.columns if options.eval_columns is None else options.eval_columns, default)
    needed = {"question", "answer", *(options.eval_columns or {})}
    return {key: column for key, column in found.items() if key in needed}


def gold_answer(solution: str) -> str:
    """What follows the last `####` of a GSM8K solution."""
    return solution.rpartition("####")[2].strip()


def example(values: dict[str, Any], signs: bool = False) -> Example:
    """The item of a row. signs: whether two questions that differ in signs such as + and - are two items."""
    words = (_WORDS_AND_SIGNS if signs else _WORDS).findall(values["question"].lower())
    if not words:
        raise RowError("a question without a word", f": {values['question'][:60]!r}")
    solution = values.get("solution", values["answer"] if "####" in values["answer"] else "")
    fields = {"question": values["question"], "solution": solution, "answer": gold_answer(values["answer"])}
    more = {key: values[key] for key in ("predicted", "correct", "source", "id") if key in values}
    return Example(" ".join(words), {**fields, **more})


def signed(values: dict[str, Any]) -> Example:
    return example(values, signs=True)


def gold(example: Example) -> str:
    answer = example.fields["answer"]
    if parse_number(answer) is not None:
        return ""
    return f"the answer {shown(answer)[:60]!r} is no number; allowed: a number, or a solution with ####"


def synthetic(
    size: int, rng: random.Random, name: str, make: Callable[[str, str], Example] | None = None
) -> list[Example]:
    """Distinct items from the generator. make: `(question, solution) -> Example`."""
    examples: dict[str, Example] = {}
    misses = 0
    while len(examples) < size:
        question, solution = word_problems.generate(rng)
        made = make(question, solution) if make else example({"question": question, "answer": solution})
        misses = misses + 1 if made.key in examples else 0
        if misses > 10_000:
            raise ValueError(f"{name}: the generator makes only about {len(examples)} distinct items")
        examples.setdefault(made.key, made)
    return list(examples.values())


def user(example: Example) -> str:
    return example.fields["question"]


def demonstrate(example: Example) -> str:
    """The item's own solution without marks, tags and boxes, and the answer it comes to; no steps where it is terse."""
    fields = example.fields
    return demonstration(fields["solution"], fields.get("predicted", fields["answer"]), terse=bool(fields.get("terse")))


def read(row: dict[str, Any]) -> Example:
    """A row needs `answer`: a number, a text that is one, or a solution with one after `####`."""
    if "answer" not in row:
        raise ValueError("answer: is missing; allowed: a number, or a solution with ####")
    answer = row["answer"]
    text = str(answer) if isinstance(answer, str | int | float) and not isinstance(answer, bool) else ""
    found = gold_answer(text)
    if parse_number(found) is None:
        raise ValueError(f"answer: {str(answer)[:80]!r} is not possible; allowed: a number, or a solution with ####")
    return Example(str(row.get("question", "")), {"answer": found})
