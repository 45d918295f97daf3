"""What SFT and GRPO share around TRL's trainers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import TrainerCallback, TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from rlvr import console
from rlvr.engines import checkpoints
from rlvr.engines.device import half
from rlvr.engines.frozen import Frozen
from rlvr.errors import RlvrError


def arguments(
    config: dict[str, Any], device: torch.device, output: Path, defaults: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Keyword arguments for TRL's config class: `defaults`, the user's options and those the workflow owns."""
    set_seed(config["seed"])
    by_device = {"bf16": False, "dataloader_pin_memory": False} if device.type == "cpu" else {}
    if half(device) == "float16":
        by_device = {"bf16": False, "fp16": True}
    return {
        "logging_steps": 1,
        "save_total_limit": 2,
        **by_device,
        **(defaults or {}),
        **config["trainer"],
        "output_dir": str(output),
        "seed": config["seed"],
        "use_cpu": device.type == "cpu",
        "disable_tqdm": True,
    }


def on_one_device(arguments: Any) -> Any:
    """The arguments, with the Trainer on one device where several are visible.

    It would wrap the model in DataParallel and multiply the batch by their number, which GRPO's sampler does not.
    """
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


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
        values = {short: _shown(logs[key]) for key, short in self.shown.items() if key in (logs or {})}
        if values:
            self._bar.set_postfix(values, refresh=False)

    def on_train_end(self, args, state, control, **kwargs):
        self._context.__exit__(None, None, None)


def _shown(value: float | None) -> str:
    """A metric; TRL logs None for a mean over nothing, as of rewards of which none applied."""
    return "none applied" if value is None else f"{value:.3g}"


DIVERGED = 1e8
"""Weights of more than this are taken for infinite: what they are multiplied with soon is."""


@contextmanager
def float32_adapter(model: torch.nn.Module) -> Iterator[None]:
    """Undoes what TRL's trainers do to the adapter on a 4-bit base as they are made: they turn it to bfloat16, which
    rounds the steps of a small learning rate away."""
    before = {name: weights.detach().clone() for name, weights in _adapter(model)}
    yield
    for name, weights in _adapter(model):
        if weights.dtype == torch.bfloat16:
            weights.data = before.get(name, weights.data).float()


def _adapter(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    named = model.named_parameters()
    return [(name, weights) for name, weights in named if weights.requires_grad and "lora_" in name]


def train(
    trainer: Any,
    folder: Path,
    progress: Progress,
    frozen: Frozen,
    resumable: bool = True,
    save: Callable[[Path], None] | None = None,
    load: Callable[[Path], None] | None = None,
    resume: Callable[[int], bool] = lambda step: True,
) -> dict[str, Any]:
    """Trains, going on from the newest sound checkpoint in `folder` where there is one; returns facts on that and the
    base.

    `save` adds files to a checkpoint as it is written, `load` reads them before going on, `resume` prepares the
    trainer to go on after a step and says whether it does so exactly. Raises RlvrError where
    frozen weights moved; a checkpoint after that is not sealed.
    """

    def sealed(checkpoint: Path) -> None:
        require_finite(trainer.model, f"{progress.title}: the weights")
        frozen.check()
        if save:
            save(checkpoint)

    trainer.add_callback(progress)
    trainer.add_callback(Finite(progress.title))
    trainer.add_callback(checkpoints.Sealer(sealed))
    checkpoint = checkpoints.latest(folder) if resumable else None
    resumed = None
    if checkpoint:
        step = int(checkpoint.name.rpartition("-")[2])
        resumed = {"step": step, "exact": resume(step)}
        console.say(f"{progress.title}: goes on from {checkpoint.name}{'' if resumed['exact'] else ', not exact'}")
        if load:
            load(checkpoint)
        _require_no_step_beyond(trainer, checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    require_finite(trainer.model, f"{progress.title}: the weights")
    return {"base_weights": frozen.check(), "resumed": resumed}


def _require_no_step_beyond(trainer: Any, checkpoint: Path) -> None:
    """Keeps transformers from one step more where a checkpoint is of the last: it looks at `max_steps` after a step."""
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    if state.global_step < state.max_steps:
        return

    def run_epoch(**given: Any) -> None:
        trainer.control.should_training_stop = True

    trainer._run_epoch = run_epoch


class Finite(TrainerCallback):
    """Ends a training whose weights have diverged, at the step that did it and before they are saved or sampled from.

    Raises RlvrError, with what the step before it logged.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._rates: list[float] = []

    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self._rates = [group["lr"] for group in optimizer.param_groups]

    def on_step_end(self, args, state, control, model=None, **kwargs):
        last = state.log_history[-1] if state.log_history else {}
        known = [f"{name} {last[name]:.3g}" for name in ("loss", "grad_norm", "reward") if last.get(name) is not None]
        before = f"; the step before logged {', '.join(known)}" if known else ""
        rate = f"learning rate {max(self._rates):g}"
        require_finite(model, f"{self._title}: after step {state.global_step} ({rate}{before}) the weights")


def require_finite(model: torch.nn.Module, what: str) -> None:
    """Raises RlvrError naming the first trained weights that are NaN, infinite or beyond `DIVERGED`."""
    trained = [(name, weights.detach()) for name, weights in model.named_parameters() if weights.requires_grad]
    trained = [(name, weights) for name, weights in trained if weights.numel()]
    if not trained:
        return
    norms = torch._foreach_norm([weights for _, weights in trained], float("inf"))
    largest = torch.stack([norm.float().to(norms[0].device) for norm in norms])
    sound = largest <= DIVERGED  # False for NaN
    if not sound.all():
        place = int(sound.logical_not().nonzero()[0])
        raise RlvrError(
            f"{what} are not usable ({trained[place][0]}: up to {largest[place].item():g}): training has diverged; "
            "lower the learning rate; what was saved before is kept"
        )


RECORDED = (
    *("per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "weight_decay", "warmup_steps"),
    *("optim", "lr_scheduler_type", "max_grad_norm", "beta", "epsilon", "epsilon_high", "loss_type", "scale_rewards"),
    *("mask_truncated_completions", "num_generations", "max_completion_length", "temperature", "bf16", "fp16"),
)


def facts(trainer: Any) -> dict[str, Any]:
    """For the manifest: steps, seconds of training alone, and the arguments that TRL came to, whatever the engine."""
    found = {name: getattr(trainer.args, name) for name in RECORDED if hasattr(trainer.args, name)}
    if found.get("epsilon_high", 0) is None:  # as TRL reads it
        found["epsilon_high"] = found["epsilon"]
    seconds = [entry["train_runtime"] for entry in trainer.state.log_history if "train_runtime" in entry]
    return {
        "steps": trainer.state.global_step,
        "train_seconds": seconds[-1] if seconds else None,
        "arguments": {
            name: value if isinstance(value, int | float | None) else str(value) for name, value in found.items()
        },
    }


def write_metrics(trainer: Any, path: Path) -> None:
    """One row a logged step, the columns as TRL names them, in one order whether the run was resumed or not."""
    rows = [entry for entry in trainer.state.log_history if "train_runtime" not in entry]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame({"step": pd.Series(dtype="int64")})
    unknown = [name for name in frame if frame[name].isna().all()]
    frame = frame.astype(dict.fromkeys(unknown, "float64"))  # of type object, which no reader takes for numbers
    frame[sorted(frame.columns)].to_parquet(path, index=False)
