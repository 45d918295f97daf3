"""The part of the scenarios that is about vLLM: what Unsloth asks of it, with an engine that only records."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import vllm
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen3Config
from unsloth_zoo import vllm_utils
from vllm.logprobs import Logprob

from rlvr.memory.vllm_share import MOST_AT_ONCE

TOKENS = [5, 6, 7]


class Engine:
    """In place of `vllm.LLM`: answers every prompt with the same tokens, at the log-probability `logprob`."""

    shared_weights = True

    def __init__(self, logprob: float) -> None:
        self._logprob = logprob
        self.calls: list[dict[str, Any]] = []

    def load_lora(self, name: str, **kwargs: Any) -> str:
        return f"adapter {name} {kwargs}"

    def generate(self, prompts: list, sampling_params: Any, use_tqdm: bool, lora_request: Any = None) -> list:
        self.calls.append({"prompts": len(prompts), "lora": lora_request, "n": sampling_params.n})
        logprobs = [{token: Logprob(logprob=self._logprob, rank=1)} for token in TOKENS]
        output = SimpleNamespace(token_ids=TOKENS, logprobs=logprobs)
        return [SimpleNamespace(prompt_token_ids=each["prompt_token_ids"], outputs=[output]) for each in prompts]


def _shape() -> Qwen3Config:
    """Of Qwen3-4B."""
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        tie_word_embeddings=True,
        dtype="bfloat16",
    )


def _load(share: float, **options: Any) -> Any:
    return vllm_utils.load_vllm(
        model_name="base",
        config=_shape(),
        gpu_memory_utilization=share,
        max_seq_length=1024,
        dtype=torch.bfloat16,
        max_lora_rank=32,
        use_bitsandbytes=False,
        **options,
    )


def asked() -> dict[str, Any]:
    """The arguments of vLLM's engine for a 4B model in 16 bits on 24 GiB."""
    variants = {"0.4": (0.4, {}), "0.6": (0.6, {}), "24 sequences": (0.6, {"max_num_seqs": 24})}
    variants["most"] = (0.6, {"max_num_seqs": MOST_AT_ONCE})
    wanted = ("gpu_memory_utilization", "max_num_seqs", "max_model_len", "logprobs_mode", "enable_lora", "max_logprobs")
    found = {}
    for name, (share, options) in variants.items():
        arguments = _load(share, return_args=True, **options)
        found[name] = {key: arguments[key] for key in wanted}
    return found


def refused() -> dict[str, Any]:
    """What comes of an engine that does not fit."""
    shares: list[float] = []

    def too_small(**arguments: Any) -> None:
        shares.append(arguments["gpu_memory_utilization"])
        raise ValueError("No available memory for the cache blocks. Try increasing `gpu_memory_utilization`")

    kept, vllm.LLM = vllm.LLM, too_small
    try:
        _load(0.4)
    except Exception as error:
        return {"shares": shares, "type": type(error).__name__, "text": str(error)}
    finally:
        vllm.LLM = kept
    return {"shares": shares, "type": None}


def adapter_folder() -> dict[str, Any]:
    """Where the config of the adapter is written that goes with each request."""
    model = get_peft_model(AutoModelForCausalLM.from_pretrained("base"), LoraConfig(target_modules=["q_proj"]))
    here = Path()
    before = set(here.iterdir())
    vllm_utils._live_lora_config(model, "vllm_gen_lora")
    made = [each for each in here.iterdir() if each not in before]
    return {each.name: [file.name for file in each.iterdir()] for each in made}


ALL = [asked, refused, adapter_folder]
