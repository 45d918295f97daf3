import pytest

from rlvr_plugins import Example, Sample, Verdict
from rlvr_reward_brevity import brevity

RIGHT = Verdict(strict=True, flexible=True, well_formed=True)
WRONG = Verdict(strict=False, flexible=False, well_formed=True)


@pytest.mark.parametrize(("tokens", "expected"), [(5, 1.0), (16, 1.0), (40, 0.5), (64, 0.0), (500, 0.0)])
def test_a_right_answer_is_worth_less_the_longer_it_is(tokens, expected):
    assert brevity(Sample("", Example("k", {}), RIGHT, tokens)) == expected


def test_a_short_wrong_answer_is_worth_nothing():
    assert brevity(Sample("", Example("k", {}), WRONG, tokens=1)) == 0.0
