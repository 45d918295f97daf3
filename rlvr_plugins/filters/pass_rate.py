"""Prompts that the model GRPO starts from answers neither always nor never."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from rlvr_plugins import Filter, FilterContext, Rollout, Row, Sampling, hookimpl


@dataclass(frozen=True)
class Options:
    """min_rate, max_rate: lowest and highest share of right completions of a prompt that is kept, both included.
        The defaults drop the prompts whose completions are all wrong or all right, from which GRPO learns nothing.
    by: `strict`, right in the task's protocol; `flexible`, right wherever the answer stands.
    samples: completions for each prompt.
    temperature, top_p: of the sampling.
    max_completion_tokens: longest completion.
    batch_size: completions generated at once.
    target_size: sampling stops once this many prompts are kept; the rest is dropped as `not sampled`. null: all
        prompts are sampled.
    """

    min_rate: float = 0.01
    max_rate: float = 0.99
    by: Literal["strict", "flexible"] = "strict"
    samples: int = 8
    temperature: float = 1.0
    top_p: float = 1.0
    max_completion_tokens: int = 512
    batch_size: int = 128
    target_size: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_rate <= self.max_rate <= 1:
            raise ValueError("min_rate and max_rate are shares: they must satisfy 0 <= min_rate <= max_rate <= 1")
        if not 0 < self.temperature <= 2:
            raise ValueError("temperature must be above 0 and at most 2")
        if not 0 < self.top_p <= 1:
            raise ValueError("top_p must be above 0 and at most 1")
        if self.samples >= 1 and not any(
            self.min_rate <= right / self.samples <= self.max_rate for right in range(self.samples + 1)
        ):
            raise ValueError(f"min_rate and max_rate let no rate of {self.samples} samples through")
        for name in ("samples", "max_completion_tokens", "batch_size", "target_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.batch_size < self.samples:
            raise ValueError("batch_size must be at least samples: the samples of a prompt are generated together")


def sampling(options: Options) -> Sampling:
    return Sampling(
        completions=options.samples,
        temperature=options.temperature,
        top_p=options.top_p,
        max_completion_tokens=options.max_completion_tokens,
        batch_size=options.batch_size,
        target=options.target_size,
        wanted=partial(_wanted, options.by, options.min_rate, options.max_rate),
    )


def start(options: Options, context: FilterContext):
    """Drops prompts that the model GRPO starts from gets right too rarely or too often."""

    def select(rows: Sequence[Row]) -> list[str]:
        return [_reason(options.by, options.min_rate, options.max_rate, row.rollouts) for row in rows]

    return select


def _wanted(by: str, low: float, high: float, rollouts: Sequence[Rollout]) -> bool:
    return not _reason(by, low, high, rollouts)


def _reason(by: str, low: float, high: float, rollouts: Sequence[Rollout]) -> str:
    if not rollouts:
        return "not sampled"
    rate = sum(getattr(rollout.verdict, by) for rollout in rollouts) / len(rollouts)
    if rate < low:
        return "below min_rate" if rate else "never right"
    if rate > high:
        return "above max_rate" if rate < 1 else "always right"
    return ""


@hookimpl
def rlvr_filters():
    yield Filter("pass_rate", options=Options, start=start, splits=("train",), needs=("rollouts",), sampling=sampling)
