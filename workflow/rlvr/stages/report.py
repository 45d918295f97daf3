"""Writes the tables, curves, samples and pages of an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr.reporting import accuracy, curves, page, runs, samples, stages
from rlvr.reporting.filtered import filter_table
from rlvr.reporting.results import Arm, Results


def run(config: dict[str, Any], *, results: Path, report: Path) -> None:
    """Fills the folder `report`; `index.html` links all of it. Verifies every artifact first."""
    report.mkdir(parents=True, exist_ok=True)
    found = Results(results, [Arm(path) for path in config["arms"]], config["tasks"], config["steps"])
    manifests = found.verified()
    tidy = accuracy.table(found)
    accuracy.write(tidy, report)
    (report / "metrics.json").write_text(json.dumps(_metrics(tidy), indent=1) + "\n")
    timings = stages.table(manifests)
    timings.to_csv(report / "stages.csv", index=False)
    title = config["experiment"]
    datasets = {task: found.dataset(task) for task in config["steps"]}
    index = page.render(
        "index",
        title=title,
        accuracy=accuracy.wide(tidy),
        arms=found.arms,
        variants=_variants(config["variants"]),
        runs=runs.table(results, [arm.path for arm in found.trained() if arm.kind == "grpo"], manifests),
        curves=curves.write(found, report / "curves"),
        data=filter_table(datasets),
        datasets=datasets,
        stages=stages.by_stage(timings),
    )
    (report / "index.html").write_text(index)
    _write_samples(found, report / "samples", config["samples"])
    (report / "summary.txt").write_text(
        f"{accuracy.markdown(accuracy.wide(tidy))}\n\n{accuracy.markdown(stages.by_stage(timings))}\n\n"
        f"{report}/index.html\n"
    )


def _metrics(tidy: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracies by arm and task, for `dvc metrics`."""
    nested: dict = {}
    for row in tidy.itertuples():
        parts = [row.arm, row.variant, "" if pd.isna(row.seed) else f"seed{row.seed}"]
        name = "-".join(part for part in parts if part)
        nested.setdefault(name, {})[row.task] = {"strict": row.strict, "flexible": row.flexible}
    return nested


def _variants(variants: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """A row a variant: its reward weights, the order of its prompts, and what it does with those that teach nothing."""
    return pd.DataFrame(
        {
            "variant": name,
            "rewards": " + ".join(f"{weight:g} × {reward}" for reward, weight in variant["rewards"].items()),
            "order": variant["order"],
            "dynamic": ", ".join(f"{key}: {value}" for key, value in (variant["dynamic"] or {}).items()) or "off",
            "own options": ", ".join(f"{key}: {value}" for key, value in variant["trainer"].items()),
        }
        for name, variant in variants.items()
    )


def _write_samples(found: Results, folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for arm in found.arms:
        shown = {task: samples.of(found, arm, task, count) for task in found.tasks} if count else {}
        text = page.render("samples", title=f"Completions of {arm.path}", samples=shown)
        (folder / f"{arm.slug}.html").write_text(text)
