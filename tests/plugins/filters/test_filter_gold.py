from __future__ import annotations

from dataclasses import replace

import pytest
from filter_cases import reasons, row

from rlvr_plugins.manager import catalogue


def test_what_nobody_can_answer_is_dropped_for_one_reason():
    rows = [row("a", answer=answer) for answer in ("5", "five", "1/2", "")]
    assert reasons("gold", rows) == ["", "gold answer unreadable", "", "gold answer unreadable"]


def test_countdown_items_that_nobody_can_reach_are_dropped():
    items = (
        {"numbers": [3, 4], "target": 7, "expression": "3 + 4"},
        {"numbers": [3, 4], "target": 100, "expression": ""},
    )
    rows = [row("a", operators="+-", **item) for item in items]
    assert reasons("gold", rows, task=catalogue().task("countdown")) == ["", "gold answer unreadable"]


def test_a_task_whose_answers_are_sound_is_refused():
    plugin = catalogue().filter("gold")
    task = replace(catalogue().task("countdown"), gold=None)
    with pytest.raises(ValueError, match="the task 'countdown' can't say whether an answer is readable"):
        plugin.check(plugin.options(), task)
