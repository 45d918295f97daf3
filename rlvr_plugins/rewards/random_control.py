"""0 or 1: a control that knows nothing of the completion. Source: the random reward of "Spurious Rewards",
arXiv 2506.10947."""

from hashlib import sha256

from rlvr_plugins import Reward, Sample, hookimpl


def random(sample: Sample) -> float:
    """0 or 1 with equal chance, whatever the completion; what still improves is not due to the reward."""
    return float(sha256(str(sample.draw).encode()).digest()[0] & 1)


@hookimpl
def rlvr_rewards():
    yield Reward("random", random, bounds=(0.0, 1.0))
