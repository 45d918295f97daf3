from __future__ import annotations

import json

import pytest
from filter_cases import reasons, row, selected
from hypothesis import given
from hypothesis import strategies as st

EXACT = [("a b", None), ("a  b", None), ("a b", None), ("a b", ""), ("a b", "c"), ("a b", "c"), ("a", "b c")]


def test_exact_keeps_the_first():
    rows = [row(*texts) for texts in EXACT]
    assert reasons("duplicates", rows) == ["", "", "seen before", "", "", "seen before", ""]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from((None, "", "a")), st.sampled_from("xy")), max_size=12))
def test_exact_is_what_comparing_the_messages_gives(texts):
    rows = [
        row(prompt=[{"role": "system", "content": system}, {"role": "user", "content": user}], completion=completion)
        for user, completion, system in texts
    ]
    seen: set[str] = set()
    expected = []
    for each in rows:
        end = [] if each.completion is None else [{"role": "assistant", "content": each.completion}]
        messages = json.dumps([*each.prompt, *end])
        expected.append("seen before" if messages in seen else "")
        seen.add(messages)
    assert reasons("duplicates", rows) == expected


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (("How many apples?", None), ("how many  APPLES", None), True),
        (("What is 3 + 4?", None), ("What is 3 - 4?", None), False),
        (("What is 3 + 4?", None), ("What is 3+4", None), True),
        (("□ ?", None), ("△ ?", None), False),
        (("a", "b c"), ("A.", "B, c!"), True),
        (("a b", "c"), ("a", "b c"), False),
        (("\uff11\uff12 ﬁsh", None), ("12 fish", None), True),
    ],
)
def test_normalised_compares_words(first, second, same):
    found = reasons("duplicates", [row(*first), row(*second)], {"by": "normalised"})
    assert found == ["", "seen before" if same else ""]


def test_the_row_it_repeats_is_shown():
    assert selected("duplicates", [row("a"), row("b"), row("a")]) == ["", "", "seen before\nin row 1"]
