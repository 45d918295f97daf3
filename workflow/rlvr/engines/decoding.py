"""How completions are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decoding:
    """Settings of a generator.

    batch_size: completions generated at once. samples: completions a prompt, drawn at `temperature`
    and `top_p`; 0: one, greedy. logprobs: keep the log-probability of each token.
    """

    max_completion_tokens: int
    batch_size: int
    samples: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    logprobs: bool = False


@dataclass(frozen=True)
class Sampled:
    """The tokens of a completion, with the end token where one was reached, and what may follow it.

    logprobs: of each token under the model's own distribution, before temperature and top-p; None: not kept.
    """

    tokens: list[int]
    logprobs: list[float] | None = None
