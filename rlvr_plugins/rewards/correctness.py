"""0 or 2: two points for a right answer given as the task's protocol demands, as its verifier sees it.
Source: W. Brown's GRPO demo, gist.github.com/willccbb/4676755236bb08cab5f4e54a0475d6fb."""

from rlvr_plugins import Reward, Sample, hookimpl


def correctness(sample: Sample) -> float:
    """2 when the task's verifier says strictly right, else 0."""
    return 2.0 if sample.verdict.strict else 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("correctness", correctness, bounds=(0.0, 2.0))
