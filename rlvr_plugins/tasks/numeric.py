"""What tasks share whose question is a text and whose answer is a number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from rlvr_plugins import Example
from rlvr_plugins.tasks import scalars, word_problems
from rlvr_plugins.tasks.columns import chosen, text_or_number
from rlvr_plugins.tasks.demonstrations import demonstration
from rlvr_plugins.tasks.files import RowError
from rlvr_plugins.tasks.sources import BOOLEAN, ID, QUESTION, SOLUTION, TEXT, TEXT_OR_NUMBER, Columns, SourceOptions
from rlvr_plugins.verifiers.numbers import parse_number
from rlvr_plugins.verifiers.tags import shown

SYSTEM = (
    "Think step by step between <reasoning> and </reasoning>, "
    "then give only the final number between <answer> and </answer>."
)
KINDS = {
    "question": QUESTION,
    "answer": TEXT_OR_NUMBER,
    "solution": SOLUTION,
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


NEEDED = ("question", "answer")


def columns(options: SourceOptions, published: dict[str, str]) -> Columns:
    """The columns to read. published: those of the task's data set on the hub, all of which it must have itself."""
    return chosen(options.columns, published, KINDS, published if options.source == "hub" else NEEDED)


def eval_columns(options: SourceOptions, published: dict[str, str]) -> Columns:
    """The columns to read of the held-out file: question and answer, and what else was named for it."""
    named = options.columns if options.eval_columns is None else options.eval_columns
    wanted = {*NEEDED, *(options.eval_columns or {})}
    return {key: column for key, column in chosen(named, published, KINDS, NEEDED).items() if key in wanted}


def gold_answer(solution: str) -> str:
    """What follows the last `####` of a GSM8K solution."""
    return solution.rpartition("####")[2].strip()


def example(values: dict[str, Any], signs: bool = False) -> Example:
    """The item of a row. signs: whether two questions that differ in signs such as + and - are two items."""
    words = (_WORDS_AND_SIGNS if signs else _WORDS).findall(values["question"].lower())
    if not words:
        raise RowError("a question without a word", f": {values['question'][:60]!r}")
    solution = values.get("solution", values["answer"] if "####" in values["answer"] else "")
    try:
        answer = scalars.meant(gold_answer(values["answer"]))
    except scalars.Unclear as error:
        raise RowError("an answer that can't be read", f": {values['answer'][-60:]!r}, {error}") from None
    fields = {"question": values["question"], "solution": solution, "answer": answer}
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
    try:
        found = scalars.meant(gold_answer(text_or_number(row["answer"]) or ""))
    except scalars.Unclear as error:
        raise ValueError(f"answer: {str(row['answer'])[:80]!r}, {error}") from None
    if parse_number(found) is None:
        raise ValueError(
            f"answer: {str(row['answer'])[:80]!r} is not possible; allowed: a number, or a solution with ####"
        )
    return Example(str(row.get("question", "")), {"answer": found})
