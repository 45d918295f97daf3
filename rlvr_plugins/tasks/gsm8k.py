"""GSM8K: grade-school word problems whose answer is a number, from the hub, a file or a generator."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from rlvr_plugins import Example, Task, hookimpl
from rlvr_plugins.tasks import word_problems
from rlvr_plugins.tasks.files import check_file
from rlvr_plugins.tasks.files import read as read_file
from rlvr_plugins.tasks.hub import download
from rlvr_plugins.verifiers.numbers import parse_number, verify_number

SYSTEM = (
    "Think step by step between <reasoning> and </reasoning>, "
    "then give only the final number between <answer> and </answer>."
)
REPOSITORY = "openai/gsm8k"
REVISION = "e53f048856ff4f594e959d75785d2c2d37b678ee"
_CALCULATION = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True)
class Options:
    """source: `hub` (openai/gsm8k), `path` (files in its format) or `synthetic` (a generator).
    revision: commit of the hub data set.
    train_path, eval_path: JSONL, JSON, CSV or Parquet files; only with `source: path`.
    question, answer: the columns of these files; an answer is a solution that ends in `####` and a number,
        or a number alone, whose demonstrations have no steps.
    terse: share of demonstrations that give the answer at once; the others show the steps.
    """

    source: Literal["hub", "path", "synthetic"] = "hub"
    revision: str = REVISION
    train_path: str | None = None
    eval_path: str | None = None
    question: str = "question"
    answer: str = "answer"
    terse: float = 0.0

    def __post_init__(self) -> None:
        given = [name for name in ("train_path", "eval_path") if getattr(self, name) is not None]
        if self.source == "path" and len(given) < 2:
            raise ValueError("source: path needs train_path and eval_path")
        if self.source != "path" and given:
            raise ValueError(f"{given[0]} goes with source: path only")
        if self.source != "path" and (self.question, self.answer) != ("question", "answer"):
            raise ValueError("question and answer, the names of columns, go with source: path only")
        if not 0 <= self.terse <= 1:
            raise ValueError("terse must be from 0 to 1")


def check(options: Options, train: int | None, eval: int | None) -> None:
    """Raises ValueError when a file is not there or a size is missing."""
    if options.source == "synthetic" and (train is None or eval is None):
        raise ValueError("train, sft and eval must be numbers: the items are generated")
    if options.source == "path":
        for key in ("train_path", "eval_path"):
            try:
                check_file(getattr(options, key))
            except ValueError as error:
                raise ValueError(f"options.{key}: {error}") from None


def files(options: Options) -> list[str]:
    return [path for path in (options.train_path, options.eval_path) if path]


def splits(options: Options, train: int | None, eval: int | None, seed: int):
    """Grade-school word problems, from the hub, a file or an offline generator."""
    rng = random.Random(f"gsm8k {seed}")
    if options.source == "synthetic":
        examples = _synthetic(train + eval, rng)
        return _shorten(examples[eval:], options.terse, rng), examples[:eval]
    if options.source == "path":
        test_rows, train_rows = (_rows(path, options) for path in (options.eval_path, options.train_path))
    else:
        test_rows, train_rows = (
            _rows(str(download(REPOSITORY, f"main/{split}-00000-of-00001.parquet", options.revision)), options)
            for split in ("test", "train")
        )
    held_out = [_example(*row) for row in test_rows]
    if eval is not None:
        held_out = held_out[:eval]
    keys = {example.key for example in held_out}
    training = [example for row in train_rows if (example := _example(*row)).key not in keys]
    rng.shuffle(training)
    return _shorten(training[:train], options.terse, rng), held_out


def _shorten(examples: list[Example], share: float, rng: random.Random) -> list[Example]:
    """Marks a share of the examples for a demonstration without steps."""
    return [replace(e, fields={**e.fields, "terse": True}) if rng.random() < share else e for e in examples]


def gold_answer(solution: str) -> str:
    """What follows the last `####` of a GSM8K solution."""
    return solution.rpartition("####")[2].strip()


def _example(question: str, solution: str, where: str) -> Example:
    gold = gold_answer(solution)
    if parse_number(gold) is None:
        raise ValueError(f"{where}: the answer {gold[:60]!r} is no number; allowed: a number, or a solution with ####")
    key = " ".join(re.findall(r"\w+", question.lower()))
    return Example(key, {"question": question, "solution": solution, "answer": gold})


def _synthetic(size: int, rng: random.Random) -> list[Example]:
    examples: dict[str, Example] = {}
    misses = 0
    while len(examples) < size:
        example = _example(*word_problems.generate(rng), "generator")
        misses = misses + 1 if example.key in examples else 0
        if misses > 10_000:
            raise ValueError(f"gsm8k: the generator makes only about {len(examples)} distinct items")
        examples.setdefault(example.key, example)
    return list(examples.values())


def _rows(path: str, options: Options) -> Iterable[tuple[str, str, str]]:
    """Question, answer and place of each row of a file."""
    for row, where in read_file(path, {"question": options.question, "answer": options.answer}):
        yield row["question"], row["answer"], where


def user(example: Example) -> str:
    return example.fields["question"]


def demonstrate(example: Example) -> str:
    """The item's own solution without calculator marks; nothing but the answer where it is terse."""
    steps = _CALCULATION.sub("", example.fields["solution"].rpartition("####")[0]).strip()
    thought = "" if example.fields.get("terse") else f"{steps}\n"
    return f"<reasoning>\n{thought}</reasoning>\n<answer>{example.fields['answer']}</answer>"


def read(row: dict[str, Any]) -> Example:
    """A row needs `answer`: a number, a text that is one, or a solution with one after `####`."""
    if "answer" not in row:
        raise ValueError("answer: is missing; allowed: a number, or a solution with ####")
    answer = row["answer"]
    text = str(answer) if isinstance(answer, str | int | float) and not isinstance(answer, bool) else ""
    gold = gold_answer(text)
    if parse_number(gold) is None:
        raise ValueError(f"answer: {str(answer)[:80]!r} is not possible; allowed: a number, or a solution with ####")
    return Example(str(row.get("question", "")), {"answer": gold})


@hookimpl
def rlvr_tasks():
    yield Task(
        "gsm8k",
        options=Options,
        splits=splits,
        check=check,
        files=files,
        system=SYSTEM,
        user=user,
        verify=verify_number,
        demonstrate=demonstrate,
        read=read,
        offline={"source": "synthetic"},
    )
