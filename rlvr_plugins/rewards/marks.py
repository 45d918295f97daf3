"""0 to 0.5: an eighth for each tag. Source: `xmlcount_reward_func` of W. Brown's GRPO demo,
gist.github.com/willccbb/4676755236bb08cab5f4e54a0475d6fb, less its care for newlines and trailing text."""

from rlvr_plugins import Reward, Sample, hookimpl


def marks(sample: Sample) -> float:
    """0.125 for each of the four tags that stands exactly once, in any order.

    The tags open and close the reasoning (`<reasoning>` or `<think>`, whichever earns more) and the answer.
    """
    reasoning = max(_marks(sample.completion, kind) for kind in ("reasoning", "think"))
    return 0.125 * (reasoning + _marks(sample.completion, "answer"))


def _marks(text: str, kind: str) -> int:
    return sum(text.count(tag) == 1 for tag in (f"<{kind}>", f"</{kind}>"))


@hookimpl
def rlvr_rewards():
    yield Reward("marks", marks, bounds=(0.0, 0.5))
