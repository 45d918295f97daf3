"""Up to one point for a right answer in few tokens."""

from rlvr_plugins import Reward, Sample, hookimpl

FREE, LIMIT = 16, 64


def brevity(sample: Sample) -> float:
    """1 for a right answer of up to 16 tokens, falling to 0 at 64; 0 for a wrong one."""
    if not sample.verdict.strict:
        return 0.0
    return min(1.0, max(0.0, (LIMIT - sample.tokens) / (LIMIT - FREE)))


@hookimpl
def rlvr_rewards():
    yield Reward("brevity", brevity, bounds=(0.0, 1.0))
