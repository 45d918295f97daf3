"""Any data set of reasoning-gym as a task, `reasoning_gym:<dataset>`, judged by its own scorer in a worker.

Optional: `pip install -e ".[reasoning-gym]"`. Source: github.com/open-thought/reasoning-gym, Apache-2.0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

from rlvr_plugins import Example, Limits, Task, hookimpl
from rlvr_plugins.verifiers.reasoning_gym import dataset_of, verify_reasoning_gym

FAMILY = "reasoning_gym"
RUNS_ANSWERS = {
    "binary_matrix",
    "countdown",
    "intermediate_integration",
    "n_queens",
    "polynomial_multiplication",
    "puzzle24",
    "simple_integration",
    "spiral_matrix",
    "string_insertion",
}
"""Data sets whose scorers call eval, or sympy's parse_expr, on an answer; a test compares with the source."""
LIMITS = Limits(sample_seconds=10.0, batch_seconds=120.0, memory_mib=2048)
SYSTEM = (
    "Think step by step between <think> and </think>, then give only the final answer between <answer> and </answer>."
)
TRIES = 20


@dataclass(frozen=True)
class Options:
    """config: the data set's own options by their own names."""

    config: dict[str, Any] = field(default_factory=dict)


def check(dataset: str, options: Options, train: int | None, eval: int | None) -> None:
    """Raises ValueError when a size is missing or the data set refuses its options."""
    if train is None or eval is None:
        raise ValueError("train, sft and eval must be numbers: the items are generated")
    dataset_of(dataset, json.dumps(options.config, sort_keys=True), 0, 1)


def splits(dataset: str, options: Options, train: int, eval: int, seed: int) -> tuple[list[Example], list[Example]]:
    """A data set of reasoning-gym, generated offline."""
    size = TRIES * (train + eval)
    config = json.dumps(options.config, sort_keys=True)
    made = dataset_of(dataset, config, seed, size)
    examples: dict[str, Example] = {}
    for index in range(size):
        entry = made[index]
        fields = {"config": config, "seed": seed, "size": size, "index": index}
        key = " ".join(entry["question"].split())
        examples.setdefault(key, Example(key, {**fields, "question": entry["question"], "answer": entry["answer"]}))
        if len(examples) == train + eval:
            break
    found = list(examples.values())
    if len(found) < train + eval:
        raise ValueError(f"only {len(found)} distinct items in {size} tries, {train + eval} asked for; ask for fewer")
    return found[eval:], found[:eval]


def user(example: Example) -> str:
    return example.fields["question"]


def demonstrate(example: Example) -> str:
    """The data set's own answer, without steps."""
    return f"<think>\n</think>\n<answer>{example.fields['answer']}</answer>"


def read(row: dict[str, Any]) -> Example:
    """A row names its item as the training data does: config (JSON text), seed, size and index."""
    keys = {"config": str, "seed": int, "size": int, "index": int}
    for key, kind in keys.items():
        if type(row.get(key)) is not kind:
            raise ValueError(f"{key}: {row.get(key)!r} is not possible; allowed: {kind.__name__}")
    return Example(str(row["index"]), {key: row[key] for key in keys})


@hookimpl
def rlvr_find_task(name: str) -> Task | None:
    family, _, dataset = name.partition(":")
    if family != FAMILY:
        return None
    if dataset == "countdown":
        raise ValueError("its scorer pays for wrong answers and runs them through sympy; use the task 'countdown'")
    if dataset in RUNS_ANSWERS:
        raise ValueError("its scorer runs the model's answer as code; no task here does that")
    if find_spec("reasoning_gym") is None:
        raise ValueError('reasoning-gym is not installed; pip install -e ".[reasoning-gym]"')
    from reasoning_gym.factory import DATASETS

    if dataset not in DATASETS:
        raise ValueError(f"no such data set; allowed: {', '.join(sorted(set(DATASETS) - RUNS_ANSWERS))}")
    return Task(
        name,
        options=Options,
        splits=partial(splits, dataset),
        check=partial(check, dataset),
        system=SYSTEM,
        user=user,
        verify=partial(verify_reasoning_gym, dataset),
        demonstrate=demonstrate if _has_answers(dataset) else None,
        read=read,
        isolate=LIMITS,
        requires=("reasoning-gym",),
    )


def _has_answers(dataset: str) -> bool:
    """Whether the data set gives an answer, not only a scorer."""
    try:
        return isinstance(dataset_of(dataset, "{}", 0, 1)[0]["answer"], str)
    except ValueError:
        return False
