"""After which steps a GRPO run that goes on from a checkpoint samples as one that was never stopped.

TRL samples for `steps_per_generation` micro-batches at once and trains on them `num_iterations` times. A checkpoint
holds none of these completions: between two samplings, a run that goes on samples anew, other completions at another
point, and its weights are others.
"""

from __future__ import annotations

import math
from typing import Any

from rlvr.trainer_options import generated_at_once, value


def steps(batches: int, accumulation: int) -> int:
    """Optimiser steps of an epoch of so many micro-batches; its last one may be short."""
    return math.ceil(batches / accumulation)


def exact(step: int, accumulation: int, every: int, batches: int | None = None) -> bool:
    """Whether a run goes on exactly after an optimiser step.

    accumulation: micro-batches of a step; every: those between two samplings; batches: those of an epoch, a multiple
    of `every`, None within the first. A sampling begins with each epoch.
    """
    within = step if batches is None else step % steps(batches, accumulation)
    return within * accumulation % every == 0


def every(options: dict[str, Any]) -> int:
    """Micro-batches between two samplings of GRPO, by its trainer options."""
    at_once = generated_at_once(options) // value("grpo", options, "per_device_train_batch_size")
    return at_once * value("grpo", options, "num_iterations")


def check(options: dict[str, Any], where: str) -> None:
    """Raises ValueError with the nearest values that fit where checkpoints are asked for between two samplings.

    A share of steps that only the data decide is let through; what a run goes on from is recorded in its manifest.
    """
    apart = _apart(options)
    if "save_steps" not in options or apart is None or apart % (unit := _unit(options)) == 0:
        return
    asked, below = options["save_steps"], apart // unit * unit
    fitting = " or ".join(str(each) for each in (below, below + unit) if each)
    shown = f"{asked:g}{f' ({apart} steps)' if asked < 1 else ''}"
    raise ValueError(
        f"{where}.save_steps: {shown} is not possible, as completions are sampled every {unit} steps, and a run that "
        f"goes on between would train on others; allowed: multiples of {unit}, such as {fitting}"
    )


def with_save_steps(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with the next `save_steps` above TRL's default that fits where none is given and that does not."""
    apart = _apart(options)
    if "save_steps" in options or apart is None or apart % (unit := _unit(options)) == 0:
        return options
    return {**options, "save_steps": -(-apart // unit) * unit}


def _apart(options: dict[str, Any]) -> int | None:
    """Steps between two checkpoints; None where there are none, but at the last step, or only the data decide."""
    asked, most = value("grpo", options, "save_steps"), value("grpo", options, "max_steps")
    if value("grpo", options, "save_strategy") != "steps" or (asked < 1 and most < 1):
        return None
    apart = math.ceil(asked * most) if asked < 1 else int(asked)
    return None if 0 < most <= apart else apart  # nothing is sampled after the last step


def _unit(options: dict[str, Any]) -> int:
    """Optimiser steps from one point to the next at which a sampling begins."""
    between = every(options)
    return between // math.gcd(between, value("grpo", options, "gradient_accumulation_steps"))
