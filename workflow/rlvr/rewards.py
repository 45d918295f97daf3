"""Brings rewards, which score one sample, to TRL's batch signature."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr import tables
from rlvr.errors import RlvrError
from rlvr_plugins import Reward, Sample
from rlvr_plugins.manager import catalogue


class Scorer:
    """Judges each completion once, whatever the number of rewards, and keeps what was sampled.

    rows: one dict a completion: step, task, key, completion, tokens, strict, flexible, rewards.
    """

    def __init__(self, names: list[str], end_tokens: set[int]) -> None:
        self.rewards = [catalogue().reward(name) for name in names]
        self.rows: list[dict[str, Any]] = []
        self._end_tokens = end_tokens
        self._judged: Any = None
        self._samples: list[Sample] = []

    def save(self, path: Path) -> None:
        pd.DataFrame(self.rows).to_parquet(path, index=False)

    def load(self, path: Path) -> None:
        self.rows = pd.read_parquet(path).to_dict("records")

    def functions(self) -> list[Callable[..., list[float | None]]]:
        """One function a reward, named after it, for GRPOTrainer's `reward_funcs`."""
        return [self._function(reward) for reward in self.rewards]

    def _function(self, reward: Reward) -> Callable[..., list[float | None]]:
        def score(completions, completion_ids, task, key, example, trainer_state, log_metric=None, **_):
            if completions is not self._judged:
                self._judge(completions, completion_ids, task, key, example, trainer_state.global_step)
                if log_metric:
                    for name in ("strict", "flexible"):
                        hits = [getattr(sample.verdict, name) for sample in self._samples]
                        log_metric(f"accuracy/{name}", sum(hits) / len(hits))
            values = [checked(reward, sample) for sample in self._samples]
            for row, value in zip(self.rows[-len(values) :], values, strict=True):
                row[reward.name] = value
            return values

        score.__name__ = reward.name
        return score

    def _judge(self, completions, completion_ids, tasks, keys, examples, step: int) -> None:
        self._judged, self._samples = completions, []
        for i, (messages, ids) in enumerate(zip(completions, completion_ids, strict=True)):
            example = tables.to_example(keys[i], examples[i])
            text = messages[-1]["content"]
            verdict = catalogue().task(tasks[i]).verify(text, example)
            truncated = not ids or ids[-1] not in self._end_tokens
            self._samples.append(Sample(text, example, verdict, len(ids), truncated))
            self.rows.append(
                {
                    "step": step,
                    "task": tasks[i],
                    "key": keys[i],
                    "completion": text,
                    "tokens": len(ids),
                    "truncated": truncated,
                    "strict": verdict.strict,
                    "flexible": verdict.flexible,
                }
            )


def checked(reward: Reward, sample: Sample) -> float | None:
    """The reward's value. Raises RlvrError when it is no number within the reward's bounds."""
    value = reward.function(sample)
    if value is None:
        return None
    low, high = reward.bounds
    number = isinstance(value, int | float) and math.isfinite(value)
    if not number or not low <= value <= high:
        shown = json.dumps(sample.completion[:60])
        raise RlvrError(
            f"reward {reward.name!r} gave {value!r} for {shown}; allowed: None or {low} to {high}, its bounds"
        )
    return float(value)
