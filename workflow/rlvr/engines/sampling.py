"""Compares what samples within GRPO with what trains: both should give a sampled token the same probability."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import pad

from rlvr.engines.logprobs import Recorder
from rlvr.errors import RlvrError

MEAN, MAX = "sampling/sampling_logp_difference/mean", "sampling/sampling_logp_difference/max"
"""As TRL names what it measures itself where vLLM samples."""
ENTROPY = "entropy"
"""As TRL names the mean entropy of a completion token, nats."""
SECONDS = "sampling_time"
"""Of sampling alone, in seconds, handing new weights to vLLM among it; TRL's `step_time` holds it and the rest."""


class WatchedTrainer(GRPOTrainer):
    """A GRPOTrainer that logs how far the log-probabilities of sampled tokens differ between sampler and trainer.

    With vLLM, TRL measures it over all completions, as it samples or, under Unsloth on a GPU, with the loss; with
    transformers it is measured here, over the first group of a step, with TRL's own forward of the loss. All are of the
    distribution at the sampling temperature, ours before top-k and top-p. Not measured where other changes of the
    logits come first (a repetition penalty, `generation_kwargs`), or where Unsloth has replaced the trainer's forward
    on a GPU and transformers samples.

    The entropy that TRL logs is lacking in Unsloth's loss on a GPU: there it is estimated from what vLLM sampled.

    most: raises RlvrError where a step's mean is above it, before the weights change; None: never.
    """

    passes = 0
    """Over the training rows, which a run had made before it went on."""

    def __init__(self, *args: Any, max_logp_difference: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most = max_logp_difference
        self._measured = -1
        self._values: list[float] = []
        self._checked = 0

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        if self.model.training and self.accelerator.sync_gradients:  # the last micro-batch of a step
            self._require_close()
        return loss

    def _require_close(self) -> None:
        """Raises RlvrError where the mean of what was logged since the last call is above the bound, or not a number.

        One value for each batch that was sampled, or, under Unsloth, for each micro-batch.
        """
        values = self._metrics["train"].get(MEAN, [])
        if values is not self._values:  # the trainer starts a new list once it has logged
            self._values, self._checked = values, 0
        new, self._checked = values[self._checked :], len(values)
        mean = sum(new) / len(new) if new else 0.0
        if self._most is not None and not mean <= self._most:
            raise RlvrError(
                f"grpo.max_logp_difference: the log-probabilities of sampled tokens differ by {mean:.3g} on "
                f"average between what sampled and what trains, at step {self.state.global_step + 1}; allowed: "
                f"{self._most:g} or less; one of them has stale or wrong weights"
            )

    def _get_train_sampler(self, *given: Any, **named: Any) -> Any:
        """TRL's sampler, past the orders of the passes that were made; TRL begins with that of the first again."""
        sampler = super()._get_train_sampler(*given, **named)
        for _ in range(self.passes if sampler.shuffle else 0):
            torch.randperm(sampler.num_samples, generator=sampler.generator)
        return sampler

    def _generate_single_turn(self, prompt_ids: list[list[int]], *given: Any, **named: Any) -> tuple[Any, Any]:
        if not self._measures():
            completion_ids, logprobs = self._timed(prompt_ids, *given, **named)
            if _patched() and logprobs is not None:
                self._metrics["train" if self.model.training else "eval"][ENTROPY].append(sampled_entropy(logprobs))
            return completion_ids, logprobs
        self._measured, rows = self.state.global_step, self.num_generations
        recorder = Recorder(rows, self.temperature)
        with _recorded(self.accelerator.unwrap_model(self.model), recorder) as sampled:
            completion_ids, logprobs = self._timed(prompt_ids, *given, **named)
        self._compare(prompt_ids[:rows], completion_ids[:rows], sampled[0])
        return completion_ids, logprobs

    def _timed(self, *given: Any, **named: Any) -> tuple[Any, Any]:
        mode, began = "train" if self.model.training else "eval", time.perf_counter()
        found = super()._generate_single_turn(*given, **named)
        self._metrics[mode][SECONDS].append(time.perf_counter() - began)
        return found

    def _measures(self) -> bool:
        """Once a step: with dynamic choice of prompts the first round stands for all."""
        plain = self.repetition_penalty in (None, 1.0) and not self.args.generation_kwargs
        ours = not self.use_vllm and not self.use_transformers_continuous_batching and not _patched()
        return plain and ours and self.model.training and self._measured != self.state.global_step

    def _compare(self, prompts: list[list[int]], completions: list[list[int]], sampled: torch.Tensor) -> None:
        """Logs mean and largest difference over the tokens of some completions. sampled: (completions, tokens)."""
        device, padding = self.accelerator.device, self._tokenizer.pad_token_id
        ids, mask = [], []
        for sequences, side in ((prompts, "left"), (completions, "right")):
            tensors = [torch.tensor(tokens, device=device) for tokens in sequences]
            ids.append(pad(tensors, padding_value=padding, padding_side=side))
            mask.append(pad([torch.ones_like(each) for each in tensors], padding_value=0, padding_side=side))
        width = ids[1].shape[1]
        checkpointing = disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs)
        with torch.no_grad(), checkpointing, _without_dropout(self.model):
            trained = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat(ids, dim=1),
                torch.cat(mask, dim=1),
                width,
                batch_size=self.args.per_device_train_batch_size,
            )[0]
        difference = (trained - sampled[:, :width]).abs()[mask[1].bool()]
        self._metrics["train"][MEAN].append(difference.mean().item())
        self._metrics["train"][MAX].append(difference.max().item())


def sampled_entropy(logprobs: list[list[float | None]]) -> float:
    """Unbiased estimate of the mean entropy of a token, nats: of -log p over tokens drawn from p.

    logprobs: of each token of each completion under the distribution it was drawn from; None is left out.
    """
    known = [value for completion in logprobs for value in completion if value is not None]
    return -sum(known) / len(known) if known else math.nan


def _patched() -> bool:
    """Whether Unsloth has replaced TRL's trainer."""
    return torch.cuda.is_available() and "unsloth" in sys.modules


@contextmanager
def _recorded(model: Any, recorder: Recorder) -> Iterator[list[torch.Tensor]]:
    """Hands the recorder to the model's `generate`, which TRL offers no way to; yields what it found."""
    generate = model.generate
    found: list[torch.Tensor] = []

    def recording(*args: Any, **kwargs: Any) -> torch.Tensor:
        output = generate(*args, logits_processor=[recorder], **kwargs)
        found.append(recorder.of(output))
        return output

    model.generate = recording
    try:
        yield found
    finally:
        del model.generate


@contextmanager
def _without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Which would differ between two forwards, and move the state of chance."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
