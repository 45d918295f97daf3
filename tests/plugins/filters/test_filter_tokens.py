from __future__ import annotations

import pytest
from filter_cases import reasons, refuses, row

LENGTHS = {
    "prompt_tokens": lambda rows: [len(row.user) for row in rows],
    "whole_tokens": lambda rows: [len(row.user) + len(row.completion) for row in rows],
}


@pytest.mark.parametrize(
    ("options", "prompt", "completion", "reason"),
    [
        ({"max": 5}, 2, 3, ""),
        ({"max": 5}, 3, 3, "too long"),
        ({"max_prompt": 2}, 2, 90, ""),
        ({"max_prompt": 2}, 3, 1, "prompt too long"),
        ({"max_completion": 3}, 90, 3, ""),
        ({"max_completion": 3}, 1, 4, "completion too long"),
        ({"min_completion": 3}, 9, 3, ""),
        ({"min_completion": 3}, 9, 2, "completion too short"),
        ({"max": 5, "max_prompt": 2, "max_completion": 2}, 3, 3, "prompt too long"),
        ({"max": 5, "max_prompt": 9, "max_completion": 2}, 3, 3, "completion too long"),
    ],
)
def test_a_demonstration(options, prompt, completion, reason):
    assert reasons("tokens", [row("p" * prompt, "c" * completion)], options, split="sft", **LENGTHS) == [reason]


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"max": 5}, ""), ({"max": 4}, "too long"), ({"max_prompt": 4}, "prompt too long"), ({"min_completion": 3}, "")],
)
def test_of_a_training_row_only_the_prompt_counts(options, reason):
    assert reasons("tokens", [row("p" * 5)], options, **LENGTHS) == [reason]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "one of max, max_prompt, max_completion and min_completion must be given"),
        ({"max": 0}, "max must be at least 1"),
        ({"max_prompt": -1}, "max_prompt must be at least 1"),
        ({"max_completion": 2, "min_completion": 3}, "min_completion must be at most max_completion"),
    ],
)
def test_bad_options(options, expected):
    refuses("tokens", options, expected)
