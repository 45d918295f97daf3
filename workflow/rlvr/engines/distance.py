"""How far apart two models are: by what they say after the same tokens, and weight by weight."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, PreTrainedModel

from rlvr.engines import models

TOP = 10
"""Most probable tokens of the reference among which log-probabilities are compared."""

AT_ONCE = 8
"""Sequences in one forward."""

SHARE = 1e-3
"""Share of a weight's numbers that may be another than the nearest to what is expected."""


@dataclass(frozen=True)
class Difference:
    """A stored weight that is not what it should be. relative: norm of the difference by that of the expected weight.

    share: of its numbers that are not those expected, rounded to the stored type.
    """

    layer: str
    relative: float
    share: float

    def __str__(self) -> str:
        return f"{self.layer} ({self.relative:.2%} of its norm, {self.share:.1%} of its numbers)"


def answer(model: PreTrainedModel | PeftModel, prompts: list[list[int]], longest: int, pad: int) -> list[list[int]]:
    """The model's greedy answer to each prompt, tokens, with the end token where it came to one."""
    settings = GenerationConfig(
        max_new_tokens=longest, do_sample=False, pad_token_id=pad, eos_token_id=model.generation_config.eos_token_id
    )
    ends = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    found = []
    for start in range(0, len(prompts), AT_ONCE):
        ids, mask = _padded(prompts[start : start + AT_ONCE], pad)
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=settings
            )
        for tokens in output[:, ids.shape[1] :].tolist():
            stop = next((at for at, token in enumerate(tokens) if token in ends), len(tokens) - 1)
            found.append(tokens[: stop + 1])
    return found


def predictions(
    model: PreTrainedModel | PeftModel, prompts: list[list[int]], answers: list[list[int]], pad: int
) -> Iterator[torch.Tensor]:
    """Log-probabilities of all tokens at each place of an answer, float32 on the CPU, (tokens, vocabulary) each."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    keeps = "logits_to_keep" in inspect.signature(inner.forward).parameters
    for start in range(0, len(prompts), AT_ONCE):
        several = answers[start : start + AT_ONCE]
        whole = [prompt + answer for prompt, answer in zip(prompts[start:], several, strict=False)]
        ids, mask = _padded(whole, pad)
        places = (mask.cumsum(dim=-1) - 1).clamp(min=0)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        inputs = {name: each.to(model.device) for name, each in inputs.items()}
        last = {"logits_to_keep": max(map(len, several)) + 1} if keeps else {}
        with torch.inference_mode():
            logits = model(**inputs, **last, use_cache=False).logits
        for row, answer in zip(logits, several, strict=True):
            yield row[-len(answer) - 1 : -1].float().log_softmax(dim=-1).cpu()


def _padded(sequences: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask, padded on the left."""
    settings = {"batch_first": True, "padding_side": "left"}
    ids = pad_sequence([torch.tensor(tokens) for tokens in sequences], padding_value=pad, **settings)
    return ids, pad_sequence([torch.ones(len(tokens), dtype=torch.long) for tokens in sequences], **settings)


def compare(reference: list[torch.Tensor], other: Iterator[torch.Tensor]) -> dict[str, float]:
    """Means and extremes over all tokens of all answers, of log-probabilities as `predictions` gives them.

    mean_kl, max_kl: of KL(reference || other) at a token, nats. agreement: share of tokens with the same most probable
    one. max_logit_difference: of a log-probability, among the reference's `TOP` most probable tokens.
    """
    kl, same, largest = [], [], []
    for wanted, found in zip(reference, other, strict=True):
        kl.append((wanted.exp() * (wanted - found)).nan_to_num(nan=math.inf).sum(dim=-1).clamp(min=0))
        same.append(wanted.argmax(dim=-1) == found.argmax(dim=-1))
        top, places = wanted.topk(min(TOP, wanted.shape[-1]))
        largest.append((top - found.gather(-1, places)).abs().nan_to_num(nan=math.inf).amax(dim=-1))
    tokens = torch.cat(kl)
    return {
        "tokens": len(tokens),
        "mean_kl": tokens.mean().item(),
        "max_kl": tokens.max().item(),
        "agreement": torch.cat(same).float().mean().item(),
        "max_logit_difference": torch.cat(largest).max().item(),
    }


def differing(base: Path, policy: Path, weights: Path) -> tuple[list[Difference], int]:
    """The stored weights that differ from the policy's, in the order of the model's modules, and how many were held.

    The policy's weights are its own, or the base's plus what the adapter's two matrices say, in float32. A weight
    differs where rounding to the stored type can't explain it: more than `SHARE` of its numbers are not the nearest,
    or the whole is twice as far away.
    """
    adapter = models.is_adapter(policy)
    model = models.load_model(base if adapter else policy, torch.device("cpu"), torch.float32)
    expected, changes = model.state_dict(), _changes(policy) if adapter else {}
    stored = {name: file for file in sorted(weights.glob("*.safetensors")) for name in _names(file)}
    found, held = [], 0
    for layer in changes:
        if f"{layer}.weight" not in expected or f"{layer}.weight" not in stored:
            found.append(Difference(f"{layer}: is not stored under that name", math.inf, 1.0))
    for name in expected:
        if name not in stored:
            continue
        held += 1
        wanted = expected[name]
        module = name.rpartition(".")[0]
        if name.endswith(".weight") and module in changes:
            a, b, scale = changes[module]
            wanted = wanted + scale * (b.float() @ a.float())
        with safe_open(stored[name], framework="pt") as file:
            difference = _difference(name, wanted, file.get_tensor(name))
        if difference is not None:
            found.append(difference)
    return found, held


def _difference(name: str, wanted: torch.Tensor, stored: torch.Tensor) -> Difference | None:
    error = (stored.float() - wanted).abs()
    least = (wanted.to(stored.dtype).float() - wanted).abs()
    norm = wanted.norm().item()
    # float32 sums in another order differ in their last digits
    slack = 1e-5 * wanted.abs() + 1e-6 * norm / math.sqrt(max(1, wanted.numel()))
    share = 1 - (error <= least + slack).float().mean().item()  # NaN counts as beyond
    if share <= SHARE and error.norm() <= 2 * least.norm() + 1e-5 * norm:
        return None
    return Difference(name.removesuffix(".weight"), error.norm().item() / norm if norm else math.inf, share)


def _names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as opened:
        return list(opened.keys())


def _changes(policy: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor, float]]:
    """A (r, in), B (out, r) and scale of each layer that has an adapter, by the layer's name in the base."""
    config: dict[str, Any] = json.loads((policy / models.ADAPTER_FILE).read_text(encoding="utf-8"))
    tensors: dict[str, torch.Tensor] = {}
    for path in policy.glob("adapter_model*.safetensors"):
        with safe_open(path, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found = {}
    for name, a in tensors.items():
        layer, mark, _ = name.removeprefix("base_model.model.").partition(".lora_A.")
        if mark:
            rank = a.shape[0]
            root = math.sqrt(rank) if config.get("use_rslora") else rank
            found[layer] = (a, tensors[name.replace(".lora_A.", ".lora_B.")], config["lora_alpha"] / root)
    return found
