"""-1 to 0: a penalty on long completions. Source: the soft overlong punishment of DAPO, arXiv 2503.14476;
for other limits copy this file and rename the reward."""

from rlvr_plugins import Reward, Sample, hookimpl

FREE = 256
FULL = 1024


def length_penalty(sample: Sample) -> float:
    """0 up to 256 tokens, falling linearly to -1 at 1024 and beyond; -1 when truncated.

    For other limits copy the file, change `FREE` and `FULL`, and give the reward another name.
    """
    if sample.truncated:
        return -1.0
    return max(-1.0, min(0.0, (FREE - sample.tokens) / (FULL - FREE)))


@hookimpl
def rlvr_rewards():
    yield Reward("length_penalty", length_penalty, bounds=(-1.0, 0.0))
