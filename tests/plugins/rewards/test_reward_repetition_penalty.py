from __future__ import annotations

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins.rewards import repetition_penalty

REWARD = only_reward(repetition_penalty)


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("repetition_penalty", (-1.0, 0.0))


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("", 0.0),
        ("a", 0.0),
        ("a a", 0.0),
        ("a a a", 0.0),
        ("a a a a", -1 / 2),
        ("a a a a a", -2 / 3),
        ("a b a b a b", -2 / 4),
        ("a b c a b c", -1 / 4),
        ("a b c d e f", 0.0),
        ("a b a c a d a e", 0.0),
        ("a b c d\n\na  b\tc d", -2 / 6),
        ("aaa aaa", 0.0),
    ],
)
def test_minus_the_share_of_repeated_3_grams(completion, value):
    assert REWARD.function(sample(completion)) == pytest.approx(value, abs=1e-12)


def test_only_the_first_twenty_thousand_characters_are_looked_at():
    head = " ".join(map(str, range(10_000)))[:20_000]
    assert REWARD.function(sample(head + " a a a a" * 10_000)) == 0.0
    assert REWARD.function(sample("a a a a " + head)) < 0.0


def test_hostile_texts():
    check_hostile(REWARD, sample)
    assert REWARD.function(sample("\0 \ud800 " * 250_000)) == pytest.approx(2 / 9_998 - 1)
