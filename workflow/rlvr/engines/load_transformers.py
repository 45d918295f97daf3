"""Loads a model to be trained with transformers and PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from rlvr.engines.loading import Request
from rlvr.engines.models import is_adapter, keep_constants, load_model

MERGES_TO_SYNC = True


def arguments(stage: str, options: dict[str, Any]) -> dict[str, Any]:
    return options


def load(request: Request) -> tuple[PreTrainedModel | PeftModel, LoraConfig | None]:
    """The model to train and, when it needs a fresh adapter, that adapter's config."""
    start, adapter = request.start, request.adapter
    # To hand weights to vLLM, TRL merges the adapter into the base and takes it out again, at every step: in 16 bits
    # that leaves the base another one, a third of what is learned away after 100 steps.
    dtype = torch.float32 if request.synced else getattr(torch, request.dtype)
    folder = request.base if start is None or is_adapter(start) else start
    if adapter and adapter["load_in_4bit"]:
        model = _in_4bit(folder, request.device, dtype)
    else:
        model = load_model(folder, request.device, dtype)
    if start is not None and is_adapter(start):
        return PeftModel.from_pretrained(model, start, is_trainable=True), None
    return model, _lora(adapter) if adapter else None


def _in_4bit(folder: Path, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, quantization_config=quantization, device_map={"": device}
    )
    keep_constants(model)
    return model


def _lora(adapter: dict[str, Any]) -> LoraConfig:
    return LoraConfig(
        r=adapter["r"],
        lora_alpha=adapter["alpha"],
        lora_dropout=adapter["dropout"],
        target_modules=adapter["target_modules"],
        task_type="CAUSAL_LM",
    )
