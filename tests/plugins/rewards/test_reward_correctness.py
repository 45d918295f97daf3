from __future__ import annotations

import pytest
from reward_cases import only_reward, sample

from rlvr_plugins.rewards import correctness

REWARD = only_reward(correctness)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("correctness", (0.0, 2.0))


@pytest.mark.parametrize(
    ("strict", "flexible", "well_formed", "value"),
    [
        (True, True, True, 2.0),
        (False, True, True, 0.0),
        (False, True, False, 0.0),
        (False, False, True, 0.0),
        (False, False, False, 0.0),
    ],
)
def test_only_a_strictly_right_answer_earns(strict, flexible, well_formed, value):
    assert REWARD.function(sample(strict=strict, flexible=flexible, well_formed=well_formed)) == value
