"""The number verifier on whole completions, and its properties; strings stand in test_number_strings.py."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_plugins import Example
from rlvr_plugins.verifiers.numbers import find_number, parse_number, verify_number

GROUPS = (",", " ", "\u00a0", "\u2009", "\u202f", "{,}", r"\,")
KINDS = ("plain", "grouped", "decimal", "fraction", "mixed", "latex", "science", "wide", "money")
WRAPPERS = (
    "{}",
    " {}\n",
    "**{}**",
    "`{}`",
    r"\boxed{{{}}}",
    r"$\boxed{{{}}}$",
    r"\({}\)",
    r"\text{{{}}}",
    "{}.",
    "{} apples",
    r"{}\,\text{{km}}",
    "{}%",
    "x = {}",
    "48/2 = {}",
    "The answer is {}.",
    "**Answer:** {}",
    "approximately {} km/h",
)


def grouped(number: int, separator: str) -> str:
    return f"{number:,}".replace(",", separator)


def signed(number: int, sign: str) -> str:
    return f"{sign if number < 0 else ''}{abs(number)}"


@st.composite
def written(draw: st.DrawFn) -> tuple[str, Fraction]:
    """A number in one of the formats people and models use, and its value."""
    number = draw(st.integers(-(10**9), 10**9))
    kind = draw(st.sampled_from(KINDS))
    if kind == "grouped":
        return grouped(number, draw(st.sampled_from(GROUPS))), Fraction(number)
    if kind == "decimal":
        places = draw(st.integers(1, 6))
        return str(Decimal(number).scaleb(-places).quantize(Decimal(1).scaleb(-places))), Fraction(number, 10**places)
    if kind in ("fraction", "latex"):
        below = draw(st.integers(1, 999))
        text = f"{number}/{below}" if kind == "fraction" else rf"\frac{{{number}}}{{{below}}}"
        return text, Fraction(number, below)
    if kind == "mixed":
        whole, below = draw(st.integers(1, 99)), draw(st.integers(2, 99))
        above = draw(st.integers(1, below - 1))
        sign = draw(st.sampled_from(["", "-"]))
        value = whole + Fraction(above, below)
        return f"{sign}{whole} {above}/{below}", -value if sign else value
    if kind == "science":
        digits, power = draw(st.integers(1, 9)), draw(st.integers(-9, 9))
        pattern = draw(st.sampled_from(["{}e{}", "{}E{}", "{} × 10^{}", r"{} \times 10^{{{}}}"]))
        return pattern.format(digits, power), digits * Fraction(10) ** power
    if kind == "wide":
        return str(number).translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789-"}), Fraction(number)
    if kind == "money":
        sign = "-" if number < 0 else ""
        return sign + draw(st.sampled_from(["$", r"\$", "€", "£ "])) + str(abs(number)), Fraction(number)
    return signed(number, draw(st.sampled_from("-−–"))), Fraction(number)


def judged(answer: str, gold: Fraction):
    completion = f"<reasoning>\nsteps\n</reasoning>\n<answer>{answer}</answer>"
    return verify_number(completion, Example("k", {"answer": str(gold)}))


@given(written(), st.sampled_from(WRAPPERS))
@settings(max_examples=1500, deadline=None)
def test_a_right_answer_survives_every_format(number, wrapper):
    text, value = number
    assert parse_number(wrapper.format(text)) == value
    assert judged(wrapper.format(text), value).strict


@given(written(), st.sampled_from(WRAPPERS), st.fractions().filter(bool))
@settings(max_examples=1500, deadline=None)
def test_a_wrong_answer_survives_none(number, wrapper, error):
    text, value = number
    verdict = judged(wrapper.format(text), value + error)
    assert (verdict.strict, verdict.flexible, verdict.status) == (False, False, "wrong")


@given(written(), written(), st.sampled_from(["{} or {}", "{}; {}", "{} apples and {} pears", "from {} to {}"]))
@settings(max_examples=500, deadline=None)
def test_two_numbers_are_no_answer(first, second, pattern):
    text = pattern.format(first[0], second[0])
    assert parse_number(text) is None
    assert not judged(text, second[1]).flexible


@given(
    st.one_of(st.text(max_size=400), st.binary(max_size=400).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
)
@settings(max_examples=1000, deadline=None)
def test_no_text_raises(text):
    for completion in (text, f"<reasoning></reasoning><answer>{text}</answer>"):
        verdict = verify_number(completion, Example("k", {"answer": "5"}))
        assert verdict.flexible in (True, False) and not (verdict.strict and completion is text)


@pytest.mark.parametrize(
    ("completion", "strict", "flexible", "well_formed", "status"),
    [
        ("<reasoning>\n1\n</reasoning>\n<answer>\n$1,200\n</answer>", True, True, True, "right"),
        ("<think>\n1\n</think>\n<answer>1200</answer>", True, True, True, "right"),
        ("<reasoning>1</reasoning><answer>Answer: 1200</answer>", True, True, True, "right"),
        ("<reasoning>1</reasoning><answer>1201</answer>", False, False, True, "wrong"),
        ("<answer>1200</answer>", False, True, False, "wrong_format"),
        ("<reasoning>1</reasoning><answer>1200</answer> done", False, True, False, "wrong_format"),
        ("<reasoning>1</reasoning><answer>1200</answer> done </answer>", False, True, False, "wrong_format"),
        ("<reasoning>1</reasoning> so <answer>1200</answer>", False, True, False, "wrong_format"),
        ("So it is 1,200.", False, True, False, "wrong_format"),
        ("30 * 40\n#### 1200", False, True, False, "wrong_format"),
        (r"thus \boxed{1200}, not 7", False, True, False, "wrong_format"),
        ("The answer is 1200 because 30 * 40 = 1200", False, True, False, "wrong_format"),
        ("<reasoning>30 * 40 is 1200", False, True, False, "wrong_format"),
        ("<reasoning>1</reasoning><answer>1200 or 1300</answer>", False, False, True, "unreadable"),
        ("<reasoning>1</reasoning><answer></answer>", False, False, True, "unreadable"),
        ("<reasoning>1</reasoning><answer>so 3 hens lay 1200 eggs</answer>", False, True, True, "wrong_format"),
        ("1100 or 1200", False, False, False, "unreadable"),
        ("3/1200", False, False, False, "wrong"),
        ("1,200,000", False, False, False, "wrong"),
        ("no idea", False, False, False, "missing"),
        ("", False, False, False, "missing"),
    ],
)
def test_strict_needs_the_protocol_and_flexible_does_not(completion, strict, flexible, well_formed, status):
    verdict = verify_number(completion, Example("k", {"answer": "1200"}))
    assert (verdict.strict, verdict.flexible, verdict.well_formed) == (strict, flexible, well_formed)
    assert verdict.status == status
    assert bool(verdict.reason) != verdict.strict


@pytest.mark.parametrize(
    ("completion", "flexible", "answers"),
    [
        ("<think>x</think><answer>7</answer><answer>1200</answer>", True, 2),
        ("<think>x</think><answer>1200</answer><answer>7</answer>", False, 2),
        ("<think>x</think><answer>1200</answer><answer>7", True, 1),
        ("<think>x</think><answer>1200</answer>", True, 1),
        ("1200", True, 0),
    ],
)
def test_of_several_answers_the_last_whole_one_counts(completion, flexible, answers):
    verdict = verify_number(completion, Example("k", {"answer": "1200"}))
    assert (verdict.flexible, verdict.answers) == (flexible, answers)
    assert verdict.strict == (answers == 1 and completion.endswith("</answer>"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72 or 73", None),
        ("5 apples and 3 pears", None),
        ("5 - 6", None),
        ("ends at 10:30", None),
        ("1, 2, 3", None),
        ("The answer is 72 or 73", None),
        (r"\boxed{x = 3, y = 4}", None),
        ("48 + 24 = 72 clips in all.", 72),
        ("She has 16 eggs, eats 3 and sells 9", 9),
        ("The answer is:\n72", 72),
        ("**Final Answer:** 72 apples", 72),
        ("answer is 5. Wait, the answer is 6.", 6),
        ("#### 5\n#### 6", 6),
        ("\\boxed{5} no\n\\boxed{\\text{6}}", 6),
        ("$10 each, so $1,200.", 1200),
        ("it falls by -6", -6),
        ("72 or maybe 73", None),
        ("It is 72 or, 73", None),
        ("The answer is 72 (or 73)", None),
        ("The answer is 72 but maybe 73", None),
        ("The answer is 72 hair clips or 73 hair clips", None),
        ("The answer is 72 71 73", None),
        (r"\boxed{72} or \boxed{73}", None),
        ("The answer is not 73.", None),
        ("The answer isn't 73", None),
        ("x != 72", None),
        (r"\neq 72", None),
        (r"\sqrt[3]{72}", None),
        ("The answer is 5 times 6, which is 30", 30),
        ("The answer is 20% of 50, which is 10.", 10),
        ("The answer is: There are 3 boxes with 4 pens, so 12.", 12),
        ("The answer is 48 + 24 = 72 clips in total over 2 months.", 72),
        ("The answer is 72 because there are 3 boxes of 24.", 72),
        ("Let's find the answer: first 16 eggs. She then sells 9 for $18.", 18),
        ("To get the answer, we compute:\n16-3-4=9\n\n9*2 = 18. She makes $18.", 18),
        ("#### Step 2:\nJanet makes $18.", 18),
        ("#### 2. Compute\nShe has 18", 18),
        ("#### Final answer\n18", 18),
        ("#### $1,200", 1200),
        ("The answer is 72.<|im_end|>", 72),
        ("#### 72</s>", 72),
        ("Final Answer: The final answer is $\\boxed{72}$. I hope it is correct.", 72),
        ("The final answer is:\n\n$$\\boxed{18}$$", 18),
    ],
)
def test_the_number_a_text_ends_in(text, value):
    assert find_number(text)[1] == value


def test_a_gold_that_is_no_number_is_an_error_not_a_wrong_answer():
    verdict = verify_number("<answer>5</answer>", Example("k", {"answer": "five"}))
    assert (verdict.status, verdict.reason) == ("error", "the gold answer 'five' is no number")
