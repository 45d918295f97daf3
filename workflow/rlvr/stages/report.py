"""Writes the tables, curves, samples and pages of an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr.reporting import accuracy, curves, model_card, page, pass_at_k, runs, samples, stages
from rlvr.reporting.filtered import filter_table
from rlvr.reporting.results import Arm, Results


def run(config: dict[str, Any], *, results: Path, report: Path) -> None:
    """Fills the folder `report`; `index.html` links all of it. Verifies every artifact first."""
    report.mkdir(parents=True, exist_ok=True)
    sampled = config["sampled"]
    decodings = ["greedy", *(["sampled"] if sampled else [])]
    found = Results(results, [Arm(path) for path in config["arms"]], config["tasks"], config["steps"], decodings)
    manifests = found.verified()
    tidy = accuracy.table(found)
    tables = [accuracy.wide(tidy)]
    prompts = _prompts(config["prompts"])
    note = _note(config["prompts"])
    accuracy.write(tidy, tables[0], report, note=note)
    if sampled:
        several = pass_at_k.table(found, sampled)
        tables.append(pass_at_k.wide(several))
        accuracy.write(several, tables[1], report, name="pass_at_k", note=note)
    (report / "metrics.json").write_text(json.dumps(_metrics(tidy), indent=1) + "\n")
    timings = stages.table(manifests, _estimated(results))
    timings.to_csv(report / "stages.csv", index=False)
    title = config["experiment"]
    datasets = {task: found.dataset(task) for task in config["steps"]}
    index = page.render(
        "index",
        title=title,
        accuracy=tables[0],
        sampled=sampled,
        pass_at_k=tables[-1] if sampled else None,
        prompts=prompts,
        arms=found.arms,
        trained=found.trained(),
        variants=_variants(config["variants"]),
        runs=runs.table(results, [arm.path for arm in found.trained() if arm.kind == "grpo"], manifests),
        curves=curves.write(found, report / "curves"),
        data=filter_table(datasets),
        datasets=datasets,
        stages=stages.by_stage(timings),
    )
    (report / "index.html").write_text(index)
    _write_samples(found, report / "samples", config["samples"])
    (report / "models").mkdir(exist_ok=True)
    shown = "\n\n".join([*map(accuracy.markdown, tables), *([note] if note else [])])
    for arm in found.trained():
        card = model_card.render(found, arm, tidy, shown, manifests, config)
        (report / "models" / f"{arm.slug}.md").write_text(card)
    times = accuracy.markdown(stages.by_stage(timings))
    (report / "summary.txt").write_text(f"{shown}\n\n{times}\n\n{report}/index.html\n")


def _estimated(results: Path) -> dict[str, int]:
    """Bytes that the preflight foresaw for each stage."""
    file = results / "preflight" / "estimate.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    return {name: stage["total"] for name, stage in found.get("stages", {}).items()}


def _metrics(tidy: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracies by arm and task, for `dvc metrics`."""
    nested: dict = {}
    for row in tidy.itertuples():
        parts = [row.arm, row.variant, "" if pd.isna(row.seed) else f"seed{row.seed}"]
        name = "-".join(part for part in parts if part)
        nested.setdefault(name, {})[row.task] = {"strict": row.strict, "flexible": row.flexible}
    return nested


def _prompts(prompts: list[dict[str, Any]]) -> pd.DataFrame | None:
    """A row for each prompt under which a task was answered; None where all arms had that of training."""
    rows = [
        {
            "task": row["task"],
            "arm": row["arm"],
            "system prompt": row["system_prompt"] or "none",
            "user prompt": "the task's own" if row["user_prompt"] is None else row["user_prompt"],
        }
        for row in prompts
    ]
    return pd.DataFrame(rows) if rows else None


def _note(prompts: list[dict[str, Any]]) -> str:
    """A line that names the arms with a prompt of their own, "" where there are none."""
    own = [f"{row['arm']} on {row['task']}" for row in prompts if row["arm"] != "all others"]
    return f"Not under the prompt of training: {', '.join(own)}; index.html shows the prompts." if own else ""


def _variants(variants: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """A row a variant: its reward weights, the order of its prompts, and what it does with those that teach nothing."""
    return pd.DataFrame(
        {
            "variant": name,
            "rewards": " + ".join(f"{weight:g} × {reward}" for reward, weight in variant["rewards"].items()),
            "start": variant["start"] or "base",
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
