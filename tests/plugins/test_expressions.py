from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
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
        ("02 + 3 + 5", "no arithmetic expression"),
        ("2 + 3 + 5 # comment", "only integers"),
        ("2_0 + 3", "only integers"),
        ("\uff12 + 3 + 5", "only integers"),
        ("2 + 3 + 5 / (5 - 5)", "division by zero"),
        ("__import__('os').system('touch pwned')", "only integers"),
        ("2 + " * 100 + "3", "longer than"),
        ("(" * 90 + "2" + ")" * 90, "uses [2]"),
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
        ("<answer>2 + 3 + 5</answer><think>x</think>", False, True, False),
        ("", False, False, False),
    ],
)
def test_strict_needs_the_protocol_and_flexible_does_not(completion, strict, flexible, well_formed):
    verdict = verify_countdown(completion, EXAMPLE)
    assert (verdict.strict, verdict.flexible, verdict.well_formed) == (strict, flexible, well_formed)
    assert bool(verdict.reason) != verdict.strict


@given(st.text(alphabet=st.characters(), max_size=300))
def test_no_text_raises(text):
    for completion in (text, f"<think></think><answer>{text}</answer>"):
        verify_countdown(completion, EXAMPLE)


@pytest.mark.parametrize("text", ["(" * 10_000, "9**9**9**9", "1" * 1_000_000, "\ud800", "<answer>" * 50_000])
def test_hostile_text_gets_a_verdict_quickly(text):
    start = time.perf_counter()
    for completion in (text, f"<think></think><answer>{text}</answer>"):
        assert not verify_countdown(completion, EXAMPLE).flexible
    assert time.perf_counter() - start < 1.0, "seconds; the bound is wide so that a busy machine passes"
