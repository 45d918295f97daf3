"""Learning curves, one figure a training run, as PNG and SVG."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from rlvr.reporting.results import Results

matplotlib.rcParams["svg.hashsalt"] = "rlvr"  # the same names within every figure of the same numbers

PANELS = {
    "grpo": {
        "reward": ["reward"],
        "reward components": ["rewards/*/mean"],
        "accuracy of samples": ["accuracy/strict", "accuracy/flexible"],
        "pass@k on held-out items": ["evaluate/*"],
        "completion length, tokens": ["completions/mean_length", "completions/max_length"],
        "truncated completions": ["completions/clipped_ratio"],
        "answer elements in a completion": ["completions/answer_tags"],
        "failures of plugins, completions": ["failures/*"],
        "rewards that did not apply, completions": ["not_applied/*"],
        "policy clip ratio": ["clip_ratio/region_mean", "clip_ratio/low_mean", "clip_ratio/high_mean"],
        "entropy, nats": ["entropy"],
        "gradient norm": ["grad_norm"],
        "KL to the start": ["kl"],
        "groups without spread": ["frac_reward_zero_std"],
        "groups with spread after replacing, share": ["dynamic/useful_groups"],
        "groups sampled for one trained on": ["dynamic/sampled_groups"],
        "further rounds a step": ["dynamic/rounds"],
    },
    "sft": {
        "loss": ["loss"],
        "token accuracy": ["mean_token_accuracy"],
        "entropy, nats": ["entropy"],
        "gradient norm": ["grad_norm"],
    },
}


def write(results: Results, folder: Path, draw: bool = True) -> list[str]:
    """Draws every trained arm; returns the figures' names without ending. Writes learning_curves.csv.

    draw: False leaves the figures out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, tables = [], []
    for arm in results.trained():
        metrics = results.metrics(arm)
        names.append(arm.slug)
        tables.append(metrics.assign(run=arm.path))
        if draw:
            _draw(metrics, PANELS[arm.kind], arm.path, folder / arm.slug)
    joined = pd.concat(tables, ignore_index=True)
    first = ["run", "step"]
    joined[first + [c for c in joined.columns if c not in first]].to_csv(
        folder.parent / "learning_curves.csv", index=False
    )
    return names


def _columns(metrics: pd.DataFrame, pattern: str) -> list[str]:
    head, _, tail = pattern.partition("*")
    found = [c for c in metrics.columns if c == pattern or ("*" in pattern and c.startswith(head) and c.endswith(tail))]
    return [c for c in found if metrics[c].notna().any()]


def _draw(metrics: pd.DataFrame, panels: dict[str, list[str]], title: str, target: Path) -> None:
    shown = {name: [c for p in patterns for c in _columns(metrics, p)] for name, patterns in panels.items()}
    shown = {name: columns for name, columns in shown.items() if columns}
    across = min(3, len(shown)) or 1
    down = -(-len(shown) // across) or 1
    figure, axes = plt.subplots(down, across, figsize=(4 * across, 2.6 * down), squeeze=False, layout="constrained")
    for axis, (name, columns) in zip(axes.flat, shown.items(), strict=False):
        for column in columns:
            spread = column.removesuffix("/mean") + "/std"
            known = metrics[metrics[column].notna()]  # evaluations have rows of their own, which would break the line
            axis.plot(known["step"], known[column], linewidth=1.2, label=_label(column))
            if column.endswith("/mean") and spread in known:
                low, high = known[column] - known[spread], known[column] + known[spread]
                axis.fill_between(known["step"], low, high, alpha=0.12)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        if len(columns) > 1:
            axis.legend(fontsize=7)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=10)
    for ending in ("png", "svg"):
        figure.savefig(target.with_suffix(f".{ending}"), dpi=110, metadata={"Date": None} if ending == "svg" else None)
    plt.close(figure)


def _label(column: str) -> str:
    if column.startswith("evaluate/"):
        return column.removeprefix("evaluate/")
    return column.removeprefix("rewards/").removesuffix("/mean").rpartition("/")[2]
