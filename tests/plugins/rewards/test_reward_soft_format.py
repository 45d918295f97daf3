from __future__ import annotations

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins.rewards import soft_format

REWARD = only_reward(soft_format)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("soft_format", (0.0, 0.5))


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<reasoning>a</reasoning><answer>2</answer>", 0.5),
        ("<think>a</think><answer>2</answer>", 0.5),
        ("<think>a\nb</think>\n \t\r\n<answer>\n2\n</answer>", 0.5),
        ("Well: <think>a</think> <answer>2</answer> Done.", 0.5),
        ("<think></think><answer></answer>", 0.5),
        ("<answer>1</answer> no: <think>a</think> <answer>2</answer>", 0.5),
        ("<think>a</think> so <answer>1</answer> <think>b</think><answer>2</answer>", 0.5),
        ("<reasoning>a</reasoning> <think>a</think> <answer>2</answer>", 0.5),
        ("<reasoning>a <think>b</think> <answer>2</answer>", 0.5),
        ("", 0.0),
        ("2", 0.0),
        ("<think>a</think> so <answer>2</answer>", 0.0),
        ("<think>a</think>", 0.0),
        ("<answer>2</answer>", 0.0),
        ("<think>a <answer>2</answer>", 0.0),
        ("a</think> <answer>2</answer>", 0.0),
        ("a</think> <answer>2</answer> <think>", 0.0),
        ("<think>a</think> <answer>2", 0.0),
        ("</answer> <think>a</think> <answer>2", 0.0),
        ("<answer>2</answer> <think>a</think>", 0.0),
        ("<think>a</reasoning> <answer>2</answer>", 0.0),
        ("<think>a</think> <think>b</think>", 0.0),
        ("<think>a</think>\0<answer>2</answer>", 0.0),
        ("<Think>a</Think><answer>2</answer>", 0.0),
    ],
)
def test_reasoning_then_answer(completion, value):
    assert REWARD.function(sample(completion)) == value


def test_hostile_texts():
    check_hostile(REWARD, sample)
    assert REWARD.function(sample("<think>\ud800\0</think>" + " " * 1_000_000 + "<answer>2</answer>")) == 0.5
