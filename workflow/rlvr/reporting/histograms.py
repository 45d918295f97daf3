"""Histograms of lengths and pass rates, as numbers and as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

matplotlib.rcParams["svg.hashsalt"] = "rlvr"  # the same names within every figure of the same numbers

BINS = 40


def compare(before: Sequence[int], after: Sequence[int]) -> dict[str, Any]:
    """Lengths before and after the filters, on common bins of one width."""
    all_of = {name: np.array(values, np.int64) for name, values in (("before", before), ("after", after))}
    present = [values for values in all_of.values() if len(values)]
    low = min((int(values.min()) for values in present), default=0)
    high = max((int(values.max()) for values in present), default=0)
    width = -(-(high - low + 1) // BINS)
    edges = np.arange(low, high + width + 1, width)
    counts = {name: np.histogram(values, edges)[0].tolist() for name, values in all_of.items()}
    return {
        "edges": edges.tolist(),
        **{name: {**_summary(values), "counts": counts[name]} for name, values in all_of.items()},
    }


def _summary(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"rows": 0}
    median, high = np.percentile(values, [50, 95])
    return {
        "rows": len(values),
        "mean": round(float(values.mean()), 2),
        "median": round(float(median), 1),
        "p95": round(float(high), 1),
        "max": int(values.max()),
    }


def rates(sampled: pd.DataFrame) -> dict[str, Any]:
    """How many sampled prompts have each pass rate, and how many of them were kept; columns pass_rate and kept."""
    groups = sampled.groupby("pass_rate")["kept"].agg(["size", "sum"])
    return {
        "rate": [round(float(rate), 4) for rate in groups.index],
        "prompts": [int(n) for n in groups["size"]],
        "kept": [int(n) for n in groups["sum"]],
    }


def draw_lengths(found: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str], target: Path) -> None:
    """One panel a split that has rows, before and after."""
    shown = {split: values for split, values in found.items() if values["before"]["rows"]}
    figure, axes = plt.subplots(
        1, len(shown) or 1, figsize=(5 * (len(shown) or 1), 3), squeeze=False, layout="constrained"
    )
    for axis, (split, values) in zip(axes.flat, shown.items(), strict=False):
        for name, filled in (("before", False), ("after", True)):
            label = f"{name}: {values[name]['rows']:,} rows"
            axis.stairs(values[name]["counts"], values["edges"], fill=filled, alpha=0.5 if filled else 1, label=label)
        _finish(axis, f"{split}: {titles[split]}", "tokens")
    _save(figure, target)


def draw_rates(found: Mapping[str, Any], target: Path) -> None:
    """Pass rates of the sampled prompts; what was kept is filled."""
    figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
    gaps = np.diff(found["rate"])
    width = 0.8 * float(gaps.min()) if len(gaps) else 0.1
    axis.bar(found["rate"], found["prompts"], width, fill=False, label=f"sampled: {sum(found['prompts']):,} prompts")
    axis.bar(found["rate"], found["kept"], width, alpha=0.5, label=f"kept: {sum(found['kept']):,}")
    _finish(axis, "share of right completions", "pass rate")
    _save(figure, target)


def _finish(axis: Any, title: str, label: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(label, fontsize=8)
    axis.set_ylabel("rows", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)


def _save(figure: Any, target: Path) -> None:
    for ending in ("png", "svg"):
        figure.savefig(target.with_suffix(f".{ending}"), dpi=110, metadata={"Date": None} if ending == "svg" else None)
    plt.close(figure)
