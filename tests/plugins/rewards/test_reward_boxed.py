from __future__ import annotations

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins.rewards import boxed

REWARD = only_reward(boxed)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("boxed", (-1.0, 1.0))


@pytest.mark.parametrize(
    ("completion", "gold", "value"),
    [
        (r"\boxed{42}", "42", 1.0),
        (r"So $\boxed{42}$.", 42, 1.0),
        (r"\\boxed{42}", "42", 1.0),
        (r"\boxed{1,000.50}", "1000.5", 1.0),
        (r"\boxed{\frac{1}{2}}", "0.5", 1.0),
        (r"\boxed{42 \text{ apples}}", "42", 1.0),
        (r"\boxed{\boxed{42}}", "42", 1.0),
        (r"\boxed{41 or \boxed{42}}", "42", 1.0),
        (r"\boxed{41} no, \boxed{42}", "42", 1.0),
        (r"\boxed{42} in \boxed{", "42", 1.0),
        (r"\boxed{7 and \boxed{42}", "42", 1.0),
        (r"}} {{ \boxed{42}", "42", 1.0),
        (r"\boxed{41}", "42", -1.0),
        (r"\boxed{42} no, \boxed{41}", "42", -1.0),
        (r"\boxed{42} no, \boxed{}", "42", -1.0),
        (r"\boxed{42 or 43}", "42", -1.0),
        (r"\boxed{forty-two}", "42", -1.0),
        (r"\boxed{\frac{1}{2}}", "1", -1.0),
        (r"\boxed{{4}2}", "4", -1.0),
        (r"\boxed{4\}2}", "4", -1.0),
        ("\\boxed{42\0}", "42", -1.0),
        ("\\boxed{\ud800}", "42", -1.0),
        ("\\boxed{" + "9" * 100_000 + "}", "42", -0.5),
        ("\\boxed{" + "9" * 9_000 + "}", "42", -1.0),
        ("", "42", -0.5),
        ("42", "42", -0.5),
        ("<answer>42</answer>", "42", -0.5),
        (r"\boxed 42", "42", -0.5),
        (r"\boxed{42", "42", -0.5),
        (r"\boxed{42\}", "42", -0.5),
        (r"\fbox{42}", "42", 1.0),
        (r"<think>\boxed{42}</think> 42", "42", -0.5),
        (r"\boxed{4{2}", "42", -0.5),
    ],
)
def test_the_last_box_counts(completion, gold, value):
    assert REWARD.function(sample(completion, {"answer": gold})) == value


def test_only_the_last_ten_thousand_characters_are_looked_at():
    assert REWARD.function(sample(r"\boxed{42}" + "." * 9_990, {"answer": "42"})) == 1.0
    assert REWARD.function(sample(r"\boxed{42}" + "." * 9_991, {"answer": "42"})) == -0.5


@pytest.mark.parametrize("fields", [{}, {"numbers": [4, 2], "target": 42}, {"answer": "Paris"}, {"answer": None}])
def test_it_does_not_apply_where_the_answer_is_no_number(fields):
    assert REWARD.function(sample(r"\boxed{42}", fields)) is None


def test_the_verdict_is_not_asked():
    right = {"strict": True, "flexible": True, "well_formed": True, "answer": "42"}
    assert REWARD.function(sample(r"\boxed{41}", {"answer": "42"}, **right)) == -1.0


def test_hostile_texts():
    check_hostile(REWARD, lambda text: sample(text, {"answer": "42"}))
