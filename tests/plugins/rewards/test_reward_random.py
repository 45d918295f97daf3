from __future__ import annotations

from itertools import pairwise

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins.rewards import random_control

REWARD = only_reward(random_control)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("random", (0.0, 1.0))


def values(draws):
    return [REWARD.function(sample(draw=draw)) for draw in draws]


def test_both_values_come_as_often_as_each_other():
    some = values(range(10_000))
    assert set(some) == {0.0, 1.0}
    assert sum(some) == pytest.approx(5_000, abs=200)


@pytest.mark.parametrize("step", [2, 256, 2**32])
def test_draws_in_a_pattern_give_no_pattern(step):
    some = values(range(0, 10_000 * step, step))
    assert sum(some) == pytest.approx(5_000, abs=200)
    assert sum(a == b for a, b in pairwise(some)) == pytest.approx(5_000, abs=200)


def test_one_draw_gives_one_value_on_any_machine():
    assert values([0, 1, 2, 3, 4, 5, 6, 7, 2**64 - 1]) == [1, 1, 0, 0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("draw", range(8))
def test_nothing_but_the_draw_counts(draw):
    right = {"strict": True, "flexible": True, "well_formed": True, "answer": "2", "tokens": 9, "truncated": True}
    assert REWARD.function(sample("2", {"answer": "2"}, draw=draw, **right)) == REWARD.function(sample(draw=draw))


def test_hostile_texts():
    check_hostile(REWARD, sample)
