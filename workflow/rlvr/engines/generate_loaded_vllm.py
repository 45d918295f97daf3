"""Generation with the vLLM engine that GRPO samples with, while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tqdm import tqdm

from rlvr.engines.decoding import Decoding, Sampled


def capacity(trainer: Any) -> dict[str, float]:
    """What a GRPOTrainer's colocated engine came to; empty where vLLM does not sample, or on a server.

    `share` of the GPU's memory, which Unsloth may have lowered until the engine started, and `completions_at_once`, how
    many at their longest its cache holds and it works on; left out where vLLM does not say.
    """
    llm = getattr(getattr(trainer, "vllm_generation", None), "llm", None)
    if llm is None:
        return {}
    config = llm.llm_engine.vllm_config
    found, fitting = {"share": config.cache_config.gpu_memory_utilization}, config.cache_config.kv_cache_max_concurrency
    if fitting is not None:
        found["completions_at_once"] = min(int(fitting), config.scheduler_config.max_num_seqs)
    return found


class LoadedVllmEngine:
    """Generates with a GRPOTrainer's engine, colocated or on a server, with the weights of the trainer's present step.

    Requests go through TRL's own VLLMGeneration, which wakes the engine up and to which Unsloth adds the adapter. They
    have no seeds of their own: a colocated engine draws from torch's RNG state, which `complete` sets and the caller
    restores; a server has one of its own.

    ends: tokens at which a completion ends.
    """

    def __init__(self, trainer: Any, decoding: Decoding, ends: list[int]) -> None:
        self._trainer = trainer
        self._copies = max(1, decoding.samples)
        self._settings = {
            "temperature": decoding.temperature if decoding.samples else 0.0,
            "top_p": decoding.top_p,
            "top_k": 0,
            "min_p": None,
            "repetition_penalty": 1.0,
            "max_completion_length": decoding.max_completion_tokens,
            "generation_kwargs": {"stop_token_ids": ends},
            "structured_outputs_regex": None,
        }

    def complete(self, prompts: list[list[int]], seed: int, progress: tqdm | None) -> list[list[Sampled]]:
        torch.manual_seed(seed)
        self._sync()
        copies = self._copies
        repeated = [ids for ids in prompts for _ in range(copies)]
        with self._decoding() as generation:
            _, found, _, _ = generation.generate(prompts=repeated, images=None, num_generations=copies)
        if progress is not None:
            progress.update(len(prompts))
        sampled = [Sampled(list(tokens)) for tokens in found]
        return [sampled[at : at + copies] for at in range(0, len(sampled), copies)]

    def _sync(self) -> None:
        """As the trainer does before it samples, once a step."""
        trainer = self._trainer
        if trainer.state.global_step != trainer._last_loaded_step:
            trainer.vllm_generation.sync_weights()
            trainer._last_loaded_step = trainer.state.global_step

    @contextmanager
    def _decoding(self) -> Iterator[Any]:
        generation = self._trainer.vllm_generation
        before = {name: getattr(generation, name) for name in self._settings}
        vars(generation).update(self._settings)
        try:
            yield generation
        finally:
            vars(generation).update(before)

    def close(self) -> None:
        """The engine stays the trainer's."""
