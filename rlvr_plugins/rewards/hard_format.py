"""0, 0.25 or 0.5: one answer in tags, and one piece of reasoning in tags before it. A version in two steps,
and free in its whitespace, of the `hard_format_reward` that many GRPO examples share."""

from rlvr_plugins import Reward, Sample, hookimpl


def hard_format(sample: Sample) -> float:
    """0.25 when there is exactly one answer element, 0.5 when exactly one reasoning element precedes it, else 0.

    A reasoning element is `<reasoning>…</reasoning>` or `<think>…</think>`. A stray tag counts as one more.
    """
    answer = _only(sample.completion, "answer")
    if answer is None:
        return 0.0
    reasoning = _only(sample.completion, "reasoning", "think")
    return 0.5 if reasoning and reasoning[1] < answer[0] else 0.25


def _only(text: str, *kinds: str) -> tuple[int, int] | None:
    """Where the one element of these kinds opens and closes; None where there is not exactly one."""
    tags = [(f"<{kind}>", f"</{kind}>") for kind in kinds]
    counts = [(text.count(opening), text.count(closing)) for opening, closing in tags]
    if sorted(counts)[-1] != (1, 1) or sum(map(sum, counts)) != 2:
        return None
    opening, closing = tags[counts.index((1, 1))]
    start, end = text.find(opening), text.find(closing)
    return (start, end) if start < end else None


@hookimpl
def rlvr_rewards():
    yield Reward("hard_format", hard_format, bounds=(0.0, 0.5))
