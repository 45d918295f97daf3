"""0 or 0.5: an integer as the answer, right or wrong. Source: `int_reward_func` of W. Brown's GRPO demo,
gist.github.com/willccbb/4676755236bb08cab5f4e54a0475d6fb, which takes no minus sign."""

import re

from rlvr_plugins import Reward, Sample, hookimpl

INTEGER = re.compile(r"-?[0-9]+")


def integer(sample: Sample) -> float:
    """0.5 when an answer element holds ASCII digits with at most one leading minus and nothing else, else 0."""
    return 0.5 if sample.verdict.answers >= 1 and INTEGER.fullmatch(sample.answer.strip()) else 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("integer", integer, bounds=(0.0, 0.5))
