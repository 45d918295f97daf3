"""Training rows in the evaluation file of their own task: counted, and refused where leakage is."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from conftest import MICRO
from rlvr import config, slices, tables
from rlvr.errors import RlvrError
from rlvr.reporting import leakage
from rlvr.reporting.results import Results
from rlvr.stages import data, filter

WORDS = "Ann has {} red pens and Bob has {} blue pens in a box, how many pens do Ann and Bob have in all?"
COUNTDOWN = [{"nums": [n, 3, 5], "target": n + 8} for n in range(10, 16)]


def question(n: int) -> dict:
    return {"question": f"How much is {n} plus 2?", "answer": f"#### {n + 2}"}


def rows_file(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def cut(folder: Path, leakage: dict | None, filters: list | None = None, **tasks) -> dict:
    changed = copy.deepcopy(MICRO)
    changed |= {"tasks": tasks, "filters": filters or [], "leakage": leakage}
    file = folder / "experiment.yaml"
    file.write_text(json.dumps(changed), encoding="utf-8")
    return slices.of(config.load([file]))


def files_of(folder: Path, train: list[dict], test: list[dict] | None) -> dict:
    paths = {"train_path": rows_file(folder / "train.jsonl", train)}
    paths["eval_path"] = paths["train_path"] if test is None else rows_file(folder / "test.jsonl", test)
    return {"options": {"source": "path", **paths}}


def made(folder: Path, cut: dict, task: str) -> dict[str, Path]:
    out = folder / "results" / "data" / task / "raw"
    out.mkdir(parents=True)
    files = {name: out / f"{name}.parquet" for name in ("train", "eval", "sft")} | {"stats": out / "stats.json"}
    data.run(cut[f"data/{task}"], **files)
    return files


REFUSE = {"found": "refuse"}


@pytest.mark.parametrize(
    ("task", "train", "test"),
    [
        ("gsm8k", [question(1), question(2), question(3)], [question(2), question(9)]),
        ("gsm8k", [question(1), {**question(2), "question": "how MUCH is 2 plus 2"}, question(3)], [question(2)]),
        ("openmath", [question(1), question(2), question(3)], [question(2)]),
        ("countdown", COUNTDOWN[:3], [{"nums": [5, 11, 3], "target": 19}]),
    ],
    ids=["exact", "normalised", "openmath", "item in another order"],
)
def test_a_question_shared_by_both_files_is_refused_or_counted(tmp_path, task, train, test):
    known = files_of(tmp_path, train, test)
    with pytest.raises(RlvrError) as raised:
        made(tmp_path / "refuse", cut(tmp_path, REFUSE, **{task: known}), task)
    said = str(raised.value)
    assert said.startswith(f"leakage: 1 training rows of '{task}' stand in its own evaluation file (item 1); the first")
    assert "train.jsonl, line 2" in said and "leakage.found: drop" in said and "\n" not in said

    files = made(tmp_path / "drop", cut(tmp_path, {"found": "drop"}, **{task: known}), task)
    facts = json.loads(files["stats"].read_text(encoding="utf-8"))
    assert facts["in_own_evaluation"] == 1 and facts["rows"]["train"] == 2
    assert facts["left_out"] == {"in the evaluation set": 1}
    shown = leakage.table(Results(tmp_path / "drop" / "results", [], [task], {}), {task: None}, {})
    assert list(shown.loc[0][["task", "split", "found by rule", "dropped"]]) == [task, "source file", "item 1", "1"]


def test_the_same_file_given_twice_is_refused_for_sft_too(tmp_path):
    rows = [question(n) for n in range(4)]
    for sizes in ({}, {"train": 0, "sft": 2}):
        known = {**files_of(tmp_path, rows, None), **sizes}
        found = cut(tmp_path, REFUSE, gsm8k=known, countdown={"train": 8, "sft": 8, "eval": 2})
        with pytest.raises(RlvrError, match="leakage: 4 training rows of 'gsm8k' stand in its own evaluation file"):
            made(tmp_path / str(len(sizes)), found, "gsm8k")


def checked(folder: Path, found: dict, task: str, files: dict[str, Path], evaluation: list[Path]) -> dict:
    [step] = [name for name in found if name.startswith(f"filter/{task}/") and name.endswith("leakage")]
    out = {name: folder / f"out_{name}" for name in ("train", "sft", "dropped", "stats")}
    filter.run(found[step], from_train=files["train"], from_sft=files["sft"], evaluation=evaluation, **out)
    return json.loads(out["stats"].read_text(encoding="utf-8"))


def test_a_run_of_words_shared_with_the_task_s_own_file_is_refused_where_the_rules_name_it(tmp_path):
    def item(n):
        return {"question": WORDS.format(n, n + 1), "answer": str(2 * n + 1)}

    known = files_of(tmp_path, [item(1), question(4)], [item(3)])
    rules = {"found": "refuse", "rules": ["item", "exact", "normalised", "ngram"], "ngram": 8}
    found = cut(tmp_path, rules, gsm8k=known)
    files = made(tmp_path, found, "gsm8k")
    with pytest.raises(RlvrError, match=r"leakage: 1 train rows of 'gsm8k' stand in an evaluation set \(ngram 1\)"):
        checked(tmp_path, found, "gsm8k", files, [files["eval"]])


def test_two_tasks_that_share_a_question_are_refused(tmp_path):
    options = {"source": "path", "eval_path": rows_file(tmp_path / "platinum.jsonl", [question(2)])}
    known = files_of(tmp_path, [question(1), question(2)], [question(7)])
    found = cut(tmp_path, REFUSE, gsm8k=known, gsm8k_platinum={"train": 0, "sft": 0, "options": options})
    files, other = made(tmp_path, found, "gsm8k"), made(tmp_path, found, "gsm8k_platinum")
    with pytest.raises(RlvrError, match="leakage: 1 train rows of 'gsm8k' stand in an evaluation set"):
        checked(tmp_path, found, "gsm8k", files, [files["eval"], other["eval"]])
    (tmp_path / "only_sft").mkdir()
    tables.write(tmp_path / "none.parquet", [], tables.ITEM)
    with pytest.raises(RlvrError, match="leakage: 1 sft rows of 'gsm8k'"):
        checked(tmp_path / "only_sft", found, "gsm8k", {**files, "train": tmp_path / "none.parquet"}, [other["eval"]])


def test_a_filter_of_the_list_that_drops_such_rows_does_not_keep_refusal_from_seeing_them(tmp_path):
    known = files_of(tmp_path, [question(1), question(2)], [question(7)])
    for own in ("decontaminate", {"decontaminate": {"rules": ["item"]}}):
        found = cut(tmp_path, REFUSE, ["duplicates", own, "gold"], gsm8k=known)
        steps = [name.rpartition("/")[2] for name in found if name.startswith("filter/")]
        assert steps == ["01-duplicates", "02-leakage", "03-decontaminate", "04-gold"]
        assert found["filter/gsm8k/02-leakage"]["leakage"]["found"] == "refuse"
    dropped = cut(tmp_path, {"found": "drop"}, ["decontaminate"], gsm8k=known)
    assert [name.rpartition("/")[2] for name in dropped if name.startswith("filter/")] == ["01-decontaminate"]


def test_a_source_of_one_file_is_split_by_question_and_has_none_of_its_own(tmp_path):
    known = {"eval": 2, "options": {"source": "path", "train_path": rows_file(tmp_path / "a.jsonl", COUNTDOWN * 2)}}
    files = made(tmp_path, cut(tmp_path, REFUSE, countdown=known), "countdown")
    facts = json.loads(files["stats"].read_text(encoding="utf-8"))
    assert facts["in_own_evaluation"] == 0 and facts["left_out"] == {"in the evaluation set": 2}
