"""What SFT and GRPO share around TRL's trainers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import TrainerCallback, set_seed

from rlvr import console
from rlvr.engines import checkpoints
from rlvr.errors import RlvrError


def arguments(config: dict[str, Any], device: torch.device, output: Path) -> dict[str, Any]:
    """Keyword arguments for TRL's config class: the user's options and those the workflow owns."""
    set_seed(config["seed"])
    on_cpu = {"bf16": False, "dataloader_pin_memory": False} if device.type == "cpu" else {}
    return {
        "report_to": "none",
        "logging_steps": 1,
        "save_total_limit": 2,
        **on_cpu,
        **config["trainer"],
        "output_dir": str(output),
        "seed": config["seed"],
        "use_cpu": device.type == "cpu",
        "disable_tqdm": True,
    }


class Progress(TrainerCallback):
    """Moves a progress bar and keeps the trainer's metrics."""

    def __init__(self, title: str, shown: dict[str, str]) -> None:
        self.title = title
        self.shown = shown

    def on_train_begin(self, args, state, control, **kwargs):
        self._context = console.bar(self.title, state.max_steps, "step")
        self._bar = self._context.__enter__()
        self._bar.update(state.global_step)

    def on_step_end(self, args, state, control, **kwargs):
        self._bar.update(1)

    def on_log(self, args, state, control, logs=None, **kwargs):
        values = {short: f"{logs[key]:.3g}" for key, short in self.shown.items() if key in (logs or {})}
        if values:
            self._bar.set_postfix(values, refresh=False)

    def on_train_end(self, args, state, control, **kwargs):
        self._context.__exit__(None, None, None)


def train(
    trainer: Any,
    folder: Path,
    progress: Progress,
    resumable: bool = True,
    save: Callable[[Path], None] | None = None,
    load: Callable[[Path], None] | None = None,
) -> None:
    """Trains, going on from the newest sound checkpoint in `folder` where there is one.

    `save` adds files to a checkpoint as it is written, `load` reads them before going on.
    """
    trainer.add_callback(progress)
    trainer.add_callback(checkpoints.Sealer(save))
    checkpoint = checkpoints.latest(folder) if resumable else None
    if checkpoint:
        console.say(f"{progress.title}: goes on from {checkpoint.name}")
        if load:
            load(checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _require_finite(trainer.model, progress.title)


def _require_finite(model: torch.nn.Module, title: str) -> None:
    """Raises RlvrError naming the first trained weights that are NaN or infinite."""
    for name, weights in model.named_parameters():
        if weights.requires_grad and not torch.isfinite(weights).all():
            raise RlvrError(f"{title}: training left weights that are not finite ({name}); lower the learning rate")


def write_metrics(trainer: Any, path: Path) -> None:
    """One row a logged step, the columns as TRL names them."""
    rows = [entry for entry in trainer.state.log_history if "train_runtime" not in entry]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame({"step": pd.Series(dtype="int64")})
    frame.to_parquet(path, index=False)
