"""0 or 1: a control that pays for the format and is blind to the answer. Source: the format reward of
"Spurious Rewards", arXiv 2506.10947, with the task's own protocol for format."""

from rlvr_plugins import Reward, Sample, hookimpl


def format_only(sample: Sample) -> float:
    """A control: as `format`, to be the only reward of a run.

    Use it in place of every other reward, to see how much of a gain is format.
    """
    return 1.0 if sample.verdict.well_formed else 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("format_only", format_only, bounds=(0.0, 1.0))
