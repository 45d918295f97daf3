"""The typed, frozen objects that plugins hand out and receive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Example:
    """One item of a task.

    key: identity of the item. Two items with one key are the same question, whatever their
        wording or order; no key stands in both the training and the evaluation split.
    fields: what the prompt is made from and what the verifier needs; JSON values only.
    """

    key: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What a verifier says of one completion.

    strict: right, and given as the task's protocol demands.
    flexible: right, wherever in the completion the answer was found; strict implies flexible.
    well_formed: the protocol was followed, right or wrong.
    answer: the answer as extracted, "" where there is none.
    reason: one line on why the answer is not right, "" where it is.
    """

    strict: bool
    flexible: bool
    well_formed: bool
    answer: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Sample:
    """One completion to be rewarded.

    tokens: length of the completion in tokens, including the end token.
    truncated: generation stopped at the token limit.
    """

    completion: str
    example: Example
    verdict: Verdict
    tokens: int = 0
    truncated: bool = False

    @property
    def answer(self) -> str:
        """The extracted answer, "" where there is none."""
        return self.verdict.answer


@dataclass(frozen=True)
class Reward:
    """A named score for one sample.

    function: `(Sample) -> float | None`; None means that the reward does not apply.
    bounds: the lowest and highest value the function may return; a value outside stops training.
    """

    name: str
    function: Callable[[Sample], float | None]
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def description(self) -> str:
        return summary(self.function)


@dataclass(frozen=True)
class Task:
    """A kind of question with its data, its prompt and its verifier.

    options: a dataclass whose fields, types and defaults are what `tasks.<name>.options` of the
        config may hold. Its `__post_init__` raises ValueError on values that make no sense.
    splits: `(options, train, eval, seed) -> (train examples, eval examples)`, deterministic and
        disjoint by key. A size of None means all there are.
    check: `(options, train, eval) -> None`, raises ValueError before any job when `splits` could
        not deliver (a path that is not there, more items than exist). Must take milliseconds.
    system: the system prompt.
    user: `(example) -> str`, the user's message.
    verify: `(completion, example) -> Verdict`. Never raises, never runs what the text says.
        Training reward and evaluation both call it. Define it in a module of its own, so that
        editing it re-scores without making the data anew.
    files: `(options) -> list of paths` that `splits` reads; a change of one makes the data anew.
    demonstrate: `(example) -> str`, a right completion for SFT; None where the task has none.
    """

    name: str
    options: type
    splits: Callable[..., tuple[Sequence[Example], Sequence[Example]]]
    system: str
    user: Callable[[Example], str]
    verify: Callable[[str, Example], Verdict]
    demonstrate: Callable[[Example], str] | None = None
    check: Callable[..., None] | None = None
    files: Callable[..., Sequence[str]] | None = None

    @property
    def description(self) -> str:
        return summary(self.splits)

    def prompt(self, example: Example, system: str | None = None) -> list[dict[str, str]]:
        """The chat messages of an example; `system` replaces the task's own, "" leaves it out."""
        system = self.system if system is None else system
        head = [{"role": "system", "content": system}] if system else []
        return [*head, {"role": "user", "content": self.user(example)}]


def summary(function: Callable) -> str:
    """The first line of a function's docstring."""
    return (function.__doc__ or "").strip().partition("\n")[0]
