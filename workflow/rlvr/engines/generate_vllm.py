"""Generation with vLLM."""

from __future__ import annotations

import gc
import random
from pathlib import Path

import torch
from tqdm import tqdm

from rlvr.engines import vllm_environment  # noqa: F401
from rlvr.engines.decoding import Decoding, Sampled

from vllm import LLM, SamplingParams, TokensPrompt  # isort: skip
from vllm.outputs import CompletionOutput  # isort: skip
from vllm.sampling_params import RequestOutputKind  # isort: skip

BATCHES_AT_ONCE = 8
"""Between two moves of the progress bar; at the end of each the batch runs empty."""
SHARE = 0.9
"""Of the GPU memory that is free when the engine starts."""


class VllmEngine:
    """Generates with a model in a folder.

    Each sample has a seed of its own, drawn from that of the call and its place, so that what runs
    beside it does not choose its random numbers. Its logits may still differ in the last digits.

    longest: tokens of the longest prompt; None: there must be memory for all that the model takes.
    """

    def __init__(
        self, folder: Path, device: torch.device, dtype: str, decoding: Decoding, ends: list[int], longest: int | None
    ) -> None:
        self._decoding = decoding
        self._ends = ends
        self._at_once = BATCHES_AT_ONCE * max(1, decoding.batch_size // max(1, decoding.samples))
        memory = {"gpu_memory_utilization": _free_share()} if device.type == "cuda" else {"enforce_eager": True}
        self._llm = LLM(
            model=str(folder),
            dtype=dtype,
            max_num_seqs=decoding.batch_size,
            generation_config="vllm",
            logprobs_mode="raw_logprobs",
            enable_prefix_caching=False,
            max_model_len=longest + decoding.max_completion_tokens if longest else None,
            seed=0,
            **memory,
        )

    def complete(self, prompts: list[list[int]], seed: int, progress: tqdm | None) -> list[list[Sampled]]:
        found: list[list[Sampled]] = []
        for start in range(0, len(prompts), self._at_once):
            chunk = prompts[start : start + self._at_once]
            settings = [self._sampling(f"{seed} {start + i}") for i in range(len(chunk))]
            inputs = [TokensPrompt(prompt_token_ids=ids) for ids in chunk]
            outputs = self._llm.generate(inputs, settings, use_tqdm=False)
            found += [[_sampled(each) for each in sorted(o.outputs, key=lambda x: x.index)] for o in outputs]
            if progress is not None:
                progress.update(len(chunk))
        return found

    def _sampling(self, seed: str) -> SamplingParams:
        decoding = self._decoding
        sampled = {
            "n": decoding.samples,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "seed": random.Random(seed).getrandbits(31),
        }
        return SamplingParams(
            max_tokens=decoding.max_completion_tokens,
            stop_token_ids=self._ends,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            logprobs=0 if decoding.logprobs else None,  # 0: that of the chosen token and no other
            **(sampled if decoding.samples else {"temperature": 0.0}),
        )

    def close(self) -> None:
        """Gives the memory back, for what the process does next."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _sampled(output: CompletionOutput) -> Sampled:
    tokens = list(output.token_ids)
    if output.logprobs is None:
        return Sampled(tokens)
    return Sampled(tokens, [step[token].logprob for token, step in zip(tokens, output.logprobs, strict=True)])


def _free_share() -> float:
    free, total = torch.cuda.mem_get_info()
    return round(SHARE * free / total, 3)
