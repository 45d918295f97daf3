r"""-1 to 1: a number in `\boxed{}`. Source: SimpleRL, github.com/hkust-nlp/simpleRL-reason, which gives
-0.5 for a wrong answer and -1 for none, the other way round."""

from rlvr_plugins import Reward, Sample, hookimpl
from rlvr_plugins.verifiers.latex import last_box
from rlvr_plugins.verifiers.numbers import parse_number
from rlvr_plugins.verifiers.response import parts

MAX_CHARACTERS = 10_000


def boxed(sample: Sample) -> float | None:
    r"""1 when the last `\boxed{…}` of the response states the right number, -1 when not, -0.5 when there is none.

    `\fbox` and its kin are boxes too; one in the reasoning is none. Only the end of a response is looked at.
    Does not apply where field `answer` is absent or no number.
    """
    gold = parse_number(str(sample.example.fields.get("answer", "")))
    if gold is None:
        return None
    content = last_box(parts(sample.completion).response[-MAX_CHARACTERS:])
    if content is None:
        return -0.5
    return 1.0 if parse_number(content) == gold else -1.0


@hookimpl
def rlvr_rewards():
    yield Reward("boxed", boxed, bounds=(-1.0, 1.0))
