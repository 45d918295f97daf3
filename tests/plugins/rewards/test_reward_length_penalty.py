from __future__ import annotations

import pytest
from reward_cases import only_reward, sample

from rlvr_plugins.rewards import length_penalty

REWARD = only_reward(length_penalty)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("length_penalty", (-1.0, 0.0))


@pytest.mark.parametrize(
    ("tokens", "value"),
    [
        (0, 0.0),
        (1, 0.0),
        (256, 0.0),
        (257, -1 / 768),
        (448, -0.25),
        (640, -0.5),
        (1024, -1.0),
        (1025, -1.0),
        (9**9, -1.0),
    ],
)
def test_it_falls_linearly_between_the_limits(tokens, value):
    assert REWARD.function(sample(tokens=tokens)) == value


@pytest.mark.parametrize("tokens", [0, 64, 640, 2048])
def test_a_truncated_completion_gets_the_lowest_value(tokens):
    assert REWARD.function(sample(tokens=tokens, truncated=True)) == -1.0


def test_characters_do_not_count():
    assert REWARD.function(sample("word " * 200_000, tokens=256)) == 0.0
