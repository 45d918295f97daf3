"""SFT warm-start on the tasks' demonstrations."""

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
    start: Path | None = None,
    tracking: Path | None = None,
) -> dict[str, Any]:
    """Trains on prompt and completion, with loss on the completion only.

    It goes on from the policy `start`, or begins with `base` without one. `policy` gets the adapter, or all weights
    without one; `metrics` one row a logged step. `tracking` says what else gets the metrics; without it, nothing does.
    """
    chosen = device.decide(config["device"])
    wanted = config["engines"]
    trainer = choice.training(wanted["training"], config["adapter"], chosen, wanted["obstacle"])
    engine = loading.engine(trainer)
    device.describe(chosen)
    from rlvr.engines import sft  # after the engine, which may patch TRL

    files = {"base": base, "start": start, "data": data, "tracking": tracking, "policy": policy, "metrics": metrics}
    facts = sft.train(config, engine, chosen, **files)
    return {"device": str(chosen), "engines": {"training": trainer}, **facts}
