"""The typed, frozen objects that plugins hand out and receive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RIGHT, WRONG_FORMAT, WRONG, UNREADABLE, MISSING, ERROR = STATUSES = (
    "right",
    "wrong_format",
    "wrong",
    "unreadable",
    "missing",
    "error",
)
"""What became of a completion.

right: right, in the task's protocol.
wrong_format: the right answer, found outside the protocol.
wrong: an answer that is not the right one.
unreadable: something stands where the answer belongs, but it is no answer of the task's kind.
missing: no answer was found.
error: the verifier failed or ran out of time or memory; counted as wrong.
"""


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
    reason: one line on why it is not strictly right, "" where it is.
    status: one of `STATUSES`; left out, it follows from the other fields.
    answers: number of answer elements in the completion; the last one counts.
    score: from 0 to 1, for tasks that give part of a point; left out, 1 where strict, else 0.

    Raises ValueError where these contradict one another.
    """

    strict: bool
    flexible: bool
    well_formed: bool
    answer: str = ""
    reason: str = ""
    status: str = ""
    answers: int = 0
    score: float | None = None

    def __post_init__(self) -> None:
        if self.strict and not (self.flexible and self.well_formed):
            raise ValueError("a strict verdict must be flexible and well_formed too")
        if self.score is None:
            object.__setattr__(self, "score", 1.0 if self.strict else 0.0)
        elif not 0 <= self.score <= 1:
            raise ValueError(f"score: {self.score!r} is not possible; allowed: 0 to 1")
        if not self.status:
            found = WRONG if self.answer else MISSING
            object.__setattr__(self, "status", RIGHT if self.strict else WRONG_FORMAT if self.flexible else found)
        elif self.status not in STATUSES:
            raise ValueError(f"status: {self.status!r} is not possible; allowed: {', '.join(STATUSES)}")


@dataclass(frozen=True)
class Sample:
    """One completion to be rewarded.

    tokens: length of the completion in tokens, including the end token.
    truncated: generation stopped at the token limit.
    draw: a number of 64 bits, another one for each completion of a run and the same when the run
        is repeated: the only source of chance a reward may use.
    """

    completion: str
    example: Example
    verdict: Verdict
    tokens: int = 0
    truncated: bool = False
    draw: int = 0

    @property
    def answer(self) -> str:
        """The extracted answer, "" where there is none."""
        return self.verdict.answer


@dataclass(frozen=True)
class Limits:
    """What a worker process may use; see `Reward.isolate`.

    sample_seconds: wall time for one completion.
    batch_seconds: wall time for all completions of a step together, or for 128 in evaluation.
    memory_mib: memory beyond what the worker holds once the plugin is imported, MiB. Linux only.
    """

    sample_seconds: float = 2.0
    batch_seconds: float = 30.0
    memory_mib: int = 1024

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise ValueError(f"Limits.{name}: {value!r} is not possible; allowed: above 0")


MAX_BOUND = 10_000.0
QUESTION = "{question}"
"""What stands for the question in a user prompt of the config."""


@dataclass(frozen=True)
class Reward:
    """A named score for one sample.

    function: `(Sample) -> float | None`; None means that the reward does not apply.
    bounds: the lowest and highest value the function may return, within -10,000 to 10,000. Any other
        value counts as a failure and is replaced by the lowest.
    isolate: set it where the function is slow or not to be trusted: it then runs in a worker process
        within these limits, which is killed when it passes them. It is no sandbox: the worker may
        still read files and use the network.
    requires: distributions whose versions can change the value; they enter the digest.
    """

    name: str
    function: Callable[[Sample], float | None]
    bounds: tuple[float, float] = (0.0, 1.0)
    isolate: Limits | None = None
    requires: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return summary(self.function)


@dataclass(frozen=True)
class Splits:
    """What a task's `splits` found.

    left_out: why rows of the source were not taken -> how many.
    notes: lines that name such rows, with file and row number, the first ones of each reason.
    shared: of these, the training rows whose question is in the task's own evaluation file; first_shared: the first.
    remarks: lines on the rows that were taken, which the run says.
    """

    train: Sequence[Example]
    eval: Sequence[Example]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    shared: int = 0
    first_shared: str = ""
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Task:
    """A kind of question with its data, its prompt and its verifier.

    options: a dataclass whose fields, types and defaults are what `tasks.<name>.options` of the
        config may hold. Its `__post_init__` raises ValueError on values that make no sense.
    splits: `(options, train, eval, seed) -> Splits`, or a tuple of its first two, deterministic and
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
    gold: `(example) -> str`, what is wrong with the item's own answer, "" where the verifier can read it.
        For the filter `gold`; None where every answer is sound by construction. With it, an edit of the verifier
        makes the data anew, unless the option `source` is `generator` or `synthetic`.
    question: `(example) -> str`, the text in which the item is put, for the filters that compare words and
        for a `user_prompt` of the config; None where a template makes it, so that only the key tells items apart.
    read: `(row) -> Example`, from an object of a file made elsewhere, for `rlvr verify`. Raises
        ValueError naming the key. None: the row itself, without its completion, is `fields`.
    isolate: set it where the verifier is slow or not to be trusted; see `Reward.isolate`.
    requires: distributions whose versions can change data or verdicts; they enter the digests.
    offline: options with which `splits` needs no network and no file, for `rlvr check`.
    """

    name: str
    options: type
    splits: Callable[..., Splits | tuple[Sequence[Example], Sequence[Example]]]
    system: str
    user: Callable[[Example], str]
    verify: Callable[[str, Example], Verdict]
    demonstrate: Callable[[Example], str] | None = None
    gold: Callable[[Example], str] | None = None
    question: Callable[[Example], str] | None = None
    check: Callable[..., None] | None = None
    files: Callable[..., Sequence[str]] | None = None
    read: Callable[[Mapping[str, Any]], Example] | None = None
    isolate: Limits | None = None
    requires: tuple[str, ...] = ()
    offline: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        return summary(self.splits)

    def items(self, options: Any, train: int | None, eval: int | None, seed: int) -> Splits:
        """What `splits` gives, always as `Splits`."""
        found = self.splits(options, train, eval, seed)
        return found if isinstance(found, Splits) else Splits(*found)

    def prompt(self, example: Example, system: str | None = None, user: str | None = None) -> list[dict[str, str]]:
        """The chat messages of an example.

        system: replaces the task's own, "" leaves it out. user: replaces the task's own message; in it
        `{question}` stands for what `question` gives, and no other mark has a meaning.
        """
        system = self.system if system is None else system
        head = [{"role": "system", "content": system}] if system else []
        message = self.user(example) if user is None else user.replace(QUESTION, self.question(example))
        return [*head, {"role": "user", "content": message}]


def summary(function: Callable) -> str:
    """The first line of a function's docstring; of the function inside where it is a partial one."""
    return (getattr(function, "func", function).__doc__ or "").strip().partition("\n")[0]
