"""Loads models with transformers and PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

ADAPTER_FILE = "adapter_config.json"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def load_model(folder: Path, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)


def load_for_training(
    base: Path, start: Path | None, adapter: dict[str, Any] | None, device: torch.device
) -> tuple[PreTrainedModel | PeftModel, LoraConfig | None]:
    """The model to train and, when it needs a fresh adapter, that adapter's config.

    `start` is an earlier stage's policy: an adapter on `base`, which is trained on, or full weights.
    Full training keeps float32 weights; under an adapter a GPU holds the base in bfloat16.
    """
    frozen = torch.bfloat16 if adapter and device.type == "cuda" else torch.float32
    if start is None or is_adapter(start):
        model = load_model(base, device, frozen)
    else:
        model = load_model(start, device, frozen)
    if start is not None and is_adapter(start):
        return PeftModel.from_pretrained(model, start, is_trainable=True), None
    if adapter is None:
        return model, None
    return model, LoraConfig(
        r=adapter["r"],
        lora_alpha=adapter["alpha"],
        lora_dropout=adapter["dropout"],
        target_modules=adapter["target_modules"],
        task_type="CAUSAL_LM",
    )


def end_tokens(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens at which a completion ends: the model's own and the tokenizer's."""
    configured = model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in [*ends, tokenizer.eos_token_id] if token is not None})


def is_adapter(policy: Path) -> bool:
    return (policy / ADAPTER_FILE).is_file()


def save_policy(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the trained adapter, or all weights where there is none, and the tokenizer."""
    if isinstance(model, PeftModel):
        model.save_pretrained(folder, selected_adapters=["default"])
    else:
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def merged(base: Path, policy: Path, device: torch.device) -> PreTrainedModel:
    """The policy as one float32 model; an adapter is merged into the base in float32."""
    if not is_adapter(policy):
        return load_model(policy, device, torch.float32)
    model = load_model(base, device, torch.float32)
    return PeftModel.from_pretrained(model, policy).merge_and_unload()
