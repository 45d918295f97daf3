from __future__ import annotations

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins.rewards import marks

REWARD = only_reward(marks)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("marks", (0.0, 0.5))


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("", 0.0),
        ("reasoning answer think", 0.0),
        ("<reasoning>", 0.125),
        ("</reasoning>", 0.125),
        ("<think>", 0.125),
        ("</think>", 0.125),
        ("<answer>", 0.125),
        ("</answer>", 0.125),
        ("<think>a</think>", 0.25),
        ("<think>a</think><answer>2", 0.375),
        ("<think>a</think><answer>2</answer>", 0.5),
        ("<reasoning>a</reasoning><answer>2</answer>", 0.5),
        ("</answer><answer></think><think>", 0.5),
        ("<think>a</think><answer>2</answer><answer>2", 0.375),
        ("<think>a</think><answer>2</answer><answer>2</answer>", 0.25),
        ("<think>a</think><think>b</think><answer>2</answer>", 0.25),
        ("<answer>" * 3, 0.0),
        ("<think>a</reasoning>", 0.125),
        ("<think>a<reasoning>b</reasoning>", 0.25),
        ("<think><think>a<reasoning>b</reasoning>", 0.25),
        ("<think>a</think><reasoning>b</reasoning><answer>2</answer>", 0.5),
        ("<Answer></ answer>", 0.0),
    ],
)
def test_an_eighth_for_each_tag_that_stands_once(completion, value):
    assert REWARD.function(sample(completion)) == value


def test_hostile_texts():
    check_hostile(REWARD, sample)
    assert REWARD.function(sample("\0\ud800</answer>" + "<answer>" * 125_000)) == 0.125
