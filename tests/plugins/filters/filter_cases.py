"""What the tests of filters share: rows, a way to run a filter in batches, and GSM8K where it lies."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from rlvr_plugins import Example, FilterContext, Row, Task
from rlvr_plugins.manager import catalogue

SIZES = (1, 2, 1000)
GSM8K = Path(os.environ.get("RLVR_GSM8K", ROOT.parent / "shared" / "data" / "gsm8k"))


def row(text: str = "", completion: str | None = None, key: str | None = None, **fields: Any) -> Row:
    """A row of gsm8k; what Row itself has is taken from `fields`."""
    more = {name: fields.pop(name) for name in ("rollouts", "prompt") if name in fields}
    example = Example(text if key is None else key, {"question": text, "answer": "5", **fields})
    prompt = [{"role": "system", "content": "Think."}, {"role": "user", "content": text}]
    return Row("gsm8k", example, **{"prompt": prompt, "completion": completion, **more})


def reasons(name: str, rows: Sequence[Row], options: dict[str, Any] | None = None, **context: Any) -> list[str]:
    """Why each row is dropped, as it is counted."""
    return [reason.partition("\n")[0] for reason in selected(name, rows, options, **context)]


def selected(name: str, rows: Sequence[Row], options: dict[str, Any] | None = None, **context: Any) -> list[str]:
    """What a filter says of each row; the same in batches of every size."""
    plugin = catalogue().filter(name)
    task = context.pop("task", catalogue().task("gsm8k"))
    found = []
    for size in SIZES:
        given = {key: value() if key == "evaluation" else value for key, value in context.items()}
        select = plugin.start(
            plugin.options(**options or {}), FilterContext(task, given.pop("split", "train"), **given)
        )
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        found.append([reason for batch in batches for reason in select(batch)])
    assert all(each == found[0] for each in found)
    return found[0]


def refuses(name: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        catalogue().filter(name).options(**options)


def check(name: str, task: str, **options: Any) -> None:
    plugin = catalogue().filter(name)
    plugin.check(plugin.options(**options), catalogue().task(task))


def gsm8k(split: str) -> list[Example]:
    """All items of a split of the real data set; skips the test where it is not there."""
    if not GSM8K.is_dir():
        pytest.skip(f"{GSM8K}: GSM8K is not there; name its folder in RLVR_GSM8K")
    items = map(json.loads, (GSM8K / f"{split}.jsonl").read_text(encoding="utf-8").splitlines())
    return [Example(item["question"], {"question": item["question"], "answer": item["answer"]}) for item in items]


def rows_of(task: Task, examples: Sequence[Example]) -> list[Row]:
    return [Row(task.name, example, task.prompt(example)) for example in examples]
