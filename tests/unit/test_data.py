"""The data stage: what it writes, counts and refuses, and what becomes of it when the disk is full."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import ROOT
from rlvr import tables
from rlvr.errors import RlvrError
from rlvr.stages import data
from rlvr_plugins import Example
from rlvr_plugins.tasks.columnar import Builder, Examples, digests

FILES = {"train": "train.parquet", "eval": "eval.parquet", "sft": "sft.parquet", "stats": "stats.json"}


def row(n: int, **more) -> dict:
    return {"question": f"What is {n} + 2?", "answer": f"Add.\n#### {n + 2}", **more}


def config(folder: Path, pool: list, test: list, task: str = "gsm8k", **options) -> dict:
    for name, rows in (("train", pool), ("test", test)):
        lines = [item if isinstance(item, str) else json.dumps(item) for item in rows]
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    paths = {"train_path": str(folder / "train.jsonl"), "eval_path": str(folder / "test.jsonl")}
    return {
        "task": task,
        **{key: options.pop(key, None) for key in ("train", "sft", "eval", "system_prompt", "user_prompt")},
        "options": {"source": "path", **paths, **options},
        "with_sft": True,
        "seed": 0,
    }


def run(folder: Path, chosen: dict) -> dict:
    made = folder / "made"
    made.mkdir(exist_ok=True)
    data.run(chosen, **{key: made / name for key, name in FILES.items()})
    return json.loads((made / "stats.json").read_text())


def test_what_was_left_out_is_counted_named_and_said(tmp_path, capsys):
    train = [row(1), "{", row(2), {"question": 3, "answer": "1"}, row(9), row(4)]
    facts = run(tmp_path, config(tmp_path, train, [row(9), row(10)], on_bad_row="skip"))
    assert facts["rows"] == {"train": 3, "eval": 2, "sft": 3}
    assert facts["left_out"] == {"not JSON": 1, "column 'question' can't be used": 1, "in the evaluation set": 1}
    assert [note.partition(": ")[0] for note in facts["notes"]] == [
        f"{tmp_path}/train.jsonl, line {n}" for n in (2, 4, 5)
    ]
    said = capsys.readouterr().err
    assert "gsm8k: rows left out: 1 column 'question' can't be used, 1 in the evaluation set, 1 not JSON; see " in said


def test_unreadable_answers_of_training_items_are_kept_and_said(tmp_path, capsys):
    columns = {"question": "question", "answer": "answer"}
    train = [row(1), {"question": "What?", "answer": "x or y"}]
    for sizes in ({}, {"train": 0}, {"sft": 0}):
        facts = run(tmp_path, config(tmp_path, train, [row(9)], task="openmath", columns=columns, **sizes))
        assert facts["unreadable_answers"] == 1
    assert "openmath: 1 training items have an answer that the verifier can't read" in capsys.readouterr().err
    with pytest.raises(RlvrError, match=r"tasks.openmath: .*test.jsonl, line 1: an answer that can't be read"):
        run(tmp_path, config(tmp_path, [row(1)], train[1:], task="openmath", columns=columns))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train": 4}, "tasks.gsm8k.train: 4 is not possible; allowed: up to 3, or null"),
        ({"eval": 3}, "tasks.gsm8k.eval: 3 is not possible; allowed: up to 2, or null"),
        ({"sft": 9}, "tasks.gsm8k.sft: 9 is not possible"),
    ],
)
def test_more_items_than_there_are_is_refused(tmp_path, changes, expected):
    with pytest.raises(RlvrError, match=expected):
        run(tmp_path, config(tmp_path, [row(n) for n in range(3)], [row(9), row(10)], **changes))


def test_a_training_set_that_is_all_in_the_evaluation_set_is_refused(tmp_path):
    with pytest.raises(RlvrError, match=r"tasks.gsm8k.train: there are no items"):
        run(tmp_path, config(tmp_path, [row(1)], [row(1)]))


STRANGER = """
from dataclasses import dataclass
from rlvr_plugins import Example, Task, Verdict, hookimpl

@dataclass(frozen=True)
class Options:
    shared: bool = False
    twice: bool = False

def splits(options, train, eval, seed):
    items = [Example(str(n), {"n": n}) for n in range(4)]
    if options.twice:
        return items[:2], [items[2], items[2]]
    return items[:2], items[1:] if options.shared else items[2:]

def user(example): return "x"
def verify(completion, example): return Verdict(False, False, False)
def gold(example): return "no number" if example.fields["n"] == 3 else ""

@hookimpl
def rlvr_tasks():
    yield Task("stranger", options=Options, splits=splits, system="", user=user, verify=verify, gold=gold)
"""


def test_held_out_items_of_any_task_are_distinct_and_can_be_judged(installed, tmp_path):
    installed(STRANGER)
    chosen = {**config(tmp_path, [], [], task="stranger", sft=0), "with_sft": False}
    for options, expected in (
        ({}, "tasks.stranger: the held-out item '3' can't be judged: no number"),
        ({"shared": True}, "tasks.stranger: 1 items are in both train and eval, such as '1'"),
        ({"twice": True}, "tasks.stranger: held-out items 1 and 2 are the same question, '2', which would count twice"),
    ):
        with pytest.raises(RlvrError, match=expected):
            run(tmp_path, {**chosen, "options": options})


def test_an_evaluation_only_task_writes_empty_training_tables(tmp_path):
    chosen = config(tmp_path, [], [row(1)], task="gsm8k_platinum", train=0, sft=0)
    del chosen["options"]["train_path"]
    assert run(tmp_path, chosen)["rows"] == {"train": 0, "eval": 1, "sft": 0}
    assert pq.read_schema(tmp_path / "made" / "sft.parquet").equals(tables.DEMONSTRATION)


@pytest.mark.parametrize(("limit", "value"), [("GROUP_ROWS", 3), ("GROUP_CHARACTERS", 10)])
def test_rows_are_written_and_read_in_batches(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(tables, "BATCH", 3)
    monkeypatch.setattr(tables, limit, value)
    rows = [
        {"task": "t", "key": str(n), "prompt": [{"role": "user", "content": "x"}], "example": "{}"} for n in range(8)
    ]
    assert tables.write_stream(tmp_path / "rows.parquet", iter(rows), tables.ITEM) == 8
    assert pq.read_metadata(tmp_path / "rows.parquet").num_row_groups == 3
    assert tables.read(tmp_path / "rows.parquet") == rows
    assert list(tables.stream(tmp_path / "rows.parquet", ["key"])) == [{"key": row["key"]} for row in rows]


def test_columnar_examples_are_as_a_list_of_them(monkeypatch):
    monkeypatch.setattr("rlvr_plugins.tasks.columnar.CHUNK_ROWS", 4)
    items = [Example(f"k{n}", {"n": n, "text": "é" * n}) for n in range(11)]
    columnar = Examples.of(items)
    assert list(columnar) == items and len(columnar) == 11 and columnar[-1] == items[-1]
    assert list(columnar[2:9][1:]) == items[3:9] and list(columnar[:None]) == items
    assert list(columnar.keys()) == [item.key for item in items] and list(digests(columnar)) == list(digests(items))
    shuffled = list(items)
    random.Random(3).shuffle(shuffled)
    assert list(columnar.shuffled(random.Random(3))) == shuffled
    marked = columnar.marked(n % 2 for n in range(11))[1:4]
    assert [example.fields.get("terse") for example in marked] == [True, None, True]
    assert [example.fields.get("terse") for example in marked.take([1, 0])] == [None, True]
    assert list(Builder().done()) == []
    with pytest.raises(IndexError):
        columnar[11]


def test_a_full_disk_ends_in_one_line_without_a_manifest_and_the_same_command_works_afterwards(tmp_path):
    chosen = config(tmp_path, [row(n) for n in range(20_000)], [row(n) for n in range(20_000, 20_009)])
    (tmp_path / "config.json").write_text(json.dumps(chosen))
    command = [sys.executable, "-m", "rlvr", "data", "--config", "config.json", "--manifest", "made/manifest.json"]
    for key, name in FILES.items():
        command += [f"--{key}", f"made/{name}"]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT}"}

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    full = subprocess.run(
        [*command, "--log", "log.txt"], cwd=tmp_path, env=env, preexec_fn=small_files, capture_output=True, text=True
    )
    assert full.returncode == 1
    [said] = [line for line in full.stderr.splitlines() if "rlvr data" in line]
    assert "OSError" in said and "File too large" in said
    assert "Traceback" not in full.stderr
    assert not (tmp_path / "made" / "manifest.json").exists()
    again = subprocess.run([*command, "--log", "log.txt"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert pq.read_metadata(tmp_path / "made" / "train.parquet").num_rows == 20_000
    assert (tmp_path / "made" / "manifest.json").exists()
