"""Sends a run's metrics to trackers, whose logs lie beside its outputs and survive a killed run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlvr import trackers

FOLDER = "trackers"


@contextmanager
def to(tracking: Path | None, beside: Path, key: str) -> Iterator[dict[str, Any]]:
    """The options for TRL's config class that make a run report as `tracking`, a JSON file, says; None: nowhere.

    Logs go to the folder `trackers` beside the output `beside`, apart for each `key`, the name of what is computed:
    the same run, resumed, goes on in its own log. Variables of the environment that the user set are left as they are.
    Raises RlvrError for a tracker that is not installed.
    """
    settings = json.loads(tracking.read_text(encoding="utf-8")) if tracking else {"report_to": []}
    asked = settings["report_to"]
    if not asked:
        yield {"report_to": "none"}
        return
    trackers.require(asked)
    folder = (beside.parent / FOLDER).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard" / key),
        "WANDB_DIR": str(folder),
        "WANDB_PROJECT": settings["project"],
        "WANDB_RUN_ID": key,
        "WANDB_RESUME": "allow",
        "TRACKIO_DIR": str(folder / "trackio"),
    }
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield settings
    finally:
        run = getattr(sys.modules.get("wandb"), "run", None)
        if run is not None:
            run.finish()
        for name in added:
            del os.environ[name]
