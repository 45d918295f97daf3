"""Sizes of a language model, by arithmetic from its config."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight in 4 bits: blocks of 64 with an 8-bit constant, and a float32 for 256 of those."""
HALF = 2
"""Bytes of a 16-bit number."""
BLOCK = 16
"""Tokens whose keys and values vLLM keeps together."""


@dataclass(frozen=True)
class Sizes:
    """Counts of a decoder whose layers have attention and a gated MLP, as those of Llama, Qwen and SmolLM2.

    layer: input and output width of each linear layer of one block. hidden: width of the stream.
    """

    layers: int
    hidden: int
    intermediate: int
    key_value: int
    vocabulary: int
    tied: bool
    layer: tuple[tuple[int, int], ...]

    @property
    def linear(self) -> int:
        """Weights of all linear layers but the head."""
        return self.layers * sum(given * made for given, made in self.layer)

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def weights(self) -> int:
        """All of them, less norms and biases (under 0.1 %)."""
        return self.linear + self.embedding * (1 if self.tied else 2)

    def adapter(self, rank: int) -> int:
        """Weights of a LoRA adapter on all linear layers but the head."""
        return self.layers * sum(rank * (given + made) for given, made in self.layer)

    def bytes(self, in_4bit: bool) -> int:
        """With the linear layers in NF4 or 16 bits, the rest in 16."""
        rest = self.weights - self.linear
        return int(self.linear * (NF4 if in_4bit else HALF) + rest * HALF)

    def cache(self, tokens: int) -> int:
        """Bytes of keys and values of a sequence in 16 bits."""
        return math.ceil(tokens / BLOCK) * BLOCK * self.layers * self.key_value * 2 * HALF


def of(config: PreTrainedConfig) -> Sizes | None:
    """None for a model of another kind, such as one with experts."""
    wanted = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    found: list[Any] = [getattr(config, name, None) for name in wanted]
    experts = any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts"))
    if experts or not all(isinstance(value, int) for value in found):
        return None
    layers, hidden, intermediate, heads, vocabulary = found
    width = getattr(config, "head_dim", None) or hidden // heads
    query, kept = heads * width, (getattr(config, "num_key_value_heads", None) or heads) * width
    attention = ((hidden, query), (hidden, kept), (hidden, kept), (query, hidden))
    mlp = ((hidden, intermediate), (hidden, intermediate), (intermediate, hidden))
    tied = bool(getattr(config, "tie_word_embeddings", True))
    return Sizes(layers, hidden, intermediate, kept, vocabulary, tied, (*attention, *mlp))
