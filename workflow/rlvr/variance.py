"""Says when the rewards of GRPO stop telling completions apart, and ends a training that learns nothing from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr import console
from rlvr.errors import RlvrError

WARNED = 10
"""Steps in a row after which a constant reward or a lack of variance is said."""
SAME = 1e-6
"""As a share of the larger of two rewards, which rounding may tell apart."""


class Variance:
    """Follows the rewards from batch to batch.

    A step has no variance where all completions of each prompt earned the same in total, or no reward applied to any;
    every advantage is then 0. A batch belongs to the steps from its own to that of the next.

    weights: of each reward. group: completions of a prompt, which follow one another. most: steps in a row without
    variance after which training stops; None: any number.
    """

    def __init__(self, weights: Mapping[str, float], group: int, most: int | None) -> None:
        self._weights = weights
        self._group = group
        self._most = most
        self._latest = 0
        self._varied = 0
        self._since = 0
        self._told = False
        self._applied = False
        self._constant: dict[str, list[Any]] = {}
        self._spread: dict[str, int] = {}

    def state(self) -> dict[str, Any]:
        """What a resumed run has to know, JSON values."""
        return {name: getattr(self, name) for name in self._STATE}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name in self._STATE:
            setattr(self, name, state[name])

    _STATE = ("_latest", "_varied", "_since", "_told", "_applied", "_constant", "_spread")

    def add(self, step: int, rewards: Mapping[str, Sequence[float | None]]) -> None:
        """Takes note of a batch. step: from 1. rewards: of each completion, by name; None where it does not apply.

        Raises RlvrError where the steps before it are too many without variance.
        """
        if step != self._latest:
            self._check(step - 1)
            self._latest = step
        if self._varies(rewards):
            self._varied, self._since, self._told = step, 0, False
        elif not self._since and self._varied != step:
            self._since = step
        for name, values in rewards.items():
            self._follow(name, step, values)

    def finish(self, step: int) -> None:
        """At the end of training, when there is nothing left to stop. Raises RlvrError where no reward ever applied."""
        self._check(step, stop=False)
        if self._latest and not self._applied and self._most is not None:
            names = ", ".join(map(repr, self._constant))
            raise RlvrError(
                f"grpo.rewards: no reward applied to any completion of {step} steps ({names}), so that nothing was "
                "learned; allowed: rewards that give a number for some of them"
            )

    def _varies(self, rewards: Mapping[str, Sequence[float | None]]) -> bool:
        """Whether the total differs among the completions of a prompt to which any reward applies."""
        for start in range(0, len(next(iter(rewards.values()), ())), self._group):
            each = [values[start : start + self._group] for values in rewards.values()]
            weights = [self._weights.get(name, 1.0) for name in rewards]
            totals = [
                sum(weight * value for weight, value in zip(weights, values, strict=True) if value is not None)
                for values in zip(*each, strict=True)
                if any(value is not None for value in values)
            ]
            if totals and max(totals) - min(totals) > SAME * max(map(abs, totals)):
                return True
        return False

    def _follow(self, name: str, step: int, values: Sequence[float | None]) -> None:
        found = {value for value in values if value is not None}
        self._applied = self._applied or bool(found)
        value = next(iter(found), None)
        if len(found) > 1:
            self._constant.pop(name, None)
            self._spread[name] = step
        elif self._spread.get(name) != step and (name not in self._constant or self._constant[name][0] != value):
            self._constant[name] = [value, step, False]

    def _check(self, step: int, stop: bool = True) -> None:
        """Says or raises what there is to say of the steps up to this one."""
        steps = step - self._since + 1 if self._since else 0
        said = f"all completions of each prompt earned the same in steps {self._since} to {step} ({self._why(step)})"
        if stop and self._most is not None and steps >= self._most:
            raise RlvrError(
                f"grpo.max_zero_variance_steps: {said}, so that nothing is learned; allowed: fewer than {self._most} "
                "such steps in a row, a larger number here, or null"
            )
        if steps >= WARNED and not self._told:
            console.say(f"grpo: {said}: nothing is learned from them")
            self._told = True
        for name, known in self._constant.items():
            if step - known[1] + 1 >= WARNED and not known[2]:
                known[2] = True
                if not self._told:
                    console.say(f"grpo: in steps {known[1]} to {step} reward {name!r} {_constant(known[0])}")

    def _why(self, step: int) -> str:
        """What each reward was over the steps without variance."""
        found = []
        for name in self._weights:
            value, since, _ = self._constant.get(name, (None, step + 1, False))
            constant = since <= self._since
            found.append(f"{name!r} {_constant(value) if constant else 'had no spread within a prompt'}")
        return ", ".join(found)


def _constant(value: float | None) -> str:
    return "applied to no completion" if value is None else f"was {value:g} for every completion"
