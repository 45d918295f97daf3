"""0 or 0.5: the tags to the letter, each on a line of its own. Source: `strict_format_reward_func` of
W. Brown's GRPO demo, gist.github.com/willccbb/4676755236bb08cab5f4e54a0475d6fb."""

from rlvr_plugins import Reward, Sample, hookimpl

KINDS = ("reasoning", "think")
TAGS = tuple(tag for kind in (*KINDS, "answer") for tag in (f"<{kind}>", f"</{kind}>"))


def strict_format(sample: Sample) -> float:
    """0.5 when all is `<reasoning>`, text, `</reasoning>`, `<answer>`, text, `</answer>`, else 0.

    Each tag fills a line and stands once; only a newline may follow. `<think>` may stand for `<reasoning>`.
    """
    text = sample.completion.removesuffix("\n")
    tail = "\n</answer>"
    for kind in KINDS:
        head = f"<{kind}>\n"
        if text.startswith(head) and text.endswith(tail):
            inside = text.removeprefix(head).removesuffix(tail)
            reasoning, between, answer = inside.partition(f"\n</{kind}>\n<answer>\n")
            if between and not any(tag in reasoning or tag in answer for tag in TAGS):
                return 0.5
    return 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("strict_format", strict_format, bounds=(0.0, 0.5))
