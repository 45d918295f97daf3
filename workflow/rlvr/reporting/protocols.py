"""The protocols of an experiment: whether its results may be compared, a table of them, and the cross cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr import protocol, protocol_lock
from rlvr.cells import TRAINING, Cell
from rlvr.errors import RlvrError
from rlvr.protocol import ROWS, TOKENIZER, Protocol
from rlvr.reporting import comparisons, layout
from rlvr.reporting.results import Results
from rlvr.statistics import proportions

Manifests = Mapping[str, Mapping[str, Any]]
Texts = Mapping[str, Mapping[str, Mapping[str, str | None]]]
ALL = tuple(field.name for field in dataclasses.fields(Protocol))


def checked(results: Results, manifests: Manifests, texts: Texts) -> dict[Cell, Protocol]:
    """The protocol of each cell. texts: the prompts of the config, by task and by whose they are.

    Raises RlvrError with the difference where cells that the config puts under one prompt do not share a protocol,
    where the prompt is not that of the config, or template and end tokens are not those of training.
    """
    found: dict[Cell, Protocol] = {}
    for cell in results.cells:
        if f"{cell.folder}/manifest.json" not in manifests:
            continue
        answers = _of(manifests, f"{cell.folder}/manifest.json")
        if cell.task not in answers:
            raise RlvrError(f"{cell.folder}: its manifest holds no protocol of {cell.task}; delete it and run again")
        met = found[cell] = answers[cell.task]
        scores = _of(manifests, f"{cell.folder}/scores.manifest.json")
        protocol_lock.require_same([met], scores, f"{cell.name}: completions", "their scores", ALL)
        _require_prompt(met, texts[cell.task][cell.prompt], cell.name)
        same = next(each for each in found if _asked(each) == _asked(cell))
        protocol_lock.require_same([met], {cell.task: found[same]}, cell.name, same.name, ALL)
    trained = _training(results, manifests)
    named = [(cell.name, each) for cell, each in found.items()]
    named += [(name, each) for name, protocols in trained.items() for each in protocols.values()]
    for name, each in named:
        first, other = named[0]
        protocol_lock.require_same([each], {"": other}, name, first, TOKENIZER)
    for name, protocols in trained.items():
        for task, each in protocols.items():
            _require_prompt(each, texts.get(task, {}).get(TRAINING), name)
    return found


def _asked(cell: Cell) -> tuple[str, str, str]:
    return cell.task, cell.mode, cell.prompt


def _of(manifests: Manifests, name: str) -> dict[str, Protocol]:
    return protocol.of_facts(manifests.get(name, {}).get("protocol", {}))


def _training(results: Results, manifests: Manifests) -> dict[str, dict[str, Protocol]]:
    """The protocols of what was trained and of the models made from it, by name."""
    names = [name for arm in results.trained() for name in (arm.path, f"model/{arm.path}")]
    return {name: _of(manifests, f"{name}/manifest.json") for name in names}


def _require_prompt(met: Protocol, text: Mapping[str, str | None] | None, name: str) -> None:
    if text is None:
        return
    wanted = dataclasses.replace(met, system_prompt=text["system_prompt"] or "", user_prompt=text["user_prompt"])
    protocol_lock.require_same([met], {met.task: wanted}, name, "the config", ROWS)


def table(results: Results, manifests: Manifests, cells: Mapping[Cell, Protocol]) -> pd.DataFrame:
    """A row for each protocol that something was trained or answered under."""
    under: dict[str, tuple[Protocol, list[str]]] = {}
    training = [(f"training of {arm.path}", _of(manifests, f"{arm.path}/manifest.json")) for arm in results.trained()]
    pairs = [(name, each) for name, protocols in training for each in protocols.values()]
    pairs += [(f"{cell.arm}/{cell.decoding}", each) for cell, each in cells.items()]
    for name, each in pairs:
        under.setdefault(each.hash, (each, []))[1].append(name)
    return pd.DataFrame([_row(each, names) for each, names in under.values()])


def _row(each: Protocol, names: list[str]) -> dict[str, Any]:
    drawn = {key: value for key, value in vars(each.decoding).items() if value is not None} if each.decoding else {}
    return {
        "task": each.task,
        "of": "\n".join(names),
        "system prompt": each.system_prompt or "none",
        "user prompt": "the task's own" if each.user_prompt is None else each.user_prompt,
        "completion begins with": repr(each.completion_prefix) if each.completion_prefix else "what is generated",
        "end tokens": " ".join((each.end_tokens or {}).values()),
        "prompt tokens": _limit(each.max_prompt_tokens),
        "completion tokens": _limit(each.max_completion_tokens),
        "decoding": "\n".join(f"{key}: {value}" for key, value in drawn.items()) or "none",
        "prompt hash": each.prompt_hash,
        "hash": each.hash,
    }


def _limit(tokens: int | None) -> str:
    return "not bounded" if tokens is None else str(tokens)


def cross(results: Results) -> pd.DataFrame | None:
    """A row an arm, task and decoding, and for each prompt strict accuracy in % with its 95 % interval, * at the arm's
    own prompt; None where no arm was asked under another's. Intervals as in the other tables.
    """
    asked = {(cell.task, cell.mode) for cell in results.cells if cell.crossed}
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for cell in results.cells:
        if (cell.task, cell.mode) in asked:
            line = rows.setdefault((cell.arm, cell.task, cell.mode), {})
            line[f"prompt of {cell.prompt}"] = _accuracy(results.scores_of(cell)) + ("" if cell.crossed else " *")
    if not rows:
        return None
    heads = [dict(zip(("arm", "task", "decoding"), key, strict=True)) for key in rows]
    return pd.DataFrame([head | line for head, line in zip(heads, rows.values(), strict=True)]).fillna("")


def _accuracy(scores: pd.DataFrame) -> str:
    items = comparisons.by_item(scores)
    low, high = proportions.of_items(items) or (None, None)
    mean = float(items.mean()) if len(items) else None
    return f"{layout.percent(mean)} ({layout.between(low, high)})"


def write(frame: pd.DataFrame | None, file: Path) -> None:
    file.unlink(missing_ok=True)
    if frame is not None:
        frame.to_csv(file, index=False)
