"""Completions of prompts by one model: greedy, or several samples a prompt.

The engine is `generate_transformers` or `generate_vllm`; what the prompts are in tokens, where a
completion ends and what it says are decided here, for both.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from rlvr import chat_template, console
from rlvr.engines import lengths, models
from rlvr.engines.decoding import Decoding, Sampled
from rlvr.engines.device import half
from rlvr.engines.generate_loaded_vllm import LoadedVllmEngine
from rlvr.engines.generate_transformers import TransformersEngine
from rlvr.errors import RlvrError

Messages = list[dict[str, str]]


class Engine(Protocol):
    """Completes prompts that are given as tokens."""

    def complete(self, prompts: list[list[int]], seed: int, progress: tqdm | None) -> list[list[Sampled]]:
        """Each prompt's completions, in order."""

    def close(self) -> None: ...


class Generator:
    """Completes prompts with one model, whose own generation defaults (a repetition penalty, say) do not apply.

    ends: tokens at which a completion ends. limit: longest sequence that the model takes, tokens.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: PreTrainedTokenizerBase,
        ends: list[int],
        decoding: Decoding,
        limit: int | None,
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._ends = ends
        self._decoding = decoding
        self._limit = limit
        self._prefixes = chat_template.Prefixes(tokenizer)

    @classmethod
    def open(
        cls,
        engine: str,
        folder: Path,
        device: torch.device,
        decoding: Decoding,
        dtype: str | None = None,
        longest: int | None = None,
    ) -> Generator:
        """The model in a folder. dtype: `bfloat16`, `float16` or `float32`; None: 16 bits on a GPU, 32 on a CPU.

        longest: tokens of the longest prompt there will be, by which vLLM plans its memory.
        """
        tokenizer = models.load_tokenizer(folder)
        ends = models.ends_of(folder, tokenizer)
        dtype = dtype or (half(device) if device.type == "cuda" else "float32")
        if engine == "vllm":
            from rlvr.engines.generate_vllm import VllmEngine

            opened: Engine = VllmEngine(folder, device, dtype, decoding, ends, longest)
        else:
            model = models.load_model(folder, device, getattr(torch, dtype))
            opened = TransformersEngine(model, decoding, ends, tokenizer.pad_token_id)
        return cls(opened, tokenizer, ends, decoding, lengths.limit(folder))

    @classmethod
    def in_training(cls, trainer: Any, tokenizer: PreTrainedTokenizerBase, decoding: Decoding) -> Generator:
        """The model of a GRPOTrainer, by the engine that it samples with; both are left as they were."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        model = model.get_base_model() if isinstance(model, PeftModel) else model
        ends = models.end_tokens(model, tokenizer)
        limit = getattr(model.config, "max_position_embeddings", None)
        engine = (
            LoadedVllmEngine(trainer, decoding, ends)
            if trainer.use_vllm
            else TransformersEngine(model, decoding, ends, tokenizer.pad_token_id)
        )
        return cls(engine, tokenizer, ends, decoding, limit)

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.close()

    def complete(self, prompts: list[Messages], seed: int, progress: tqdm | None = None) -> list[list[dict[str, Any]]]:
        """The completions of each prompt, in order: `completion`, `tokens`, `finish` (stop or length), and
        where the decoding asks for it `logprobs`, one a token.

        A completion begins with what the generation prompt has already said of it, which no token or log-probability
        is counted for.

        seed: of the samples. Raises RlvrError for a prompt that leaves too little room for a completion.
        """
        ids = encode(self._tokenizer, prompts)
        self._require_room(ids)
        found = self._engine.complete(ids, seed, progress)
        return [
            [completion_of(each, self._ends, self._tokenizer, self._prefixes.of(prompt)) for each in group]
            for prompt, group in zip(prompts, found, strict=True)
        ]

    def _require_room(self, prompts: list[list[int]]) -> None:
        wanted = self._decoding.max_completion_tokens
        longest = max(map(len, prompts), default=0)
        if self._limit and longest + wanted > self._limit:
            number = next(i for i, ids in enumerate(prompts) if len(ids) == longest)
            lower = f"up to {self._limit - longest}, or " if longest < self._limit else ""
            raise RlvrError(
                f"max_completion_tokens: {wanted} and the {longest} tokens of prompt {number + 1} are more than the "
                f"model takes ({self._limit}); allowed: {lower}shorter prompts, or a model that takes more"
            )


def encode(tokenizer: PreTrainedTokenizerBase, prompts: list[Messages]) -> list[list[int]]:
    """The prompts under the chat template, with the header of the answer."""
    texts = [chat_template.generation_prompt(tokenizer, each) for each in prompts]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def completion_of(
    sampled: Sampled, ends: list[int], tokenizer: PreTrainedTokenizerBase, prefix: str = ""
) -> dict[str, Any]:
    """What generated tokens say after the prefix, up to the first end token: `completion`, `tokens` and `finish` (stop
    or length).

    `logprobs`, where they were kept, include that of the end token.
    """
    ids = sampled.tokens
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    kept = ids if stop is None else ids[:stop]
    tokens = len(ids) if stop is None else stop + 1
    return {
        "completion": prefix + tokenizer.decode(kept, skip_special_tokens=True),
        "tokens": tokens,
        "finish": "length" if stop is None else "stop",
        **({} if sampled.logprobs is None else {"logprobs": sampled.logprobs[:tokens]}),
    }


def generate(
    engine: str, folder: Path, prompts: list[Messages], device: torch.device, decoding: Decoding, seed: int, title: str
) -> tuple[list[list[dict[str, Any]]], float]:
    """The completions of each prompt, in order, by the model in a folder, and the seconds that took without loading."""
    longest = max(lengths.Lengths(folder).conversations(prompts), default=1)
    with (
        Generator.open(engine, folder, device, decoding, longest=longest) as generator,
        console.bar(title, len(prompts), "item") as progress,
    ):
        began = time.monotonic()
        return generator.complete(prompts, seed, progress), round(time.monotonic() - began, 2)
