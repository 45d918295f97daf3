"""Generation with transformers: greedy, or several samples a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from rlvr import console
from rlvr.engines.models import end_tokens, load_model, load_tokenizer

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Decoding:
    """How completions are made.

    batch_size: completions generated at once. samples: completions a prompt, drawn at `temperature`
    and `top_p`; 0: one, greedy.
    """

    max_completion_tokens: int
    batch_size: int
    samples: int = 0
    temperature: float = 1.0
    top_p: float = 1.0


class Generator:
    """Completes prompts with one model, whose own generation defaults (a repetition penalty, say) do not apply."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, decoding: Decoding) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._ends = end_tokens(model, tokenizer)
        self._copies = max(1, decoding.samples)
        self._prompts_at_once = max(1, decoding.batch_size // self._copies)
        sampling = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
        model.generation_config = GenerationConfig(
            max_new_tokens=decoding.max_completion_tokens,
            do_sample=decoding.samples > 0,
            num_return_sequences=self._copies,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=self._ends,
            **(sampling if decoding.samples else {}),
        )

    @torch.inference_mode()
    def complete(self, prompts: list[Messages], progress: tqdm | None = None) -> list[list[dict[str, Any]]]:
        """The completions of each prompt, in order: `completion`, `tokens`, `finish` (stop or length).

        Prompts are sorted by length, so that a batch holds little padding.
        """
        render = self._tokenizer.apply_chat_template
        texts = [render(prompt, tokenize=False, add_generation_prompt=True) for prompt in prompts]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        results: list[list[dict[str, Any]]] = [[]] * len(texts)
        for start in range(0, len(order), self._prompts_at_once):
            indices = order[start : start + self._prompts_at_once]
            found = self._batch([texts[i] for i in indices])
            for place, index in enumerate(indices):
                results[index] = found[place * self._copies : (place + 1) * self._copies]
            if progress is not None:
                progress.update(len(indices))
        return results

    def _batch(self, texts: list[str]) -> list[dict[str, Any]]:
        self._tokenizer.padding_side = "left"
        batch = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        batch = batch.to(self._model.device)
        output = self._model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        generated = output[:, batch["input_ids"].shape[1] :].tolist()
        return [completion_of(ids, self._ends, self._tokenizer) for ids in generated]


def completion_of(ids: list[int], ends: list[int], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What generated tokens say up to the first end token: `completion`, `tokens` and `finish` (stop or length)."""
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    kept = ids if stop is None else ids[:stop]
    return {
        "completion": tokenizer.decode(kept, skip_special_tokens=True),
        "tokens": len(ids) if stop is None else stop + 1,
        "finish": "length" if stop is None else "stop",
    }


def generate(
    model_folder: Path,
    prompts: list[Messages],
    device: torch.device,
    max_completion_tokens: int,
    batch_size: int,
    title: str,
) -> list[dict[str, Any]]:
    """One greedy completion a prompt, in order, by the model in a folder."""
    model = load_model(model_folder, device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    generator = Generator(model, load_tokenizer(model_folder), Decoding(max_completion_tokens, batch_size))
    with console.bar(title, len(prompts), "item") as progress:
        return [completions[0] for completions in generator.complete(prompts, progress)]
