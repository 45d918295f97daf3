"""What the tests of rewards share: samples, hostile texts and the check of what a module declares."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from rlvr_plugins import Example, Reward, Sample, Verdict

SIZE = 1_000_000
PIECES = (
    "<answer>",
    "</answer>",
    "<reasoning>",
    "</reasoning>",
    "<think></think>\n<answer>",
    "<reasoning>\n</reasoning>\n<answer>\n</answer>",
    "</reasoning> \n\t ",
    "\\boxed{",
    "\\boxed{1}",
    "\\{",
    "{",
    "}",
    "<",
    " ",
    "\n",
    "\0",
    "\ud800",
    "1",
    "1 ",
    "(",
)
HOSTILE = (
    *(piece * (SIZE // len(piece)) for piece in PIECES),
    "<reasoning>" + "</reasoning>" * 40_000 + " " * (SIZE // 2) + "<answer",
    "<think>\n" + "\n</think>\n<answer>\n" * 50_000 + "\n</answer>",
    "\\boxed{" + "{" * SIZE,
    "<answer>\0\ud800</answer>",
    "",
)


def sample(completion: str = "", fields: dict[str, Any] | None = None, **rest: Any) -> Sample:
    """A sample with a wrong answer, unless `rest` says more of the sample or of its verdict."""
    of_verdict = {"strict": False, "flexible": False, "well_formed": False}
    of_verdict |= {name: rest.pop(name) for name in list(rest) if name in Verdict.__dataclass_fields__}
    return Sample(completion, Example("key", fields or {}), Verdict(**of_verdict), **rest)


def only_reward(module: ModuleType) -> Reward:
    (reward,) = module.rlvr_rewards()
    return reward


def check_hostile(reward: Reward, make: Callable[[str], Sample]) -> None:
    """Any text is scored within the bounds; `rlvr check` bounds the time."""
    lowest, highest = reward.bounds
    for text in HOSTILE:
        value = reward.function(make(text))
        assert isinstance(value, float), text[:40]
        assert lowest <= value <= highest, text[:40]
