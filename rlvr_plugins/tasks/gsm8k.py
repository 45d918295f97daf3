"""GSM8K: grade-school word problems whose answer is a number, from the hub, a file or a generator."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

from rlvr_plugins import Splits, Task, hookimpl
from rlvr_plugins.tasks import numeric, sources
from rlvr_plugins.verifiers.numbers import verify_number

REPOSITORY = "openai/gsm8k"
REVISION = "e53f048856ff4f594e959d75785d2c2d37b678ee"
COLUMNS = {"question": "question", "answer": "answer"}


@dataclass(frozen=True)
class Options(sources.SourceOptions):
    """source: `hub` (openai/gsm8k), `path` (files, of any layout) or `synthetic` (a generator).
    terse: share of demonstrations that give the answer at once; the others show the steps.
    The task's columns are `question` and `answer` (a solution that ends in `####` and a number, or a number
        alone, whose demonstrations have no steps) and, where named, `solution`, `predicted`, `correct`, `source`
        and `id`.
    """

    source: Literal["hub", "path", "synthetic"] = "hub"
    repository: str = REPOSITORY
    revision: str = REVISION
    terse: float = 0.0

    def __post_init__(self) -> None:
        self.check_source(numeric.KINDS)
        if not 0 <= self.terse <= 1:
            raise ValueError("terse must be from 0 to 1")


def check(options: Options, train: int | None, eval: int | None) -> None:
    """Raises ValueError when a file is not there or a size is missing."""
    if options.source == "synthetic" and (train is None or eval is None):
        raise ValueError("train, sft and eval must be numbers: the items are generated")
    options.check_files()


def splits(options: Options, train: int | None, eval: int | None, seed: int) -> Splits:
    """Grade-school word problems, from the hub, a file or an offline generator."""
    rng = random.Random(f"gsm8k {seed}")
    if options.source == "synthetic":
        examples = numeric.synthetic(train + eval, rng, "gsm8k")
        shortened = [
            replace(e, fields={**e.fields, "terse": True}) if rng.random() < options.terse else e
            for e in examples[eval:]
        ]
        return Splits(shortened, examples[:eval])
    if options.source == "path":
        train_path, eval_path = options.train_path, options.eval_path
    else:
        eval_path, train_path = (
            options.hub_file(f"main/{split}-00000-of-00001.parquet") for split in ("test", "train")
        )
    found = sources.two_files(
        train_path,
        eval_path,
        numeric.columns(options, COLUMNS),
        numeric.eval_columns(options, COLUMNS),
        numeric.example,
        numeric.gold,
        options,
        train,
        eval,
        rng,
    )
    return replace(found, train=found.train.marked(rng.random() < options.terse for _ in found.train.keys()))  # noqa: SIM118


@hookimpl
def rlvr_tasks():
    yield Task(
        "gsm8k",
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
