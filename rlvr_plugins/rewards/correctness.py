"""One point for a right answer given as the task's protocol demands, as its verifier sees it."""

from rlvr_plugins import Reward, Sample, hookimpl


def correctness(sample: Sample) -> float:
    """1 when the task's verifier says strictly right, else 0."""
    return 1.0 if sample.verdict.strict else 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("correctness", correctness, bounds=(0.0, 1.0))
