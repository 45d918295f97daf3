"""Loads a model to be trained with Unsloth, under TRL's trainers.

On a GPU Unsloth patches TRL, transformers and PEFT, and has to be imported before them. On a CPU it
patches none of them and brings its own loading and a chunked cross entropy.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from rlvr import console, user_cache

os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(user_cache.folder() / "unsloth"))
# Releases after 2026.10.7 fold the adapter into the base for each rollout unless told not to; the base stays as it is.
os.environ.setdefault("UNSLOTH_VLLM_MERGED_ROLLOUT", "0")
if _early := [name for name in ("trl", "transformers", "peft") if name in sys.modules]:
    console.note(f"unsloth: {', '.join(_early)} came first; on a GPU some of its speed is lost")

import unsloth

import torch  # isort: skip
from peft import PeftModel, load_peft_weights, set_peft_model_state_dict  # isort: skip

from rlvr.engines import unsloth_options
from rlvr.engines.loading import Request
from rlvr.engines.models import is_adapter, keep_constants
from rlvr.errors import RlvrError

MERGES_TO_SYNC = False  # vLLM shares the base's weights and gets the adapter beside them


def arguments(stage: str, options: dict[str, Any]) -> dict[str, Any]:
    """On a GPU Unsloth has replaced TRL's config classes by its own, with other defaults."""
    return unsloth_options.as_trl(stage, options)


def load(request: Request) -> tuple[PeftModel, None]:
    """The model with its adapter, which continues that of `start` where there is one."""
    start, adapter = request.start, request.adapter
    if start is not None and not is_adapter(start):
        raise RlvrError(f"{start}: holds all weights, not an adapter; engines.training: unsloth goes with one only")
    vllm = {"fast_inference": True, "gpu_memory_utilization": request.vllm, "max_lora_rank": adapter["r"]}
    vllm |= {"max_num_seqs": request.at_once} if request.at_once else {}  # without, a few by a table of memory
    model, _ = unsloth.FastLanguageModel.from_pretrained(
        str(request.base),
        max_seq_length=request.longest,
        dtype=getattr(torch, request.dtype),
        load_in_4bit=adapter["load_in_4bit"],
        **(vllm if request.vllm else {}),
    )
    keep_constants(model)
    model = unsloth.FastLanguageModel.get_peft_model(
        model,
        r=adapter["r"],
        lora_alpha=adapter["alpha"],
        lora_dropout=adapter["dropout"],
        target_modules=adapter["target_modules"],
        use_gradient_checkpointing="unsloth" if request.checkpointing else False,
        random_state=request.seed,
    )
    if start is not None:
        _continue(model, start)
    if hasattr(model, "load_lora"):
        _keep_loras_in(request.scratch.resolve(), model)
    return model, None


def _keep_loras_in(folder: Path, model: PeftModel) -> None:
    """Unsloth hands vLLM the adapter by way of a folder, which it would create in the working directory."""
    load_lora = model.load_lora
    model.load_lora = lambda name, *given, **named: load_lora(str(folder / name), *given, **named)


def _continue(model: PeftModel, start: Path) -> None:
    """Puts the weights of an adapter that lies in a folder into the model's own."""
    loaded = set_peft_model_state_dict(model, load_peft_weights(str(start), device="cpu"))
    absent = [key for key in loaded.missing_keys if "lora_" in key]
    if absent or loaded.unexpected_keys:
        raise RlvrError(
            f"{start}: does not fit this adapter ({len(absent)} weights missing, {len(loaded.unexpected_keys)} unknown)"
        )
