"""Experiment trackers that training may report to, by TRL's own `report_to`.

What is tracked decides no result, so these options are kept out of the configs that do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rlvr import availability
from rlvr.errors import RlvrError

TRACKERS = ("tensorboard", "wandb", "trackio")
OPTIONS = ("report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")
"""The options of TRL's config classes that only say where metrics go."""


def names(report_to: str | list[str] | None) -> list[str]:
    """The trackers asked for. Raises ValueError for one that is not known."""
    asked = report_to if isinstance(report_to, list) else [report_to or "none"]
    for name in asked:
        if name not in TRACKERS and asked != ["none"]:
            allowed = ", ".join(TRACKERS)
            raise ValueError(f"trainer.report_to: {name!r} is not possible; allowed: none, or one or more of {allowed}")
    if len(set(asked)) < len(asked):
        raise ValueError("trainer.report_to: each tracker once")
    return [] if asked == ["none"] else asked


def require(asked: Iterable[str]) -> None:
    """Raises RlvrError for a tracker that is not installed."""
    for name in asked:
        if availability.missing(name):
            raise RlvrError(
                f"trainer.report_to: {name} is not installed; allowed: `pip install {name}`, or leave it out"
            )


def without(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide a result."""
    return {name: value for name, value in trainer.items() if name not in OPTIONS}


def settings(trainer: Mapping[str, Any], experiment: str, arm: str) -> dict[str, Any]:
    """Where a run reports to, and under which name; the same for every experiment where it reports nowhere."""
    asked = names(trainer.get("report_to"))
    if not asked:
        return {"report_to": []}
    own = {name: trainer[name] for name in OPTIONS if name in trainer}
    return {"run_name": f"{experiment}/{arm}", "project": "rlvr", **own, "report_to": asked}
