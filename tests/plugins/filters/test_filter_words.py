from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_plugins.filters.words import _PLAIN, _WORD, words
from rlvr_plugins.tasks.columnar import digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's 5 o'clock.", "it s 5 o clock"),
        ("3+4, 3 - 4 and x-2", "3 + 4 3 - 4 and x - 2"),
        ("An ice-cream – for $3", "an ice cream for 3"),
        ("CAFE\u0301 ﬁve \uff11\uff12", "caf\u00e9 five 12"),
        ("2 ≤ x² ÷ 3", "2 ≤ x2 ÷ 3"),
        ("कि की", "कि की"),
        ("三个apple", "三 个 apple"),
        ("?! \0\ud800", ""),
        ("(2 + 3) * 4 and 2 + 3 * 4", "( 2 + 3 ) * 4 and 2 + 3 * 4"),
        ("5! is not 5. Wow!", "5 ! is not 5 wow"),
        ("3.5 and 7, or 3, 5 and 1,000", "3.5 and 7 or 3 5 and 1,000"),
        ("x^{2y}", "x ^ { 2y }"),
    ],
)
def test_words(text, expected):
    assert " ".join(words(text)) == expected


@given(st.text("ab_19.,-!'(+$ \n", max_size=30) | st.text(st.characters(max_codepoint=127), max_size=30))
@settings(max_examples=1000)
def test_of_ascii_both_expressions_find_the_same(text):
    assert _PLAIN.findall(text.lower()) == _WORD.findall(text.lower())


def test_a_digest_is_short_and_takes_any_text():
    assert len(digest("\ud800" * 10)) == 16 and digest("a") != digest("b")
