"""-1 to 0: a penalty on saying the same again. Source: the n-gram penalty of arXiv 2502.03373, appendix C.2,
in the form that Open R1 gave it."""

from rlvr_plugins import Reward, Sample, hookimpl

MAX_CHARACTERS = 20_000


def repetition_penalty(sample: Sample) -> float:
    """Minus the share of repeated 3-grams among all 3-grams of words; 0 for fewer than 3 words.

    Only the first 20,000 characters are looked at.
    """
    words = sample.completion[:MAX_CHARACTERS].split()
    total = len(words) - 2
    if total < 1:
        return 0.0
    return len(set(zip(words, words[1:], words[2:], strict=False))) / total - 1.0


@hookimpl
def rlvr_rewards():
    yield Reward("repetition_penalty", repetition_penalty, bounds=(-1.0, 0.0))
