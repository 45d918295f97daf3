"""Generation with transformers, in batches sorted by length and padded on the left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedModel

from rlvr.engines.decoding import Decoding, Sampled
from rlvr.engines.logprobs import Recorder


class TransformersEngine:
    """Generates with a loaded model and leaves its mode and its generation config as they were."""

    def __init__(self, model: PreTrainedModel, decoding: Decoding, ends: list[int], pad: int) -> None:
        self._model = model
        self._pad = pad
        self._logprobs = decoding.logprobs
        self._copies = max(1, decoding.samples)
        self._prompts_at_once = max(1, decoding.batch_size // self._copies)
        sampling = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
        self._settings = GenerationConfig(
            max_new_tokens=decoding.max_completion_tokens,
            do_sample=decoding.samples > 0,
            num_return_sequences=self._copies,
            pad_token_id=pad,
            eos_token_id=ends,
            **(sampling if decoding.samples else {}),
        )

    def complete(self, prompts: list[list[int]], seed: int, progress: tqdm | None) -> list[list[Sampled]]:
        """Prompts are sorted by length, so that a batch holds little padding."""
        with self._answering(), torch.inference_mode():
            return self._complete(prompts, seed, progress)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        # In place of the model's own: `generate` fills what a config passed to it leaves out from that one.
        model = self._model
        before, training = model.generation_config, model.training
        model.generation_config = self._settings
        model.eval()
        try:
            yield
        finally:
            model.generation_config = before
            model.train(training)

    def _complete(self, prompts: list[list[int]], seed: int, progress: tqdm | None) -> list[list[Sampled]]:
        torch.manual_seed(seed)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
        results: list[list[Sampled]] = [[]] * len(prompts)
        for start in range(0, len(order), self._prompts_at_once):
            indices = order[start : start + self._prompts_at_once]
            found = self._batch([prompts[i] for i in indices])
            for place, index in enumerate(indices):
                results[index] = found[place * self._copies : (place + 1) * self._copies]
            if progress is not None:
                progress.update(len(indices))
        return results

    def _batch(self, prompts: list[list[int]]) -> list[Sampled]:
        left = {"batch_first": True, "padding_side": "left"}
        ids = pad_sequence([torch.tensor(prompt) for prompt in prompts], padding_value=self._pad, **left)
        mask = pad_sequence([torch.ones(len(prompt), dtype=torch.long) for prompt in prompts], **left)
        device = self._model.device
        recorder = Recorder() if self._logprobs else None
        watched = {"logits_processor": [recorder]} if recorder else {}
        output = self._model.generate(input_ids=ids.to(device), attention_mask=mask.to(device), **watched)
        found = output[:, ids.shape[1] :].tolist()
        if recorder is None:
            return [Sampled(tokens) for tokens in found]
        return [Sampled(*both) for both in zip(found, recorder.of(output).tolist(), strict=True)]

    def close(self) -> None:
        pass
