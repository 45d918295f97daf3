from __future__ import annotations

import pytest
from reward_cases import only_reward, sample

from rlvr_plugins.rewards import format_only

REWARD = only_reward(format_only)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("format_only", (0.0, 1.0))


@pytest.mark.parametrize(
    ("strict", "flexible", "well_formed", "value"),
    [
        (True, True, True, 1.0),
        (False, True, True, 1.0),
        (False, False, True, 1.0),
        (False, True, False, 0.0),
        (False, False, False, 0.0),
    ],
)
def test_right_or_wrong_the_format_earns_the_same(strict, flexible, well_formed, value):
    assert REWARD.function(sample(strict=strict, flexible=flexible, well_formed=well_formed)) == value
