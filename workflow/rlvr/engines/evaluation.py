"""pass@k on a fixed subset of held-out items while a model trains; training does not notice."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedTokenizerBase, TrainerCallback

from rlvr import tables
from rlvr.engines.decoding import Decoding
from rlvr.engines.generation import Generator
from rlvr.errors import RlvrError
from rlvr.growing import Growing
from rlvr.pass_at import estimate
from rlvr.patience import watched
from rlvr_plugins.guard import Judge
from rlvr_plugins.manager import catalogue

SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("task", pa.string()),
        ("key", pa.string()),
        ("completion", pa.string()),
        ("tokens", pa.int64()),
        ("finish", pa.string()),
        ("status", pa.string()),
        ("strict", pa.bool_()),
        ("flexible", pa.bool_()),
    ]
)


def subset(rows: list[dict[str, Any]], items: int, seed: int) -> list[dict[str, Any]]:
    """Up to `items` rows of each task, always the same ones for a seed, in the order of the data."""
    chosen = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        places = random.Random(f"evaluate {seed} {task}").sample(range(len(own)), min(items, len(own)))
        chosen += [own[place] for place in sorted(places)]
    return chosen


class Evaluator(TrainerCallback):
    """Samples completions for the subset before the first step and whenever `settings` say, and logs pass@k.

    rows: all held-out rows. settings: the section `grpo.evaluate` with `seed`. log: gets a row of `SCHEMA` a
    completion. Metrics are `evaluate/<task>/pass@<k>`, in a row of their own. The state of every source of chance is
    put back, so that the same run without an evaluator ends with the same weights.
    """

    def __init__(self, rows: list[dict[str, Any]], settings: dict[str, Any], log: Growing) -> None:
        self._rows = subset(rows, settings["items"], settings["seed"])
        self._settings = settings
        self._log = log
        self._judges: dict[str, Judge] = {}
        self._trainer: Any = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._epochs = 0

    def attach(self, trainer: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises RlvrError where training is spread over processes."""
        processes = trainer.accelerator.num_processes
        if processes > 1:
            raise RlvrError(f"grpo.evaluate: is not possible with {processes} processes; allowed: 1, or null")
        self._trainer, self._tokenizer = trainer, tokenizer
        trainer.add_callback(self)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"parts": self._log.mark()}), encoding="utf-8")

    def load(self, path: Path) -> None:
        self._log.cut(json.loads(path.read_text(encoding="utf-8"))["parts"])

    def close(self) -> None:
        """Ends the worker processes."""
        for judge in self._judges.values():
            judge.close()

    def on_train_begin(self, args, state, control, **kwargs):
        self._epochs = self._passed(state)
        if state.global_step == 0:
            self._evaluate(state, control)

    def on_step_end(self, args, state, control, **kwargs):
        every, passed = self._settings["every_steps"], self._passed(state)
        if state.global_step % every == 0 if every else passed > self._epochs:
            self._evaluate(state, control)
        self._epochs = passed

    def _passed(self, state) -> int:
        """How often `every_epochs` has gone by."""
        every = self._settings["every_epochs"]
        return math.floor((state.epoch or 0.0) / every + 1e-6) if every else 0

    def _evaluate(self, state, control) -> None:
        with _chance_put_back(), _modes_put_back(self._trainer.model):
            found = self._complete(state.global_step)
        self._log.add(found)
        logs: dict[str, float] = {}
        for task in dict.fromkeys(row["task"] for row in self._rows):
            logs |= self._metrics(task, [row for row in found if row["task"] == task])
        # Not by the trainer's `log`, which would hand out the training metrics gathered so far, nor by `on_log`, after
        # which the step itself would go without a row.
        state.log_history.append({"step": state.global_step, "epoch": state.epoch, **logs})
        self._trainer.callback_handler.call_event("on_log", self._trainer.args, state, control, logs=logs)

    def _complete(self, step: int) -> list[dict[str, Any]]:
        settings, rows = self._settings, self._rows
        decoding = Decoding(
            settings["max_completion_tokens"], settings["batch_size"], settings["samples"], settings["temperature"]
        )
        seed = random.Random(f"evaluate {settings['seed']} {step}").getrandbits(63)
        with Generator.in_training(self._trainer, self._tokenizer, decoding) as generator:
            completed = generator.complete([row["prompt"] for row in rows], seed)
        found = [
            {"step": step, "task": row["task"], "key": row["key"], "example": row["example"], **completion}
            for row, completions in zip(rows, completed, strict=True)
            for completion in completions
        ]
        for task in dict.fromkeys(row["task"] for row in rows):
            self._judge(task, [row for row in found if row["task"] == task])
        return found

    def _judge(self, name: str, found: list[dict[str, Any]]) -> None:
        """Adds the verdicts."""
        task = catalogue().task(name)
        judge = self._judges.setdefault(name, Judge(task))
        pairs = [(row["completion"], tables.to_example(row["key"], row.pop("example"))) for row in found]
        with watched("task", task):
            verdicts = judge.judge_all(pairs)
        for row, verdict in zip(found, verdicts, strict=True):
            row |= {"status": verdict.status, "strict": verdict.strict, "flexible": verdict.flexible}

    def _metrics(self, task: str, found: list[dict[str, Any]]) -> dict[str, float]:
        samples = self._settings["samples"]
        right = [sum(row["strict"] for row in found[at : at + samples]) for at in range(0, len(found), samples)]
        return {
            f"evaluate/{task}/pass@{k}": sum(estimate(each, samples, k) for each in right) / len(right)
            for k in self._settings["pass_at"]
        }


@contextmanager
def _chance_put_back() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count()))
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _modes_put_back(model: torch.nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
