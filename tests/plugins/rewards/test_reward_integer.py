from __future__ import annotations

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins import Example, Sample
from rlvr_plugins.rewards import integer
from rlvr_plugins.verifiers.numbers import verify_number

REWARD = only_reward(integer)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("integer", (0.0, 0.5))


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("42", 0.5),
        ("-42", 0.5),
        (" \n 7\t", 0.5),
        ("007", 0.5),
        ("", 0.0),
        ("-", 0.0),
        ("--4", 0.0),
        ("- 4", 0.0),
        ("+4", 0.0),
        ("−4", 0.0),
        ("4-", 0.0),
        ("4.0", 0.0),
        ("1,000", 0.0),
        ("1_000", 0.0),
        ("1 2", 0.0),
        ("4\n5", 0.0),
        ("$4", 0.0),
        ("4 apples", 0.0),
        ("٤٢", 0.0),
        ("²", 0.0),
        ("4\0", 0.0),
        ("4\ud800", 0.0),
    ],
)
def test_integers_in_an_answer_element(answer, value):
    assert REWARD.function(sample(answer=answer, answers=1)) == value


@pytest.mark.parametrize(("answers", "value"), [(0, 0.0), (1, 0.5), (2, 0.5)])
def test_an_integer_found_outside_an_answer_element_earns_nothing(answers, value):
    assert REWARD.function(sample("The answer is 42", answer="42", answers=answers)) == value


def test_a_wrong_answer_earns_as_much_as_a_right_one():
    assert REWARD.function(sample(strict=True, flexible=True, well_formed=True, answer="4", answers=1)) == 0.5


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<reasoning>a</reasoning><answer>4</answer>", 0.5),
        ("<answer>\n-5\n</answer> Done.", 0.5),
        ("<reasoning>a</reasoning><answer>$4</answer>", 0.0),
        ("<reasoning>4</reasoning><answer>four</answer>", 0.0),
        ("The answer is 4", 0.0),
        ("", 0.0),
    ],
)
def test_with_the_verdict_of_the_verifier(completion, value):
    example = Example("4", {"answer": "4"})
    assert REWARD.function(Sample(completion, example, verify_number(completion, example))) == value


def test_hostile_answers():
    check_hostile(REWARD, lambda text: sample(answer=text, answers=1))
