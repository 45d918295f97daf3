r"""Mathematical problems with worked solutions, such as OpenMathReasoning-mini: demonstrations for SFT.

huggingface.co/datasets/unsloth/OpenMathReasoning-mini, about 19,000 rows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from rlvr_plugins import Example, Splits, Task, hookimpl
from rlvr_plugins.tasks import numeric, sources
from rlvr_plugins.verifiers.numbers import verify_number

REPOSITORY = "unsloth/OpenMathReasoning-mini"
FILE = "data/cot-00000-of-00001.parquet"
COLUMNS = {
    "question": "problem",
    "answer": "expected_answer",
    "solution": "generated_solution",
    "source": "problem_source",
}


@dataclass(frozen=True)
class Options(sources.SourceOptions):
    """source: `hub` (unsloth/OpenMathReasoning-mini), `path` (files; without `eval_path`
        the held-out items are drawn from `train_path`) or `synthetic` (a generator).
    The task's columns are `question`, `answer` (the gold) and, where named, `solution` (its steps become the
        demonstration's), `predicted` (the answer it comes to), `correct`, `source` and `id`.
    """

    source: Literal["hub", "path", "synthetic"] = "hub"
    repository: str = REPOSITORY

    def __post_init__(self) -> None:
        self.check_source(numeric.KINDS, required=("train_path",))


def check(options: Options, train: int | None, eval: int | None) -> None:
    """Raises ValueError when a file is not there or a size is missing."""
    if options.source == "synthetic" and (train is None or eval is None):
        raise ValueError("train, sft and eval must be numbers: the items are generated")
    if eval is None and options.eval_path is None:
        raise ValueError("eval: must be a number, as the held-out items are drawn from the training file")
    options.check_files()


def splits(options: Options, train: int | None, eval: int | None, seed: int) -> Splits:
    """Mathematical problems with worked solutions, from the hub or files; mostly for SFT."""
    rng = random.Random(f"openmath {seed}")
    if options.source == "synthetic":
        examples = numeric.synthetic(train + eval, rng, "openmath", _worked)
        return Splits(examples[eval:], examples[:eval])
    path = options.train_path if options.source == "path" else options.hub_file(FILE)
    columns = numeric.columns(options, COLUMNS)
    if options.eval_path is None:
        return sources.one_file(path, columns, numeric.signed, numeric.gold, options, train, eval, rng)
    return sources.two_files(
        path,
        options.eval_path,
        columns,
        numeric.eval_columns(options, COLUMNS),
        numeric.signed,
        numeric.gold,
        options,
        train,
        eval,
        rng,
        keep_bad_golds=True,
    )


def _worked(question: str, solution: str) -> Example:
    """A generated problem in the style of these data sets."""
    steps, _, answer = solution.rpartition("####")
    worked = f"<think>\n{steps.strip()}\n</think>\n\nThe final answer is \\boxed{{{answer.strip()}}}."
    return numeric.signed({"question": question, "answer": answer.strip(), "solution": worked})


@hookimpl
def rlvr_tasks():
    yield Task(
        "openmath",
        options=Options,
        splits=splits,
        check=check,
        files=sources.files,
        system=numeric.SYSTEM,
        user=numeric.user,
        verify=verify_number,
        demonstrate=numeric.demonstrate,
        gold=numeric.gold,
        question=numeric.user,
        read=numeric.read,
        offline={"source": "synthetic"},
    )
