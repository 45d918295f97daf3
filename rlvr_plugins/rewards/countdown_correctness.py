"""0 or 1: a right Countdown answer, whatever its format. Source: the score of a right answer in TinyZero,
github.com/Jiayi-Pan/TinyZero."""

from rlvr_plugins import Reward, Sample, hookimpl


def countdown_correctness(sample: Sample) -> float | None:
    """1 when the expression is right wherever it was found, else 0; only with fields `numbers` and `target`."""
    if not {"numbers", "target"} <= sample.example.fields.keys():
        return None
    return 1.0 if sample.verdict.flexible else 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("countdown_correctness", countdown_correctness, bounds=(0.0, 1.0))
