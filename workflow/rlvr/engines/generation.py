"""Greedy generation with transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from rlvr import console
from rlvr.engines.models import end_tokens, load_model, load_tokenizer


def generate(
    model_folder: Path,
    prompts: list[list[dict[str, str]]],
    device: torch.device,
    max_completion_tokens: int,
    batch_size: int,
    title: str,
) -> list[dict[str, Any]]:
    """One greedy completion a prompt, in order: `completion`, `tokens`, `finish` (stop or length).

    Prompts are sorted by length, so that a batch holds little padding. The model's own generation
    defaults (a repetition penalty, say) do not apply.
    """
    tokenizer = load_tokenizer(model_folder)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = load_model(model_folder, device, dtype).eval()
    ends = end_tokens(model, tokenizer)
    model.generation_config = GenerationConfig(
        max_new_tokens=max_completion_tokens,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=ends,
    )
    texts = [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
    results: list[dict[str, Any]] = [{}] * len(texts)
    with console.bar(title, len(texts), "item") as progress, torch.inference_mode():
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            tokenizer.padding_side = "left"
            batch = tokenizer(
                [texts[i] for i in indices], return_tensors="pt", padding=True, add_special_tokens=False
            ).to(device)
            output = model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            output = output[:, batch["input_ids"].shape[1] :]
            for index, ids in zip(indices, output.tolist(), strict=True):
                results[index] = _completion(ids, ends, tokenizer)
            progress.update(len(indices))
    return results


def _completion(ids: list[int], ends: list[int], tokenizer: Any) -> dict[str, Any]:
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    kept = ids if stop is None else ids[:stop]
    return {
        "completion": tokenizer.decode(kept, skip_special_tokens=True),
        "tokens": len(ids) if stop is None else stop + 1,
        "finish": "length" if stop is None else "stop",
    }
