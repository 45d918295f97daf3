"""What one step of each kind computes, with TRL 1.14.2's shapes and copies; run on tensors without data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CHUNK = 256
"""Tokens that `chunked_nll` scores at once; `_CHUNKED_LM_HEAD_CHUNK_SIZE` in TRL."""
ENTROPY_CHUNK = 128
PIECES = 16


@dataclass(frozen=True)
class Training:
    """One forward and backward pass.

    rows, length: of the padded batch. scored: last tokens of each row that are scored.
    loss: `chunked`, whose logits exist for `CHUNK` tokens at a time; `nll` and `policy`, for the whole batch.
    fused: by TRL's Triton kernel, which GRPO has on a GPU.
    """

    rows: int
    length: int
    scored: int
    loss: Literal["chunked", "nll", "policy"]
    temperature: float = 1.0
    fused: bool = False


@dataclass(frozen=True)
class Sampling:
    """Completing `rows` prompts at once; lengths in tokens."""

    rows: int
    prompt: int
    completion: int


def train(model: torch.nn.Module, step: Training) -> None:
    """Leaves the gradients on the model."""
    device = next(model.parameters()).device
    ids = torch.randint(0, model.config.vocab_size, (step.rows, step.length), device=device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    if step.loss == "chunked":
        inner = model.get_base_model() if hasattr(model, "peft_config") else model
        hidden = inner.base_model(**inputs).last_hidden_state
        loss = _chunked(hidden, inner.get_output_embeddings(), ids, step.scored)
    elif step.loss == "nll":
        output = model(**inputs, labels=ids)
        loss = output.loss
        with torch.no_grad():
            _entropy(output.logits[..., :-1, :])
    else:
        logits = model(**inputs, logits_to_keep=step.scored + 1).logits.float()
        loss = _policy(logits[:, :-1][:, -step.scored :], ids[:, -step.scored :], step)
    loss.backward()


def _chunked(hidden: torch.Tensor, head: torch.nn.Linear, labels: torch.Tensor, scored: int) -> torch.Tensor:
    flat = hidden[:, :-1].reshape(-1, hidden.shape[-1])
    flat = flat[torch.arange(len(flat), device=flat.device)]
    labels = labels[:, 1:].reshape(-1)
    total = hidden.new_zeros((), dtype=torch.float32)
    for start in range(0, min(len(flat), len(hidden) * scored), CHUNK):
        part = slice(start, start + CHUNK)
        total = total + checkpoint(_chunk, flat[part], head.weight, labels[part], use_reentrant=False)
    return total


def _chunk(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = (hidden @ weight.to(hidden.dtype).t()).float()
    scores = F.log_softmax(logits, dim=-1)
    loss = F.nll_loss(scores, labels, reduction="sum")
    return loss + 0 * (-(scores.exp() * scores).sum(dim=-1)).sum().detach()


def _policy(logits: torch.Tensor, labels: torch.Tensor, step: Training) -> torch.Tensor:
    if step.fused:
        return _Fused.apply(logits).sum()
    if step.temperature != 1.0:
        logits = logits / step.temperature
    chosen = torch.gather(logits, dim=-1, index=labels[..., None])
    # TRL goes row by row; pieces hold as much and take a fraction of the time to count.
    pieces = logits.split(math.ceil(len(logits) / PIECES))
    normal = torch.cat([torch.logsumexp(piece, dim=-1) for piece in pieces])
    with torch.no_grad():
        _entropy(logits)
    return (chosen - normal[..., None]).sum()


def _entropy(logits: torch.Tensor) -> None:
    for chunk in logits.reshape(-1, logits.shape[-1]).split(ENTROPY_CHUNK, dim=0):
        scores = F.log_softmax(chunk, dim=-1)
        -(torch.exp(scores) * scores).sum(-1)


class _Fused(torch.autograd.Function):
    """The tensors that TRL's kernel makes: a float a token, and a gradient of the size of the logits."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits)
        return logits.new_zeros(logits.shape[:-1])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(ctx.saved_tensors[0], memory_format=torch.contiguous_format)


@torch.no_grad()
def sample(model: torch.nn.Module, step: Sampling) -> None:
    """The prompt, then the last token: all before it is in the cache."""
    if model.is_gradient_checkpointing:
        model.gradient_checkpointing_disable()
    device = next(model.parameters()).device
    mask = torch.ones((step.rows, step.prompt), dtype=torch.long, device=device)
    ids = torch.zeros_like(mask)
    output = model(input_ids=ids, attention_mask=mask, use_cache=True, logits_to_keep=1)
    cache = output.past_key_values
    _draw(output.logits)
    for layer in cache.layers:
        rest = [layer.keys.new_zeros((*layer.keys.shape[:2], step.completion - 1, layer.keys.shape[-1]))]
        layer.keys, layer.values = (torch.cat([part, *rest], dim=-2) for part in (layer.keys, layer.values))
    whole = torch.ones((step.rows, step.prompt + step.completion), dtype=torch.long, device=device)
    output = model(
        input_ids=ids[:, -1:],
        attention_mask=whole,
        position_ids=whole[:, -1:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    _draw(output.logits)


def _draw(logits: torch.Tensor) -> torch.Tensor:
    scores = logits[:, -1].to(copy=True, dtype=torch.float32)
    return F.softmax(scores / 0.9, dim=-1).argmax(dim=-1)
