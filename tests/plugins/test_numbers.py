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
@settings(max_examples=1500)
def test_a_right_answer_survives_every_format(number, wrapper):
    text, value = number
    assert parse_number(wrapper.format(text)) == value
    assert judged(wrapper.format(text), value).strict


@given(written(), st.sampled_from(WRAPPERS), st.fractions().filter(bool))
@settings(max_examples=1500)
def test_a_wrong_answer_survives_none(number, wrapper, error):
    text, value = number
    verdict = judged(wrapper.format(text), value + error)
    assert (verdict.strict, verdict.flexible, verdict.status) == (False, False, "wrong")


@given(written(), written(), st.sampled_from(["{} or {}", "{}; {}", "{} apples and {} pears", "from {} to {}"]))
@settings(max_examples=500)
def test_two_numbers_are_no_answer(first, second, pattern):
    text = pattern.format(first[0], second[0])
    assert parse_number(text) is None
    assert not judged(text, second[1]).flexible


@given(
    st.one_of(st.text(max_size=400), st.binary(max_size=400).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
)
@settings(max_examples=1000)
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
        ("<reasoning>30 * 40 is 1200", False, False, False, "missing"),
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


EIGHTEEN = Example("k", {"answer": "18"})


@pytest.mark.parametrize(
    "completion",
    [
        "**Answer: 18**",
        "**Final Answer: 18**",
        "**Final Answer: $18**",
        "**The answer is 18.**",
        "**The answer is 18**.",
        "*Answer: 18*",
        "**Answer: 18** dollars",
        "**Answer: 18** \u2705",
        "<think>a</think>\n\n18",
        "<think>a 3</think>\n\n**18**",
        "<answer>18",
        "<ANSWER>18</ANSWER>",
        "> 18",
        "> **18**",
        "9 * 2 = 18\n\n**18**",
        "Step 2: 9 * 2 = 18\n\n18",
        "x = 18\n\n$$\n18\n$$",
        "- 9\n- 18",
        "2 + 2 = 4.\n\n18.",
        "She eats 3 (for breakfast)\n18",
        "The cost is $5. $18 total.",
        "10 + 8 = 18. 18 apples.",
        "It was 2015. 18 more",
        "The answer is 18 (not 20).",
        "The answer is 18 (9 \xd7 2).",
        "The answer is $18 (since 9 eggs \xd7 $2)",
        "The answer is 18 \u2013 nine eggs at $2.",
        "The answer is 18 out of 24",
        "The answer is 18 dollars every single day at the market, 9 eggs at 2 each",
        "<think>x</think><answer>18 out of 25</answer>",
        "<think>x</think><answer>$18 per day for 9 eggs</answer>",
        "<think>x</think><answer>18 (9 eggs \xd7 $2)</answer>",
        "<think>x</think><answer>$18 ($18.00)</answer>",
        "<think>x</think><answer>The total is 18 dollars because she sells each for 2</answer>",
        "The answer is:\n- 18",
        "Answer:\n- 18 apples",
        "The answer is:\n1) 18",
        "\\boxed{20} Wait, let me recheck. It should be \\boxed{18}.",
        "Janet sells \\boxed{9} eggs and makes \\boxed{18} dollars",
        "The answer is not 20 but 18.",
        "The answer is 20... no, actually it is 18.",
        "The final answer is 18<eos>",
        "18<end_of_turn>",
        "The answer is 18.<\uff5cend\u2581of\u2581sentence\uff5c>",
        "<think>x</think><answer>\\boldsymbol{18}</answer>",
        "<think>x</think><answer>{\\bf 18}</answer>",
        "<think>x</think><answer>18^{th}</answer>",
        "<think>x</think><answer>18^{\\text{th}}</answer>",
        "<think>x</think><answer>\\boxed{18</answer>",
        "<think>x</think><answer>18 \u2705</answer>",
        "<think>x</think><answer>\u2234 18</answer>",
        "<think>x</think><answer>18 \u2014 the total dollars</answer>",
        "<think>x</think><answer>18 more apples than Bob</answer>",
        "<think>x</think><answer>18 marbles are not red</answer>",
        "<think>x</think><answer>Not counting Tom, 18</answer>",
        "<think>x</think><answer>Half the eggs is 18</answer>",
        "<think>x</think><answer>Twice as many: 18</answer>",
        "<think>x</think><answer>The square has area 18</answer>",
        "<think>x</think><answer>- 18 apples</answer>",
        "<think>x</think><answer>We have 3 boxes so \\boxed{18}</answer>",
        "6 boxes * 3 = 18 kilograms of flour in 3 bags.",
        "The answer is 18. Actually, I double checked: 18.",
    ],
)
def test_what_a_reader_takes_for_eighteen_is_flexible(completion):
    assert verify_number(completion, EIGHTEEN).flexible


@pytest.mark.parametrize(
    "completion",
    [
        "18 is wrong",
        "18 isn't right",
        "I don't think the answer is 18.",
        "wrong answer: 18",
        "The answer is at least 18.",
        "18 or more",
        "18 or nineteen",
        "seventeen or 18",
        "17 vs. 18",
        "17 & 18",
        "17 through 18",
        "18 squared",
        "\u221a18",
        "half of 18",
        "18 and a half",
        "2 hours 18 minutes",
        "The answer is 18. Actually, no, it's 19.",
        "The answer is 18. No wait, 19.",
        "The answer is 18. Or 19.",
        "\\boxed{18}\n\nWait, that is wrong, it is 19.",
        "#### 18\nActually, that's wrong: 19",
        "17 or\n18",
    ],
)
def test_what_no_reader_takes_for_eighteen_is_not(completion):
    assert not verify_number(completion, EIGHTEEN).flexible


@pytest.mark.parametrize(
    "completion",
    [
        "<think>x</think><answer>18 \u2705</answer>",
        "<think>x</think><answer>\u2234 18</answer>",
        "<think>x</think><answer>18 \u2014 the total dollars</answer>",
        "<think>x</think><answer>18 more apples than Bob</answer>",
        "<think>x</think><answer>18 marbles are not red</answer>",
        "<think>x</think><answer>Not counting Tom, 18</answer>",
        "<think>x</think><answer>Half the eggs is 18</answer>",
        "<think>x</think><answer>Twice as many: 18</answer>",
        "<think>x</think><answer>The square has area 18</answer>",
        "<think>x</think><answer>- 18 apples</answer>",
        "<think>x</think><answer>\\boldsymbol{18}</answer>",
        "<think>x</think><answer>{\\bf 18}</answer>",
        "<think>x</think><answer>18^{th}</answer>",
    ],
)
def test_marks_labels_and_units_in_the_answer_element_are_strict(completion):
    assert verify_number(completion, EIGHTEEN).strict


@pytest.mark.parametrize(
    "completion",
    [
        "<think>x</think><answer>not \\boxed{18}</answer>",
        "<think>x</think><answer>\\boxed{18} is incorrect.</answer>",
        "<think>x</think><answer>\\boxed{18} is not the answer.</answer>",
        "<think>x</think><answer>fails to be 18</answer>",
        "<think>x</think><answer>The answer is unlikely to be 18.</answer>",
        "<think>x</think><answer>anything but 18</answer>",
        "<think>x</think><answer>no 18</answer>",
        "<think>x</think><answer>~~18~~</answer>",
        "<think>x</think><answer>18?</answer>",
        "<think>x</think><answer>Is the answer 18?</answer>",
        "<think>x</think><answer>It could be 18.</answer>",
        "<think>x</think><answer>over 18</answer>",
        "<think>x</think><answer>under 18</answer>",
        "<think>x</think><answer>up to 18</answer>",
        "<think>x</think><answer>between seventeen and 18</answer>",
        "<think>x</think><answer>seventeen to 18</answer>",
        "<think>x</think><answer>18 to twenty</answer>",
        "<think>x</think><answer>seventeen, 18</answer>",
        "<think>x</think><answer>two times 18</answer>",
        "<think>x</think><answer>a multiple of 18</answer>",
        "<think>x</think><answer>less than 18</answer>",
        "<think>x</think><answer>at least 18</answer>",
    ],
)
def test_denials_bounds_and_ranges_in_the_answer_element_are_not_strict(completion):
    assert not verify_number(completion, EIGHTEEN).strict


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("She earns $3 million.", 3_000_000),
        ("The total is 18 hundred dollars", 1800),
        ("The answer is 5k for 2 people", 5000),
    ],
)
def test_scale_words_count_in_prose_too(text, value):
    assert find_number(text)[1] == value


OTHERS_GET_WRONG = {
    "–5": -5,
    "1e3": 1000,
    "1.0e+3": 1000,
    "3 1/2": Fraction(7, 2),
    "\uff11\uff10\uff18": 108,
    "1.000,50": Fraction(2001, 2),
    "1/2": Fraction(1, 2),
    r"\frac{1}{2}": Fraction(1, 2),
    "1.0": 1,
    "3.50": Fraction(7, 2),
    ".5": Fraction(1, 2),
    "$1,000.00": 1000,
    "360{,}000": 360_000,
    "360 000": 360_000,
    "−5": -5,
    "10^3": 1000,
    "$108": 108,
    "**72**": 72,
    r"\boxed{42}": 42,
    "x = 72": 72,
    "72 or 73": None,
    "5 apples and 3 pears": None,
    "5 - 6": None,
}
"""Strings on which verl, lm-eval, Math-Verify or a regex fail, and what they say."""


@pytest.mark.parametrize("text", OTHERS_GET_WRONG)
def test_strings_that_other_graders_get_wrong(text):
    value = OTHERS_GET_WRONG[text]
    assert parse_number(text) == value
    if value is None:
        assert not any(judged(text, Fraction(number)).flexible for number in (72, 73, 5, 3, 6, -1))
    else:
        assert judged(text, Fraction(value)).strict
