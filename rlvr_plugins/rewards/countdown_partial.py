"""0, 0.1 or 1: a right Countdown answer, or a tenth for a fair try. Source: TinyZero,
github.com/Jiayi-Pan/TinyZero, which gives the tenth for anything in answer tags."""

from collections import Counter

from rlvr_plugins import Reward, Sample, hookimpl
from rlvr_plugins.verifiers.expressions import Refused, read_answer


def countdown_partial(sample: Sample) -> float | None:
    """1 when right, 0.1 when wrong but made of exactly the given numbers, else 0.

    Applies only with fields `numbers` and `target`.
    """
    fields = sample.example.fields
    if not {"numbers", "target"} <= fields.keys():
        return None
    if sample.verdict.flexible:
        return 1.0
    try:
        _, used = read_answer(sample.answer, fields["target"], fields.get("operators", "+-*/"))
    except Refused:
        return 0.0
    return 0.1 if Counter(used) == Counter(fields["numbers"]) else 0.0


@hookimpl
def rlvr_rewards():
    yield Reward("countdown_partial", countdown_partial, bounds=(0.0, 1.0))
