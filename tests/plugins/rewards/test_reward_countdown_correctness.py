from __future__ import annotations

import pytest
from reward_cases import only_reward, sample

from rlvr_plugins.rewards import countdown_correctness

REWARD = only_reward(countdown_correctness)
FIELDS = {"numbers": [2, 3, 5], "target": 10, "operators": "+-*/"}


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("countdown_correctness", (0.0, 1.0))


@pytest.mark.parametrize("fields", [FIELDS, {"numbers": [2, 3, 5], "target": 10}])
@pytest.mark.parametrize(
    ("strict", "flexible", "well_formed", "value"),
    [(True, True, True, 1.0), (False, True, False, 1.0), (False, False, True, 0.0), (False, False, False, 0.0)],
)
def test_right_counts_in_any_format(fields, strict, flexible, well_formed, value):
    assert REWARD.function(sample("", fields, strict=strict, flexible=flexible, well_formed=well_formed)) == value


@pytest.mark.parametrize("fields", [{}, {"answer": "10"}, {"numbers": [2, 3, 5]}, {"target": 10}])
def test_it_applies_to_countdown_only(fields):
    assert REWARD.function(sample("", fields, strict=True, flexible=True, well_formed=True)) is None
