"""Which check for leakage an experiment gets, and how the report shows what it found."""

from __future__ import annotations

import copy
import json

import pytest

from conftest import MICRO
from rlvr import config, slices, tables
from rlvr.errors import RlvrError
from rlvr.reporting import leakage
from rlvr.reporting.results import Results

NUMBERS = {"train": 4, "sft": 4, "eval": 2, "options": {"source": "synthetic"}}
PASS_RATE = {"pass_rate": {"samples": 2, "max_completion_tokens": 8}}


def loaded(folder, filters=None, section=(), **tasks):
    changed = copy.deepcopy(MICRO)
    changed["tasks"] = tasks or changed["tasks"]
    changed["filters"] = MICRO["filters"] if filters is None else filters
    if section != ():
        changed["leakage"] = section
    file = folder / "experiment.yaml"
    file.write_text(json.dumps(changed))
    return config.load([file])


def steps(*arguments, task="countdown", **tasks):
    return [step.name for step in loaded(*arguments, **tasks).steps(task)]


def test_the_check_follows_the_filters_that_sample_nothing(tmp_path):
    assert steps(tmp_path) == ["01-duplicates", "02-tokens", "03-leakage"]
    assert steps(tmp_path, []) == ["01-leakage"]
    assert steps(tmp_path, ["duplicates", PASS_RATE]) == ["01-duplicates", "02-leakage", "03-pass_rate"]
    assert steps(tmp_path, [], None) == []


def test_a_list_that_checks_as_much_is_not_checked_twice(tmp_path):
    mine = [{"decontaminate": {"rules": ["item", "exact", "normalised"]}}]
    assert steps(tmp_path, mine, task="gsm8k", gsm8k=NUMBERS) == ["01-decontaminate"]
    weaker = [{"decontaminate": {"rules": ["item"]}}, {**mine[0], "splits": ["sft"]}]
    assert steps(tmp_path, weaker, task="gsm8k", gsm8k=NUMBERS)[-1] == "03-leakage"
    runs = {"rules": ["ngram"], "ngram": 10}
    for words, last in ((13, "02-leakage"), (10, "01-decontaminate"), (8, "01-decontaminate")):
        own = [{"decontaminate": {"rules": ["ngram"], "ngram": words}}]
        assert steps(tmp_path, own, runs, task="gsm8k", gsm8k=NUMBERS)[-1] == last


def test_runs_of_words_are_counted_where_they_are_not_searched_for_and_only_of_wording(tmp_path):
    both = {"countdown": MICRO["tasks"]["countdown"], "gsm8k": NUMBERS}
    found = slices.of(loaded(tmp_path, [], **both))
    assert found["filter/countdown/01-leakage"]["options"]["rules"] == ["item"]
    assert found["filter/countdown/01-leakage"]["leakage"] == {"found": "drop", "ngram": None}
    assert found["filter/gsm8k/01-leakage"]["leakage"] == {"found": "drop", "ngram": 8}
    assert found["report"]["leakage"]["ngrams"] == {"gsm8k": 8}
    searched = slices.of(loaded(tmp_path, [], {"rules": ["ngram"]}, gsm8k=NUMBERS))
    assert searched["filter/gsm8k/01-leakage"]["leakage"]["ngram"] is None


def test_a_task_without_rows_is_not_checked(tmp_path):
    held_out = {"train": 0, "sft": 0, "eval": 3, "options": {"source": "synthetic"}}
    both = {"gsm8k": NUMBERS, "gsm8k_platinum": held_out}
    assert steps(tmp_path, [], task="gsm8k_platinum", **both) == []
    assert slices.of(loaded(tmp_path, [], **both))["report"]["leakage"]["steps"] == {"gsm8k": "01-leakage"}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"rules": ["exact"]}, "leakage.rules: the items of 'countdown' have no wording of their own; add item"),
        ({"rules": ["item", "item"]}, "leakage.rules: each rule once"),
        ({"found": "keep"}, "leakage.found: \"keep\" is not possible; allowed: 'drop' or 'refuse'"),
        ({"ngram": 1}, "leakage.ngram: 1 is not possible"),
    ],
)
def test_bad_settings(tmp_path, section, expected):
    with pytest.raises(RlvrError) as raised:
        loaded(tmp_path, [], section)
    assert expected in str(raised.value)


def test_the_table_names_what_was_found_and_what_nobody_looked_for(tmp_path):
    for task in ("x", "y"):
        folder = tmp_path / "data" / task
        (folder / "raw").mkdir(parents=True)
        tables.write(folder / "raw" / "eval.parquet", [{"task": task, "key": f"{i}"} for i in range(3)], tables.ITEM)
    counts = {"rows": 9, "kept": 7, "dropped": {"in an evaluation set: item": 2}}
    stats = {"train": counts, "sft": {"rows": 0, "kept": 0, "dropped": {}}, "shared": {"train": 4, "sft": 0}}
    (tmp_path / "data/x/02-leakage").mkdir()
    (tmp_path / "data/x/02-leakage/stats.json").write_text(json.dumps(stats))
    found = leakage.table(Results(tmp_path, [], ["x", "y"], {}), {"x": "02-leakage", "y": None}, {"x": 8})
    assert found.to_numpy().tolist() == [
        ["x", "train", "9", "6", "item 2", "4 (8 words in a row)", "2"],
        ["y", "all", "", "", "not checked", "", ""],
    ]
