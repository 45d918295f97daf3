"""How much of a GPU vLLM gets while GRPO trains beside it, and how many completions that holds at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from rlvr.memory import sizes
from rlvr.trainer_options import generated_at_once, value

KEY = "vllm_gpu_memory_utilization"
CONTEXT = 600 * 2**20
"""Of CUDA and its libraries in the process that trains; not measured here."""
FREE = 0.1
"""Share of the GPU that neither gets, against fragmentation."""
MOST_AT_ONCE = 255
"""Completions that vLLM works on at once: the sampler takes memory for each. To Unsloth 256, vLLM's default, means that
nothing was asked, and it takes fewer by a table of memory (`load_vllm`)."""
GRAPHS = 400 * 2**20
"""CUDA graphs, and what vLLM holds outside torch's allocator; an assumption."""
PROMPT_TOKENS = 8192
"""Tokens of prompts that vLLM reads at once, at most: 4,096 under TRL, 2,048 to 8,192 under Unsloth."""
SAMPLED = 44
"""Bytes an entry of the vocabulary and completion while vLLM samples, sorted copies included; by the table of measured
peaks in the source of unsloth_zoo 2026.10.7 (`load_vllm`)."""
USUAL = 0.4
"""The share for a model whose sizes are not known, and the least where training fits beside it: the estimate of what
vLLM needs has not been measured, and memory that nobody uses costs nothing."""


@dataclass(frozen=True)
class Share:
    """share: of the GPU's memory. sequences: completions at their longest that its cache holds at once, None where
    that is not known. at_once: completions that vLLM works on. wanted: completions sampled for one update.
    length: tokens of the longest. held: bytes of its weights, 0 where they are not known. chosen: not the user's.
    """

    share: float
    sequences: int | None
    at_once: int
    wanted: int
    group: int
    length: int
    held: int
    chosen: bool

    @property
    def short(self) -> bool:
        """Whether not even a group of completions fits."""
        return self.sequences is not None and self.sequences < self.group

    def line(self) -> str:
        """What it is and what fits, one line."""
        whose = "by the estimate" if self.chosen else "as configured"
        said = f"vLLM gets {self.share:g} of the GPU ({whose})"
        if self.sequences is None:
            return f"{said}; how many completions fit is not known for this model"
        fits = (
            f"{said}: {self.sequences} completions of {self.length:,} tokens, prompt included, fit into its cache at "
            f"once; a generation samples {self.wanted}"
        )
        if not self.short:
            return fits
        return (
            f"{fits}, a group has {self.group}: sampling will be slow, or vLLM may not start; set "
            f"grpo.trainer.{KEY} higher, adapter.load_in_4bit: true, a shorter max_completion_length or a smaller "
            "per_device_train_batch_size"
        )


def of(
    model: PreTrainedConfig,
    trainer: dict[str, Any],
    adapter: dict[str, Any] | None,
    training: str,
    length: int,
    capacity: int,
) -> Share:
    """The share for a GPU of `capacity` bytes: the user's, or what holds all completions of a generation, less where
    training would not fit beside it.

    trainer: options for TRL. training: `unsloth`, whose vLLM holds the very weights that are trained, so that its share
    contains them, or `transformers`, where vLLM has a copy in 16 bits. length: longest prompt and completion, tokens.
    """
    wanted, group = generated_at_once(trainer), value("grpo", trainer, "num_generations")
    known, given, unsloth = sizes.of(model), trainer.get(KEY), training == "unsloth"
    at_once = min(wanted, MOST_AT_ONCE) if unsloth else wanted  # TRL asks for all of them
    if known is None:
        return Share(given or USUAL, None, at_once, wanted, group, length, 0, given is None)
    held = known.bytes(unsloth and bool(adapter and adapter["load_in_4bit"]))
    usual = held + (2 * known.adapter(adapter["r"]) if unsloth else 0) + _peak(known, at_once)
    sequence = known.cache(length)
    whole = capacity - CONTEXT if unsloth else capacity  # Unsloth takes the share of what is free
    if given is None:
        most = capacity * (1 - FREE) - sum(trained(known, trainer, adapter, unsloth, length).values())
        wish = max(usual + min(wanted, at_once) * sequence, min(USUAL * whole, most))
        least = usual + sequence  # with less, vLLM does not start
        share = math.ceil(100 * wish / whole) / 100 if wish <= most else math.floor(100 * most / whole) / 100
        share = min(0.95, max(share, math.ceil(100 * least / whole) / 100))
    else:
        share = given
    fitting = max(0, int((share * whole - usual) // sequence))
    return Share(share, min(fitting, wanted, at_once), at_once, wanted, group, length, held, given is None)


def _peak(known: sizes.Sizes, at_once: int) -> int:
    """Bytes that vLLM needs beside weights and cache."""
    reading = PROMPT_TOKENS * 3 * known.intermediate * sizes.HALF
    return max(reading, at_once * known.vocabulary * SAMPLED) + GRAPHS


def trained(
    known: sizes.Sizes, trainer: dict[str, Any], adapter: dict[str, Any] | None, unsloth: bool, length: int
) -> dict[str, int]:
    """Bytes that training needs beside vLLM, by part and by arithmetic.

    An upper bound for what `estimate` counts: the trained weights with gradient and optimiser, the stream between the
    blocks, the tensors of one block, the logits, and under TRL the base's weights, which Unsloth shares with vLLM.
    """
    rows, scored = (
        value("grpo", trainer, "per_device_train_batch_size"),
        value("grpo", trainer, "max_completion_length"),
    )
    tokens = rows * length
    weights = known.adapter(adapter["r"]) if adapter else known.weights
    eight = "8bit" in value("grpo", trainer, "optim")
    states = weights * (8 + (2 if eight else 8))  # weights and gradients in float32, two moments
    base = 0 if unsloth or not adapter else known.weights * 4  # in float32, as the adapter is merged and taken out
    reference = known.weights * 4 if adapter is None and value("grpo", trainer, "beta") else 0
    kept = known.layers if value("grpo", trainer, "gradient_checkpointing") else known.layers * 8
    stream = tokens * known.hidden * sizes.HALF * kept
    block = tokens * (6 * known.intermediate + 12 * known.hidden) * sizes.HALF
    chunked = unsloth or value("grpo", trainer, "use_liger_kernel")
    logits = (math.ceil(scored / 4) if chunked else rows * scored) * known.vocabulary * 12
    parts = {"weights": base + reference, "trained": states, "activations": stream + block}
    return {**parts, "logits": logits, "runtime": CONTEXT}
