"""One point for following the task's protocol (its tags, each once and in order), right or wrong."""

from rlvr_plugins import Reward, Sample, hookimpl


def well_formed(sample: Sample) -> float:
    """1 when the completion follows the task's protocol, else 0."""
    return 1.0 if sample.verdict.well_formed else 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("format", well_formed, bounds=(0.0, 1.0))
