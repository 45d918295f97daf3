"""The host's memory while a policy is exported and held against its model: both hold it in float32 on the CPU."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from rlvr.memory import sizes
from rlvr.memory.estimate import FILES, Estimate, around
from rlvr.memory.machine import GIB
from rlvr.memory.sizes import HALF, Sizes

FLOAT = 4
COMPARED = 4
"""Copies of the largest weight while it is held against the stored one: `distance._difference`."""
AT_ONCE = 8
"""Sequences in one forward of the gate: `distance.AT_ONCE`."""


def of(settings: dict[str, Any], model: PreTrainedConfig) -> list[Estimate]:
    """Estimates of `export` and `gate`, whatever device trains; none for a model whose sizes are not known."""
    known = sizes.of(model)
    if known is None:
        return []
    stages = {"export": _export(known, settings["adapter"])}
    if settings["gate"]["mode"] != "off":
        stages["gate"] = _gate(known, settings["adapter"], settings["gate"])
    if settings["adapter"]:  # whose base is read from 16 bits; a policy of all weights lies there in float32, as it is
        stages = {name: {**parts, FILES: known.weights * HALF} for name, parts in stages.items()}
    beside = around("evaluation", model, "cpu", 0)
    return [Estimate(name, parts | beside) for name, parts in stages.items()]


def _export(known: Sizes, adapter: dict[str, Any] | None) -> dict[str, int]:
    """Bytes by part as the base is read, or, where all weights were trained, as they have turned to 16 bits."""
    copied = {} if adapter else {"16-bit copy": known.weights * HALF}
    return {"weights": known.weights * FLOAT, **copied, **_adapter(known, adapter)}


def _gate(known: Sizes, adapter: dict[str, Any] | None, config: dict[str, Any]) -> dict[str, int]:
    """Bytes by part at the higher of two points: both models' predictions, and the largest weight held against the one
    that is stored."""
    longest = config["max_completion_tokens"]
    largest = max(known.embedding, *(given * made for given, made in known.layer))
    predicted = config["prompts"] * config["tasks"] * longest + 3 * AT_ONCE * (longest + 1)
    compared = max(COMPARED * largest, predicted * known.vocabulary) * FLOAT
    return {"weights": known.weights * FLOAT, **_adapter(known, adapter), "compared": compared}


def _adapter(known: Sizes, adapter: dict[str, Any] | None) -> dict[str, int]:
    return {"adapter": known.adapter(adapter["r"]) * FLOAT} if adapter else {}


def problem(estimates: list[Estimate], capacity: int, usable: int) -> str | None:
    """One line on the stage that needs most, where that is more than may be used; None where all fit."""
    worst = max(estimates, key=lambda each: each.needed, default=None)
    if worst is None or worst.needed <= usable:
        return None
    export = next(each for each in estimates if each.stage == "export")
    off = ["gate.mode: off, which leaves the merged model unchecked"] if export.needed <= usable else []
    return (
        f"{worst.stage} needs about {worst.needed / GIB:.1f} GiB of this machine's RAM, as it holds the model in "
        f"float32 on the CPU, but of {capacity / GIB:.1f} GiB only {usable / GIB:.1f} may be used; "
        f"change, in this order: {'; '.join(['a machine with more RAM', *off, 'the base model'])}"
    )
