"""Log-probabilities that a model gave to the tokens it generated."""

from __future__ import annotations

import torch
from transformers import LogitsProcessor


class Recorder(LogitsProcessor):
    """Keeps the log-probability of each token of one call of `generate`, before temperature, top-k and top-p.

    To be handed over as `logits_processor=[recorder]`, which `generate` applies before those. One step's distribution
    is held at a time, until the token chosen from it is known.

    rows: only so many, from the first on; None: all. temperature: that of the distribution; 1: the model's own.
    """

    def __init__(self, rows: int | None = None, temperature: float = 1.0) -> None:
        self._rows = rows
        self._temperature = temperature
        self._last: torch.Tensor | None = None
        self._found: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self._last is not None:
            self._take(input_ids)
        self._last = (scores[: self._rows].float() / self._temperature).log_softmax(dim=-1)
        return scores

    def of(self, sequences: torch.Tensor) -> torch.Tensor:
        """The log-probabilities of the new tokens of what `generate` returned, float32, (rows, new tokens).

        Rows are those of `sequences`: prompt by prompt, its `num_return_sequences` one after the other. What follows a
        row's end token is padding, whose values mean nothing.
        """
        if self._last is not None:
            self._take(sequences)
            self._last = None
        found, self._found = self._found, []
        return torch.stack(found, dim=1) if found else torch.zeros(len(sequences), 0, device=sequences.device)

    def _take(self, sequences: torch.Tensor) -> None:
        self._found.append(self._last.gather(1, sequences[: self._rows, -1:])[:, 0])
