"""Loads models with transformers and PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rlvr import folders, provenance
from rlvr.errors import RlvrError

ADAPTER_FILE = "adapter_config.json"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def load_config(folder: Path) -> PretrainedConfig:
    return AutoConfig.from_pretrained(folder)


def load_model(folder: Path, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)


def end_tokens(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens at which a completion of a loaded model ends."""
    return ends(model.generation_config.eos_token_id, tokenizer)


def ends_of(folder: Path, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens at which a completion of the model in a folder ends."""
    return ends(generation_config_of(folder).eos_token_id, tokenizer)


def generation_config_of(folder: Path) -> GenerationConfig:
    """That of the model in a folder, as transformers loads it: from its file, or else from the model's config."""
    if (folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(folder)
    return GenerationConfig.from_model_config(load_config(folder))


def require_ends_of(folder: Path, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises RlvrError where completions of a loaded model end at other tokens than those of the model in `folder`."""
    wanted, found = ends_of(folder, tokenizer), end_tokens(model, tokenizer)
    if found != wanted:
        raise RlvrError(
            f"{folder}: completions of this model end at the tokens {wanted}, but as it was loaded for training they "
            f"end at {found}; the export would be refused; allowed: an engine that keeps its generation_config.json"
        )


def ends(configured: int | list[int] | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens at which a completion ends: those that the model's config names and the tokenizer's."""
    found = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in [*found, tokenizer.eos_token_id] if token is not None})


def keep_constants(model: torch.nn.Module) -> None:
    """Keeps a base in 4 bits as it was quantised.

    On a CPU with AVX512-BF16 bitsandbytes would repack its weights at the first sampling, and round the constants of
    their blocks to 16 bits for good.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def is_adapter(policy: Path) -> bool:
    return (policy / ADAPTER_FILE).is_file()


def save_policy(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the trained adapter, or all weights where there is none, and the tokenizer.

    They take the place of what an earlier run left there: an adapter beside whole weights would be loaded with them.
    """
    with folders.replaced(folder) as part:
        if isinstance(model, PeftModel):
            _sort(model.peft_config["default"])
            model.save_pretrained(part, selected_adapters=["default"])
        else:
            model.save_pretrained(part)
        tokenizer.save_pretrained(part)


def _sort(adapter: PeftConfig) -> None:
    """Gives sets, such as `target_modules`, one order in the file, whatever PYTHONHASHSEED is."""
    for name, value in vars(adapter).items():
        if isinstance(value, set):
            setattr(adapter, name, sorted(value))


def merged(base: Path, policy: Path) -> PreTrainedModel:
    """The policy as one float32 model on the CPU, whose memory is larger than a GPU's.

    An adapter is merged into the base's own weights in float32, also one trained on the base in 4 bits.
    Raises RlvrError for a policy of another base.
    """
    provenance.require_trained_on(policy, base)
    cpu = torch.device("cpu")
    if not is_adapter(policy):
        return load_model(policy, cpu, torch.float32)
    model = load_model(base, cpu, torch.float32)
    return PeftModel.from_pretrained(model, policy).merge_and_unload()
