"""GRPO with the configured rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr.engines import choice, device, loading


def run(
    config: dict[str, Any],
    *,
    base: Path,
    data: list[Path],
    policy: Path,
    metrics: Path,
    completions: Path,
    evaluated: Path,
    sft: Path | None = None,
    held_out: list[Path] | None = None,
    tracking: Path | None = None,
) -> dict[str, Any]:
    """Trains from `sft`, or from `base` without one.

    `policy` gets the adapter, or all weights without one; `metrics` one row a logged step, each reward
    with its mean and standard deviation; `completions` one row a sampled completion,
    `evaluated` one for each held-out item answered while training, where `evaluate` asks for it.
    `tracking` says what else gets the metrics; without it, nothing does.
    """
    chosen = device.decide(config["device"])
    wanted, adapter = config["engines"], config["adapter"]
    trainer = choice.training(wanted["training"], adapter, chosen, wanted["obstacle"])
    rollouts = choice.rollouts(wanted["rollouts"], trainer, adapter, chosen)
    if rollouts.startswith("vllm"):
        from rlvr.engines import vllm_environment  # noqa: F401
    engine = loading.engine(trainer)
    device.describe(chosen)
    from rlvr.engines import grpo  # after the engine, which may patch TRL

    files = {"base": base, "sft": sft, "data": data, "held_out": held_out or [], "tracking": tracking}
    files |= {"policy": policy, "metrics": metrics, "completions": completions, "evaluated": evaluated}
    facts = grpo.train(config, engine, rollouts, chosen, **files)
    return {"device": str(chosen), "engines": {"training": trainer, "rollouts": rollouts}, **facts}
