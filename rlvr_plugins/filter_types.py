"""The typed, frozen objects of filters: what drops rows before they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr_plugins.types import Example, Task, Verdict, summary

Message = Mapping[str, str]

TOKENIZER, VERIFIER, EVALUATION, ROLLOUTS = NEEDS = ("tokenizer", "verifier", "evaluation", "rollouts")
"""What a filter may ask for beside the rows.

tokenizer: lengths under the training tokenizer and chat template.
verifier: the task's verifier.
evaluation: every evaluation set of the experiment.
rollouts: completions that the model GRPO starts from gave; such a filter sees training rows only and comes last.
"""


@dataclass(frozen=True)
class Rollout:
    """One completion sampled for a row, judged by the task's verifier. tokens: its length."""

    completion: str
    verdict: Verdict
    tokens: int = 0
    truncated: bool = False


@dataclass(frozen=True)
class Row:
    """One row on its way to training.

    prompt: the chat messages. completion: the demonstration of an SFT row, None in a training row.
    rollouts: filled for a filter that needs them.
    """

    task: str
    example: Example
    prompt: Sequence[Message]
    completion: str | None = None
    rollouts: Sequence[Rollout] = ()

    @property
    def key(self) -> str:
        return self.example.key

    @property
    def user(self) -> str:
        """The text of the last message of the prompt."""
        return self.prompt[-1]["content"]


@dataclass(frozen=True)
class FilterContext:
    """What a filter may use beside the rows; what it does not list in `needs` is None.

    task: the task whose rows these are.
    split: `train` or `sft`.
    prompt_tokens: `(rows) -> lengths`, of the prompts with the header of the answer, tokens.
    whole_tokens: `(rows) -> lengths`, of prompt and completion together, tokens.
    judge: `(completions, examples) -> verdicts` of the task's verifier.
    evaluation: the examples of every evaluation set of the experiment, each with its task. Can be read once.
    """

    task: Task
    split: str
    prompt_tokens: Callable[[Sequence[Row]], Sequence[int]] | None = None
    whole_tokens: Callable[[Sequence[Row]], Sequence[int]] | None = None
    judge: Callable[[Sequence[str], Sequence[Example]], Sequence[Verdict]] | None = None
    evaluation: Iterable[tuple[Task, Example]] | None = None


@dataclass(frozen=True)
class Sampling:
    """How completions are sampled for a filter that needs rollouts.

    completions: for each prompt.
    temperature: of the sampling.
    top_p: share of the probability that is sampled from.
    max_completion_tokens: longest completion, tokens.
    batch_size: completions generated at once.
    target: sampling stops once this many prompts are `wanted`; None: all prompts are sampled. The
        prompts then come in an order drawn from the seed.
    wanted: `(rollouts) -> bool`, whether a prompt with these rollouts is kept.
    """

    completions: int = 8
    temperature: float = 1.0
    top_p: float = 1.0
    max_completion_tokens: int = 512
    batch_size: int = 128
    target: int | None = None
    wanted: Callable[[Sequence[Rollout]], bool] | None = None


Select = Callable[[Sequence[Row]], Sequence[str]]


@dataclass(frozen=True)
class Filter:
    """A named rule that says of each row why it is dropped.

    options: a dataclass, as that of a task: what the filter's mapping in the config may hold.
    start: `(options, context) -> select`. `select(rows)` is called with one batch of rows after the
        other, in their order, and gives for each row why it is dropped, "" to keep it. Reasons are
        few and short: they are counted. What follows a line break is not counted but shown with the
        row, such as the row it is like. What is remembered between batches lives in `select`; the
        size of the batches must not matter. Never runs what a text says.
    splits: which rows it applies to unless the config says otherwise: `train`, `sft` or both.
    needs: what it uses of the context, out of `NEEDS`; a change of these makes it run again.
    sampling: `(options) -> Sampling`, how to sample the completions of a filter that needs rollouts.
    check: `(options, task) -> None`, raises ValueError before any job where the filter can't work on a task.
    requires: distributions whose versions can change the outcome; they enter the digest.
    offline: options with which `rlvr check` runs it.
    """

    name: str
    options: type
    start: Callable[[Any, FilterContext], Select]
    splits: tuple[str, ...] = ("train", "sft")
    needs: tuple[str, ...] = ()
    sampling: Callable[[Any], Sampling] | None = None
    check: Callable[[Any, Task], None] | None = None
    requires: tuple[str, ...] = ()
    offline: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        return summary(self.start)
