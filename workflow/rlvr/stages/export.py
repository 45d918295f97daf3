"""Merges a trained policy into a 16-bit model that any runtime can load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from rlvr import folders, protocol, protocol_lock, provenance
from rlvr.engines import models
from rlvr.errors import RlvrError
from rlvr.protocol import Protocol

SHARD = "5GB"
"""Largest file of weights; the hub and most loaders do best with shards of this size."""

README = """# {title}

A model from an RLVR workflow, with its training merged in, as {dtype} safetensors. The prompt format is the chat
template that comes with the tokenizer; `generation_config.json` holds the tokens at which training ended a completion.

Its model card, with what it was trained on, its accuracy and an example of use, is `report/models/{slug}.md` in the
folder of the experiment, made by the report once the model has been evaluated. To publish the model, put that file in
the place of this one.

Made from the policy of identity `{policy}` (sha256 over the digests in its manifest).
"""


def run(config: dict[str, Any], *, base: Path, policy: Path, weights: Path) -> dict[str, Any]:
    """Writes the merged model, its tokenizer, its stop tokens and a note on where its card is to the folder `weights`.

    Merging and adding up happen in float32, so that the weights are rounded once, to the stored type. Raises RlvrError
    where the tokenizers of base and policy are not those of the policy's protocol, or where merged weights are not
    finite.
    """
    _require_whole_weights(base)
    tokenizer = models.load_tokenizer(policy)
    model = models.merged(base, policy).to(getattr(torch, config["dtype"]))
    _require_finite(model, policy, config["dtype"])
    met = _met(base, policy, model, tokenizer)
    model.generation_config = stopping(model, tokenizer)
    folders.require_replaceable(weights)
    with folders.replaced(weights) as part:
        model.save_pretrained(part, max_shard_size=SHARD)
        tokenizer.save_pretrained(part)
        _require_same_prompts(tokenizer, part)
        (part / "README.md").write_text(_readme(config["dtype"], policy, weights), encoding="utf-8")
    return {"device": "cpu", "merged_adapter": models.is_adapter(policy), "protocol": protocol.facts(met)}


def _met(base: Path, policy: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Protocol]:
    """The prompt part of the policy's protocols, under its tokenizer as it is."""
    given = protocol_lock.stored(policy)
    met = protocol_lock.under(given.values(), tokenizer, models.end_tokens(model, tokenizer))
    protocol_lock.require_same(met.values(), given, f"the tokenizer of {policy}", "its manifest")
    of_base = models.load_tokenizer(base)
    under_base = protocol_lock.under(given.values(), of_base, models.ends_of(base, of_base))
    protocol_lock.require_same(under_base.values(), met, f"the tokenizer of {base}", str(policy))
    return {task: each.prompt_part() for task, each in met.items()}


def stopping(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Stop where training stopped, and nothing else.

    The base's sampling defaults are left out: a repetition penalty or a nucleus, which vLLM and `generate` would
    apply by themselves, is what neither training nor evaluation knew.
    """
    return GenerationConfig(
        bos_token_id=model.generation_config.bos_token_id,
        eos_token_id=models.end_tokens(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )


def _require_whole_weights(base: Path) -> None:
    """Raises RlvrError for a base whose files are quantised: an adapter merged into them would be rounded away."""
    quantised = json.loads((base / "config.json").read_text(encoding="utf-8")).get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown")
        raise RlvrError(
            f"{base}: its weights are quantised ({method}), so that no adapter can be merged into them; allowed: the "
            "same base in 16 or 32 bits, with adapter.load_in_4bit: true to train on it in 4 bits"
        )


def _require_finite(model: PreTrainedModel, policy: Path, dtype: str) -> None:
    """Raises RlvrError naming the first weights that are NaN, or too large for the type that they are stored in."""
    for name, weights in model.named_parameters():
        if not torch.isfinite(weights).all():
            raise RlvrError(
                f"{policy}: merged and stored as {dtype}, its weights {name} are not finite, so that it can't be "
                "used; allowed: export.dtype: bfloat16, or training again at a lower learning rate"
            )


def _require_same_prompts(tokenizer: PreTrainedTokenizerBase, weights: Path) -> None:
    """Raises RlvrError where the stored tokenizer would not render or end a prompt as the one trained with."""
    stored = models.load_tokenizer(weights)
    for name in ("chat_template", "eos_token_id", "pad_token_id"):
        wanted, found = getattr(tokenizer, name), getattr(stored, name)
        if wanted != found:
            raise RlvrError(f"{weights}: the tokenizer's {name} was stored as {found!r}, but training had {wanted!r}")


def _readme(dtype: str, policy: Path, weights: Path) -> str:
    arm = "/".join(weights.parts[:-1]).rpartition("model/")[2]
    return README.format(
        title=arm, slug=arm.replace("/", "-"), dtype=dtype, policy=provenance.identity(policy) or "unknown"
    )
