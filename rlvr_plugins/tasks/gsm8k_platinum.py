"""GSM8K-Platinum: the test set of GSM8K with its labels corrected, for evaluation only.

1,209 of the 1,319 items; data set and commit: huggingface.co/datasets/madrylab/gsm8k-platinum.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from rlvr_plugins import Splits, Task, hookimpl
from rlvr_plugins.tasks import numeric, sources
from rlvr_plugins.verifiers.numbers import verify_number

REPOSITORY = "madrylab/gsm8k-platinum"
REVISION = "e762492455a1cf7967de89f05b6bef72fc713b66"
FILE = "main/test-00000-of-00001.parquet"
COLUMNS = {"question": "question", "answer": "answer"}


@dataclass(frozen=True)
class Options(sources.SourceOptions):
    """source: `hub` (madrylab/gsm8k-platinum), `path` (a file, `eval_path`) or `synthetic` (a generator).
    The task's columns are those of `gsm8k`.
    """

    source: Literal["hub", "path", "synthetic"] = "hub"
    repository: str = REPOSITORY
    revision: str = REVISION

    def __post_init__(self) -> None:
        if self.train_path is not None:
            raise ValueError("train_path: this task is for evaluation only; allowed: eval_path")
        self.check_source(numeric.KINDS, required=("eval_path",))


def check(options: Options, train: int | None, eval: int | None) -> None:
    """Raises ValueError when items to train on are asked for or the file is not there."""
    if train != 0:
        raise ValueError("train: this task is for evaluation only; set train: 0 and sft: 0")
    if options.source == "synthetic" and eval is None:
        raise ValueError("eval must be a number: the items are generated")
    options.check_files()


def splits(options: Options, train: int | None, eval: int | None, seed: int) -> Splits:
    """The test set of GSM8K with corrected labels, 1,209 items, for evaluation only."""
    rng = random.Random(f"gsm8k_platinum {seed}")
    if options.source == "synthetic":
        return Splits([], numeric.synthetic(eval, rng, "gsm8k_platinum"))
    path = options.eval_path if options.source == "path" else options.hub_file(FILE)
    columns = numeric.eval_columns(options, COLUMNS)
    return sources.two_files(None, path, columns, columns, numeric.example, numeric.gold, options, 0, eval, rng)


@hookimpl
def rlvr_tasks():
    yield Task(
        "gsm8k_platinum",
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
