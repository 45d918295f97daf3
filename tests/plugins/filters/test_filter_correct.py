from __future__ import annotations

import pytest
from filter_cases import reasons, refuses, row

from rlvr_plugins.guard import judge_one
from rlvr_plugins.manager import catalogue

RIGHT = "<reasoning>\n2 + 3\n</reasoning>\n<answer>5</answer>"


def judge(completions, examples):
    task = catalogue().task("gsm8k")
    return [judge_one(task, *pair) for pair in zip(completions, examples, strict=True)]


def test_the_verifier_judges_again():
    rows = [row("a", RIGHT), row("b", RIGHT.replace("5", "6")), row("c", "#### 5"), row("d", "no idea")]
    expected = ["", "verifier: wrong", "verifier: wrong_format", "verifier: missing"]
    assert reasons("correct", rows, split="sft", judge=judge) == expected


def test_a_column_decides_before_the_verifier_does():
    rows = [row("a", RIGHT, ok=True), row("b", RIGHT, ok=False), row("c", "none", ok=True)]
    said = ["", "column says wrong"]
    assert reasons("correct", rows, {"column": "ok"}, split="sft", judge=judge) == [*said, "verifier: missing"]
    assert reasons("correct", rows, {"column": "ok", "verify": False}, split="sft") == [*said, ""]


@pytest.mark.parametrize("found", ["true", 1, None])
def test_a_column_that_is_no_boolean_stops(found):
    with pytest.raises(ValueError, match=f"^column: 'ok' of row 'q' is {found!r}; allowed: true or false$"):
        reasons("correct", [row("q", RIGHT, ok=found)], {"column": "ok"}, split="sft", judge=judge)


def test_a_task_that_lacks_the_column_is_named():
    with pytest.raises(ValueError, match=r"the rows of 'gsm8k' have no column 'ok'; name it .* or give the task"):
        reasons("correct", [row("q", RIGHT)], {"column": "ok"}, split="sft", judge=judge)


def test_bad_options():
    refuses("correct", {"verify": False}, "column must be given, or verify be true")
