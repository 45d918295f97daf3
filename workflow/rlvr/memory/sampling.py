"""What will sample on a device, by the same choice that the stages make."""

from __future__ import annotations

from typing import Any

import torch

from rlvr.engines import choice, rollouts


def resolved(settings: dict[str, Any], device: str) -> dict[str, Any]:
    """The settings of `shapes.of` with TRL's options for the engine of rollouts, `generation` without `auto`, and
    `trains`, what `training` comes to.

    device: `cpu` or `cuda`, which need not be here. An engine that the config names need not be installed.
    """
    where = torch.device(device)
    trains, _ = choice.foreseen(settings["training"], settings["adapter"], device, settings["obstacle"])
    options = _options(settings, trains, where)
    generation = settings["generation"]
    return {
        **settings,
        "trains": trains,
        "grpo": {name: {**rollouts.DEFAULTS, **trainer, **options} for name, trainer in settings["grpo"].items()},
        "generation": choice.generation("auto", where) if generation == "auto" else generation,
    }


def _options(settings: dict[str, Any], trains: str, device: torch.device) -> dict[str, Any]:
    adapter, samples = settings["adapter"], settings["sampling"]
    if samples == "auto":
        samples = choice.rollouts("auto", trains, adapter, device)
    return rollouts.arguments(samples, None)
