from __future__ import annotations

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins import Example, Sample
from rlvr_plugins.rewards import countdown_partial
from rlvr_plugins.verifiers.expressions import verify_countdown

REWARD = only_reward(countdown_partial)
FIELDS = {"numbers": [2, 3, 5], "target": 10}


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("countdown_partial", (0.0, 1.0))


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("2 * 3 + 5", 0.1),
        ("(5 - 2) * 3", 0.1),
        ("5 × 3 ÷ 2", 0.1),
        ("2 * 3 + 5 = 10", 0.1),
        ("", 0.0),
        ("2 + 3", 0.0),
        ("2 + 3 + 5 + 5", 0.0),
        ("2 + 3 + 4", 0.0),
        ("25 + 3", 0.0),
        ("5 / (3 - 3) + 2", 0.0),
        ("2 / (5 - 3 - 2)", 0.0),
        ("2 ** 3 + 5", 0.0),
        ("2 3 5", 0.0),
        ("2, 3, 5", 0.0),
        ("10", 0.0),
        ("__import__('os')", 0.0),
        ("2 * 3 + 5\0", 0.0),
        ("2 * 3 + 5\ud800", 0.0),
        ("(" * 150 + "2 * 3 + 5" + ")" * 150, 0.0),
    ],
)
def test_a_wrong_answer_earns_a_tenth_when_it_uses_the_numbers(answer, value):
    assert REWARD.function(sample("", FIELDS, answer=answer, answers=1)) == value


@pytest.mark.parametrize(("operators", "value"), [("+-*/", 0.1), ("+*", 0.1), ("+-", 0.0)])
def test_only_the_operators_of_the_example_are_valid(operators, value):
    assert REWARD.function(sample("", {**FIELDS, "operators": operators}, answer="2 * 3 + 5")) == value


def test_a_number_given_twice_must_be_used_twice():
    twice = {"numbers": [3, 3, 5], "target": 10}
    assert REWARD.function(sample("", twice, answer="3 * 3 + 5")) == 0.1
    assert REWARD.function(sample("", twice, answer="3 + 5 + 5")) == 0.0


@pytest.mark.parametrize("strict", [True, False])
def test_a_right_answer_earns_one_in_any_format(strict):
    assert REWARD.function(sample("", FIELDS, strict=strict, flexible=True, well_formed=strict)) == 1.0


@pytest.mark.parametrize("fields", [{}, {"answer": "10"}, {"numbers": [2, 3, 5]}, {"target": 10}])
def test_it_applies_to_countdown_only(fields):
    assert REWARD.function(sample("", fields, flexible=True, answer="2 + 3 + 5")) is None


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<think>a</think><answer>2 + 3 + 5</answer>", 1.0),
        ("<answer>2 + 3 + 5 = 10</answer>", 1.0),
        ("<think>a</think><answer>2 * 3 + 5</answer>", 0.1),
        ("<think>2 * 3 + 5</think><answer>2 + 3</answer>", 0.0),
        ("<think>a</think><answer>none</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_with_the_verdict_of_the_verifier(completion, value):
    example = Example("2,3,5=10", FIELDS)
    assert REWARD.function(Sample(completion, example, verify_countdown(completion, example))) == value


def test_hostile_answers():
    check_hostile(REWARD, lambda text: sample("", FIELDS, answer=text))
