"""0 or 0.5: reasoning and answer in tags somewhere. Source: `soft_format_reward_func` of W. Brown's
GRPO demo, gist.github.com/willccbb/4676755236bb08cab5f4e54a0475d6fb, which allows no text before."""

import re

from rlvr_plugins import Reward, Sample, hookimpl

BETWEEN = {kind: re.compile(rf"</{kind}>\s*<answer>") for kind in ("reasoning", "think")}


def soft_format(sample: Sample) -> float:
    """0.5 when `<reasoning>…</reasoning>`, or `think`, is followed by `<answer>…</answer>`, else 0.

    Only whitespace may stand between the two; any text may stand around them.
    """
    text = sample.completion
    end = text.rfind("</answer>")
    for kind, between in BETWEEN.items():
        start = text.find(f"<{kind}>")
        found = between.search(text, start) if start >= 0 else None
        if found and found.end() <= end:
            return 0.5
    return 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("soft_format", soft_format, bounds=(0.0, 0.5))
