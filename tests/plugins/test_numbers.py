from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_plugins import Example
from rlvr_plugins.verifiers.numbers import parse_number, verify_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", 72),
        ("$108", 108),
        ("**72**", 72),
        (r"\boxed{42}", 42),
        ("x = 72", 72),
        ("48/2 = 24", 24),
        ("1/2", Fraction(1, 2)),
        (r"\frac{1}{2}", Fraction(1, 2)),
        ("1.0", 1),
        ("3.50", Fraction(7, 2)),
        (".5", Fraction(1, 2)),
        ("$1,000.00", 1000),
        ("360{,}000", 360_000),
        ("−5", -5),
        ("-5", -5),
        ("72.", 72),
        ("18 apples", 18),
        ("25%", 25),
        ("€ 7", 7),
    ],
)
def test_one_number_however_written(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "72 or 73",
        "5 apples and 3 pears",
        "7:30",
        "5 - 6",
        "9**9**9",
        "10^3",
        "1,00",
        "1/0",
        "a" * 300,
        "7\x00",
    ],
)
def test_no_number_or_more_than_one_is_no_answer(text):
    assert parse_number(text) is None


@given(st.integers(-(10**12), 10**12))
def test_an_integer_survives_separators(number):
    assert parse_number(f"{number:,}") == number


@given(st.text(max_size=300))
def test_no_text_raises(text):
    parse_number(text)
    verify_number(text, Example("k", {"answer": "5"}))


@pytest.mark.parametrize(
    ("completion", "strict", "flexible", "well_formed"),
    [
        ("<reasoning>\n1\n</reasoning>\n<answer>\n$1,200\n</answer>", True, True, True),
        ("<reasoning>1</reasoning><answer>1201</answer>", False, False, True),
        ("<answer>1200</answer>", False, True, False),
        ("So it is 1,200.", False, True, False),
        ("30 * 40\n#### 1200", False, True, False),
        (r"thus \boxed{1200}", False, True, False),
        ("<reasoning>1</reasoning><answer>1200 or 1300</answer>", False, False, True),
        ("<reasoning>1</reasoning><answer>Answer: 1200</answer>", False, True, True),
        ("<reasoning>1</reasoning><answer>1200</answer> done </answer>", False, True, False),
        ("3/1200", False, False, False),
        ("no idea", False, False, False),
    ],
)
def test_strict_needs_the_protocol_and_flexible_does_not(completion, strict, flexible, well_formed):
    verdict = verify_number(completion, Example("k", {"answer": "1200"}))
    assert (verdict.strict, verdict.flexible, verdict.well_formed) == (strict, flexible, well_formed)
    assert bool(verdict.reason) != verdict.strict
