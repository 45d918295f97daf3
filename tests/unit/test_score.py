"""Scoring stored completions: what a verdict becomes, and a verifier that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr import tables
from rlvr.errors import RlvrError
from rlvr.stages import score
from rlvr_plugins import Example
from rlvr_plugins.manager import catalogue

MODULE = '''
from dataclasses import dataclass
from rlvr_plugins import Limits, Task, Verdict, hookimpl

@dataclass(frozen=True)
class Options: pass
def splits(options, train, eval, seed): return [], []
def user(example): return ""
def verify(completion, example):
    """Judges."""
    if completion == "hang":
        while True: pass
    if completion == "raise":
        raise RuntimeError("no")
    return Verdict(True, True, True, completion, answers=1)

@hookimpl
def rlvr_tasks():
    limits = Limits(sample_seconds=4.0, batch_seconds=600)
    for name, isolate in (("here", None), ("apart", limits)):
        yield Task(name, options=Options, splits=splits, system="", user=user, verify=verify, isolate=isolate)
'''


def run(folder: Path, task: str, completions: list[str]) -> tuple[dict, list[dict]]:
    keys = [f"{n}" for n in range(len(completions))]
    items = [{"task": task, "key": key, "prompt": [], "example": tables.to_text(Example(key, {}))} for key in keys]
    answers = [
        {"key": key, "prompt": [], "completion": text, "tokens": 1, "finish": "stop"}
        for key, text in zip(keys, completions, strict=True)
    ]
    tables.write(folder / "items.parquet", items, tables.ITEM)
    tables.write(folder / "answers.parquet", answers, tables.ANSWER)
    paths = {name: folder / f"{file}.parquet" for name, file in (("data", "items"), ("completions", "answers"))}
    facts = score.run({"task": task}, **paths, scores=folder / "scores.parquet")
    return facts, tables.read(folder / "scores.parquet")


@pytest.mark.parametrize("task", ["here", "apart"])
def test_a_verifier_that_fails_now_and_then_is_counted_and_said(tmp_path, installed, capsys, task):
    installed(MODULE)
    facts, rows = run(tmp_path, task, ["a"] * 20 + ["raise"] + ["b"] * 300)
    assert facts == {"completions": 321, "strict": 320, "errors": 1}
    assert [row["status"] for row in rows].count("error") == 1 and rows[20]["reason"] == "raised: RuntimeError: no"
    assert rows[-1].pop("completion_sha256") == tables.fingerprint("320", [], "b") != rows[-2]["completion_sha256"]
    assert rows[-1] == {
        "key": "320", "strict": True, "flexible": True, "well_formed": True, "answer": "b", "reason": "",
        "status": "right", "answers": 1, "score": 1.0,
    }  # fmt: skip
    assert (
        "score: the verifier failed on 1 of 321, counted as wrong: raised: RuntimeError: no" in capsys.readouterr().err
    )


def test_a_verifier_that_hangs_costs_only_its_item(tmp_path, installed):
    installed(MODULE)
    facts, rows = run(tmp_path, "apart", ["a"] * 10 + ["hang"] + ["b"] * 10)
    assert facts["errors"] == 1 and rows[10]["reason"].startswith("timeout: no answer in")


def test_a_verifier_that_fails_often_stops_with_its_first_error(tmp_path, installed):
    installed(MODULE)
    with pytest.raises(RlvrError, match="the verifier of 'here' failed on 3 of 10: raised: RuntimeError: no"):
        run(tmp_path, "here", ["a"] * 7 + ["raise"] * 3)
    assert not (tmp_path / "scores.parquet").exists()
    assert "here" in catalogue().tasks
