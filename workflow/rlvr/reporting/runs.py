"""What each GRPO run sampled, how much of it taught something, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlvr import tables, trainer_options

SAME = 1e-6


def without_spread(completions: pd.DataFrame, rewards: Mapping[str, float], size: int) -> pd.Series:
    """Whether all completions of a group earned the same, group after group.

    completions: a row a completion, `rewards/<name>` its rewards, the `size` ones of a group together. TRL's own
    `frac_reward_zero_std` reads too low, as rounding gives equal rewards a tiny deviation.
    """
    earned = sum(weight * completions[f"rewards/{name}"].fillna(0.0) for name, weight in rewards.items())
    return earned.groupby(np.arange(len(earned)) // size).agg(np.ptp) <= SAME


def measured(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Completions of one run; of those that were kept, prompts and the shares of groups without spread, in per cent."""
    config = manifest["config"]
    size = trainer_options.value("grpo", config["trainer"], "num_generations")
    completions = tables.frame(folder / "completions.parquet")
    metrics = tables.frame(folder / "metrics.parquet")
    sampled = 100 * float(without_spread(completions, config["rewards"], size).mean())
    useful = "dynamic/useful_groups"
    trained = 100 * (1 - float(metrics[useful].mean())) if useful in metrics else sampled
    return {
        "steps": manifest["steps"],
        "completions": manifest["completions"],
        "prompts": completions["key"].nunique(),
        "sampled without spread %": round(sampled, 1),
        "trained on without spread %": round(trained, 1),
        "seconds": round(sum(manifest["seconds"].values()), 1),
    }


def inexact(arms: list[str], manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each arm that went on from a checkpoint between two samplings. arms: their paths."""
    resumed = {arm: manifests.get(f"{arm}/manifest.json", {}).get("resumed") for arm in arms}
    return [
        f"{arm} was resumed at {found['step']}, not exact: a run that is not stopped ends with other weights."
        for arm, found in resumed.items()
        if found and not found["exact"]
    ]


def table(folder: Path, arms: list[str], manifests: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row a GRPO run. arms: their paths below `folder`."""
    rows = [{"run": arm, **measured(folder / arm, manifests[f"{arm}/manifest.json"])} for arm in arms]
    return pd.DataFrame(rows).astype(str)
