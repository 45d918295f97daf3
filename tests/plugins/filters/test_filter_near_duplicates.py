from __future__ import annotations

import subprocess
import sys

import pytest
from filter_cases import check, gsm8k, reasons, refuses, row, rows_of, selected

from conftest import ROOT
from rlvr_plugins.filters import near_duplicates
from rlvr_plugins.manager import catalogue

LONG = " ".join(f"word{i}" for i in range(60))


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        (LONG, LONG, True),
        (LONG, LONG.upper() + "!", True),
        (LONG, LONG.replace("word0 ", "other "), True),
        (LONG, LONG.replace("word20 ", "x ").replace("word40 ", "y "), False),
        (LONG, " ".join(reversed(LONG.split())), False),
        ("how many", "How many?", True),
        ("how many", "how much", False),
        ("?", "?", False),
    ],
)
def test_questions_alike(first, second, alike):
    assert reasons("near_duplicates", [row(first), row(second)]) == ["", "like one before" if alike else ""]


def test_the_first_stays_and_what_is_like_a_dropped_one_is_compared_with_what_stayed():
    once = LONG.replace("word0 ", "other ")
    assert reasons("near_duplicates", [row(LONG), row(once), row(LONG), row("else")]) == [
        "",
        "like one before",
        "like one before",
        "",
    ]


def test_two_of_the_training_questions_of_gsm8k_are_alike_but_for_a_name():
    rows = rows_of(catalogue().task("gsm8k"), gsm8k("train")[:2500] + gsm8k("train")[-1:])
    found = reasons("near_duplicates", [*rows, *rows[:3]])
    assert found[-3:] == ["like one before"] * 3 and sum(map(bool, found[:-3])) <= 2


def test_another_process_finds_the_same():
    script = """
from rlvr_plugins import *
from rlvr_plugins.manager import catalogue
plugin, task = catalogue().filter("near_duplicates"), catalogue().task("gsm8k")
examples = task.items(task.options(source="synthetic"), 300, 10, 0).train
select = plugin.start(plugin.options(threshold=0.5, ngram=2), FilterContext(task, "train"))
print([place for place, reason in enumerate(select([Row("gsm8k", e, task.prompt(e)) for e in examples])) if reason])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1 and len(outputs.pop()) > 10


@pytest.mark.parametrize("at_once", [7, 1024])
def test_long_texts_are_compared_as_a_whole(monkeypatch, at_once):
    monkeypatch.setattr(near_duplicates, "AT_ONCE", at_once)
    text = " ".join(f"w{i}" for i in range(3000))
    other = " ".join(f"w{i}" for i in range(1500, 4500))
    assert reasons("near_duplicates", [row(text), row(text + " end"), row(other)]) == ["", "like one before", ""]


def test_a_task_whose_items_are_made_by_a_template_is_refused():
    with pytest.raises(ValueError, match="the items of 'countdown' have no wording of their own; take duplicates"):
        check("near_duplicates", "countdown")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"threshold": 0.4}, "threshold must be from 0.5 to 0.95"),
        ({"threshold": 1.0}, "threshold must be from 0.5 to 0.95"),
        ({"permutations": 8}, "permutations must be from 64 to 1024"),
        ({"ngram": 0}, "ngram must be at least 1"),
        ({"seed": -1}, "seed must be from 0"),
    ],
)
def test_bad_options(options, expected):
    refuses("near_duplicates", options, expected)


@pytest.mark.parametrize("threshold", [0.5, 0.95])
@pytest.mark.parametrize("permutations", [64, 1024])
def test_the_ends_of_the_options_work(threshold, permutations):
    options = {"threshold": threshold, "permutations": permutations}
    assert reasons("near_duplicates", [row(LONG), row(LONG)], options) == ["", "like one before"]


def test_the_question_it_is_like_is_shown():
    text = "Anna has five red apples and three green pears in a basket on the table near the old window"
    like = text.replace("Anna", "Berta")
    assert selected("near_duplicates", [row(text), row(like)], {"threshold": 0.5}) == ["", f"like one before\n{text}"]
