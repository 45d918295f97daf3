from __future__ import annotations

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins.rewards import hard_format

REWARD = only_reward(hard_format)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("hard_format", (0.0, 0.5))


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<think>a</think><answer>2</answer>", 0.5),
        ("<reasoning>a</reasoning>\nso\n<answer>2</answer> Done.", 0.5),
        ("<reasoning></reasoning><answer></answer>", 0.5),
        ("<answer>2</answer>", 0.25),
        ("<answer>2</answer><think>a</think>", 0.25),
        ("<think>a <answer>2</answer></think>", 0.25),
        ("<think>a <answer>2</answer>", 0.25),
        ("a</think> <answer>2</answer>", 0.25),
        ("</think>a<think> <answer>2</answer>", 0.25),
        ("<think>a</reasoning> <answer>2</answer>", 0.25),
        ("<think>a</think><think>b</think><answer>2</answer>", 0.25),
        ("<think><think>a</think><answer>2</answer>", 0.25),
        ("<think>a</think></think><answer>2</answer>", 0.25),
        ("<think>a</think><answer>2</answer><think>b</think>", 0.25),
        ("<think>a</think><reasoning>b</reasoning><answer>2</answer>", 0.25),
        ("<reasoning><think>a</think><answer>2</answer>", 0.25),
        ("", 0.0),
        ("<think>a</think>", 0.0),
        ("<think>a</think><answer>2", 0.0),
        ("<think>a</think>2</answer>", 0.0),
        ("<think>a</think></answer>2<answer>", 0.0),
        ("<think>a</think><answer>2</answer><answer>2</answer>", 0.0),
        ("<think>a</think><answer><answer>2</answer>", 0.0),
        ("<think>a</think><answer>2</answer></answer>", 0.0),
    ],
)
def test_one_answer_and_one_piece_of_reasoning_before_it(completion, value):
    assert REWARD.function(sample(completion)) == value


def test_hostile_texts():
    check_hostile(REWARD, sample)
    assert REWARD.function(sample("<think>" + "\0\ud800<" * 300_000 + "</think><answer>2</answer>")) == 0.5
