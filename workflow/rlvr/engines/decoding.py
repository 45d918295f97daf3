"""How completions are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decoding:
    """Settings of a generator.

    batch_size: completions generated at once. samples: completions a prompt, drawn at `temperature`
    and `top_p`; 0: one, greedy.
    """

    max_completion_tokens: int
    batch_size: int
    samples: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
