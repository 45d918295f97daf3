from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlvr_plugins import Example
from rlvr_plugins.verifiers.expressions import judge, verify_countdown

EXAMPLE = Example("2,3,5=10", {"numbers": [2, 3, 5], "target": 10, "operators": "+-*/"})


@pytest.mark.parametrize("text", ["2 + 3 + 5", "(2+3)+5", "5+3+2", "3 + 5 + 2 = 10", " 2+3+5 ", "2+5+3"])
def test_right_expressions(text):
    assert judge(text, [2, 3, 5], 10) == ""


@pytest.mark.parametrize(
    ("text", "numbers", "target"),
    [
        ("3 + 4 = 7.", [3, 4], 7),
        ("$3 + 4$", [3, 4], 7),
        ("`3 + 4`", [3, 4], 7),
        ("**3 + 4**", [3, 4], 7),
        ("3\n+ 4", [3, 4], 7),
        (r"3 \times 4", [3, 4], 12),
        ("6 × 4", [6, 4], 24),
        ("6 ÷ 4 * 2", [6, 4, 2], 3),
        ("8 − 3", [8, 3], 5),
        ("3 / 2 * 4", [3, 2, 4], 6),
    ],
)
def test_other_signs_and_exact_fractions(text, numbers, target):
    assert judge(text, numbers, target) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("2 + 3 + 4", "uses [2, 3, 4], not [2, 3, 5]"),
        ("2 + 3", "uses [2, 3], not [2, 3, 5]"),
        ("2 + 3 + 5 + 5", "uses"),
        ("2 * 3 + 5", "equals 11, not 10"),
        ("2 + 3 + 5 = 11", "what follows = is not the target"),
        ("2 + 3 + 5 = 10 = 10", "what follows = is not the target"),
        ("2 ** 3 + 5", "only integers"),
        ("5 // 2 + 3", "only integers"),
        ("-2 + 3 + 5", "only integers"),
        ("+2 + 3 + 5", "only integers"),
        ("2.0 + 3 + 5", "only integers"),
        ("2(5) + 3", "only integers"),
        ("2 3 5", "no arithmetic expression"),
        ("2 + (3 + 5", "no arithmetic expression"),
        ("02 + 3 + 5", "a number with a leading zero"),
        ("2 + 3 + 5 # comment", "only integers"),
        ("2_0 + 3", "only integers"),
        ("\uff12 + 3 + 5", "only integers"),
        ("2 + 3 + 5 / (5 - 5)", "division by zero"),
        ("__import__('os').system('touch pwned')", "only integers"),
        ("2 + " * 100 + "3", "longer than"),
        ("(" * 90 + "2" + ")" * 90, "more than 30 parentheses deep"),
        ("2\x00+3+5", "only integers"),
    ],
)
def test_wrong_ones_are_refused_with_a_reason(text, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reason in judge(text, [2, 3, 5], 10)
    assert not list(Path.cwd().iterdir())


def test_an_operator_that_the_task_does_not_allow_is_refused():
    assert judge("2 * 5", [2, 5], 10, "+-") == "* is not among the operators +-"


@pytest.mark.parametrize(
    ("completion", "strict", "flexible", "well_formed"),
    [
        ("<think>\n2 + 3 = 5\n</think>\n<answer>2 + 3 + 5</answer>", True, True, True),
        ("<think>x</think><answer>2 + 3 + 4</answer>", False, False, True),
        ("<answer>2 + 3 + 5</answer>", False, True, False),
        ("<think>x</think><answer>2 + 3 + 5</answer> so", False, True, False),
        ("<think>x</think><answer>1</answer><answer>2 + 3 + 5</answer>", False, True, False),
        ("I think\n2 + 3 + 5 = 10", False, True, False),
        ("<think>2 + 3 + 5", False, False, False),
        ("<reasoning>x</reasoning><answer>2 + 3 + 5</answer>", True, True, True),
        ("The answer is 2+3+5.", False, True, False),
        ("#### 2 + 3 + 5 = 10", False, True, False),
        (r"so \boxed{2 + 3 + 5}", False, True, False),
        ("2 + 3 + 5 = 10\nor 2 + 3 + 4 = 9", False, False, False),
        ("<think>x</think><answer>it is 2 + 3 + 5</answer>", False, True, True),
        ("<answer>2 + 3 + 5</answer><think>x</think>", False, True, False),
        ("", False, False, False),
    ],
)
def test_strict_needs_the_protocol_and_flexible_does_not(completion, strict, flexible, well_formed):
    verdict = verify_countdown(completion, EXAMPLE)
    assert (verdict.strict, verdict.flexible, verdict.well_formed) == (strict, flexible, well_formed)
    assert bool(verdict.reason) != verdict.strict


@st.composite
def written(draw: st.DrawFn) -> tuple[str, list[int], int]:
    """An expression over two to five numbers in one of the notations, its numbers and its value."""
    numbers = draw(st.lists(st.integers(1, 99), min_size=2, max_size=5))
    style = draw(st.sampled_from(STYLES))
    terms = [(str(number), Fraction(number)) for number in numbers]
    while len(terms) > 1:
        (left, a), (right, b) = terms.pop(draw(st.integers(0, len(terms) - 1))), terms.pop()
        sign = draw(st.sampled_from("+-*/" if b else "+-*"))
        value = {"+": a + b, "-": a - b, "*": a * b}[sign] if sign != "/" else a / b
        terms.append((style[sign].format(left, right), value))
    text, value = terms[0]
    assume(value.denominator == 1 and value >= 0 and len(text) < 150)
    return text, numbers, int(value)


STYLES = (
    {sign: f"({{}} {sign} {{}})" for sign in "+-*/"},
    {"+": "({}+{})", "-": "({}−{})", "*": "({}×{})", "/": "({}÷{})"},
    {
        "+": r"\left({}+{}\right)",
        "-": r"\left({}-{}\right)",
        "*": r"\left({} \times {}\right)",
        "/": r"\frac{{{}}}{{{}}}",
    },
)
WRAPPERS = ("{}", "  {}\n", "${}$", "`{}`", "**{}**", r"\boxed{{{}}}", r"\({}\)", "{}.", "{} = TARGET")


def judged(text: str, numbers: list[int], target: int):
    fields = {"numbers": numbers, "target": target, "operators": "+-*/"}
    return verify_countdown(f"<think>x</think><answer>{text}</answer>", Example("k", fields))


@given(written(), st.sampled_from(WRAPPERS))
@settings(max_examples=800)
def test_a_right_answer_survives_every_format(expression, wrapper):
    text, numbers, target = expression
    text = wrapper.format(text).replace("TARGET", str(target))
    assert judged(text, numbers, target).reason == ""


@given(written(), st.sampled_from(WRAPPERS), st.integers(0, 4), st.integers(1, 9))
@settings(max_examples=800)
def test_a_wrong_answer_survives_none(expression, wrapper, position, change):
    text, numbers, target = expression
    text = wrapper.format(text).replace("TARGET", str(target))
    other = [*numbers]
    other[position % len(other)] += change
    for given_numbers, wanted in ((numbers, target + change), (other, target), (numbers[1:], target)):
        verdict = judged(text, given_numbers, wanted)
        assert (verdict.strict, verdict.flexible) == (False, False) and verdict.reason


@given(
    st.one_of(st.text(max_size=400), st.binary(max_size=400).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
)
@settings(max_examples=1000)
def test_no_text_raises(text):
    for completion in (text, f"<think></think><answer>{text}</answer>"):
        assert verify_countdown(completion, EXAMPLE).status


SUM = Example("1,2,3=6", {"numbers": [1, 2, 3], "target": 6})


@pytest.mark.parametrize(
    "text",
    [
        "1 + 2 + 3",
        "I get 1+2+3 = 6.",
        "so 1+2+3 (all used)",
        "- 1+2+3",
        "6 = 1+2+3",
        "x = 1+2+3",
        "The answer is 1+2+3.",
        "**1+2+3** = 6",
        "The expression is: (1+2)+3",
        "1+2+3\n\nDone.",
        "\\boxed{1+2+3}",
        "answer: `1+2+3`",
        "$1+2+3=6$",
    ],
)
def test_an_expression_in_prose_is_found(text):
    assert verify_countdown(text, SUM).flexible


@pytest.mark.parametrize(
    ("text", "flexible"),
    [
        ("**25 * 3 + 4 = 79**", True),
        ("**Answer: 25*3+4**", True),
        ("> 25*3+4", True),
        ("25*3+4 = 79 (correct)", True),
        ("25*3+4 != 79", False),
        ("25*3+4 is wrong", False),
        ("It is not true that 25*3+4", False),
        ("I can't get 25*3+4", False),
    ],
)
def test_emphasis_and_denial_around_an_expression(text, flexible):
    assert verify_countdown(text, Example("k", {"numbers": [25, 3, 4], "target": 79})).flexible == flexible


@pytest.mark.parametrize(
    "text",
    [
        "100.1+2+3",
        "10e1+2+3",
        "2^1+2+3",
        "-1+2+3",
        "x-1+2+3",
        "7\xd7[1+2+3]",
        "9/[1+2+3]",
        "1+2+3^2",
        "1+2+3.5",
        "1+2+3!",
        "1+2+3*x",
        "1+2+3 = 6 = 7",
        "1+2+3==6",
        "3-2-1 or 1+2+3",
        "1+2+3 is not 6",
        "<answer>-1+2+3</answer>",
        "<answer>1-2-3, 1+2-3, 1+2+3</answer>",
    ],
)
def test_a_piece_of_another_expression_is_not(text):
    assert not verify_countdown(text, SUM).flexible


@pytest.mark.parametrize(
    "text",
    ["1 + 2 + 3 = $6$", "\\boxed{1+2+3} = 6", "$1+2+3$ = 6", "**1+2+3** = 6", "\\left (1+2\\right )+3", "1\\,+2+3"],
)
def test_marks_may_stand_around_either_side_of_the_target(text):
    assert verify_countdown(f"<think>x</think><answer>{text}</answer>", SUM).strict


@pytest.mark.parametrize(
    ("text", "numbers", "target", "right"),
    [
        ("9**9**9", [9, 9, 9], 1, False),
        ("2**3", [2, 3], 8, False),
        ("7//2", [7, 2], 3, False),
        ("\uff12 + \uff13", [2, 3], 5, False),
        ("3.5*2", [2, 3, 5], 7, False),
        ("2 * 3 = 6", [2, 3], 6, True),
        ("2 × 3", [2, 3], 6, True),
        ("2 +\n3", [2, 3], 5, True),
    ],
)
def test_what_the_regex_of_tinyzero_gets_wrong(text, numbers, target, right):
    assert judged(text, numbers, target).strict == right
