"""Writes the tables, curves, samples and pages of an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr import protocol
from rlvr.cells import TRAINING, Cell
from rlvr.reporting import (
    accuracy,
    by_seed,
    comparisons,
    curves,
    gains,
    gate,
    layout,
    leakage,
    lineage,
    model_card,
    moved,
    page,
    pairs,
    pass_at_k,
    protocols,
    runs,
    samples,
    second,
    stages,
)
from rlvr.reporting.filtered import filter_table
from rlvr.reporting.results import Arm, Results


def run(config: dict[str, Any], *, results: Path, report: Path, again: bool = False) -> dict[str, Any]:
    """Fills the folder `report`; `index.html` links all of it. Verifies every artifact first.

    again: to compare with a report that is there: what was verified elsewhere is not, and no figure is drawn.
    """
    report.mkdir(parents=True, exist_ok=True)
    sampled = config["sampled"]
    cells, arms = [Cell(**cell) for cell in config["cells"]], [Arm(path) for path in config["arms"]]
    more = {"cells": cells, "controls": config["controls"], "second": config["second"]}
    found = Results(results, arms, config["tasks"], config["steps"], **more)
    manifests = found.manifests() if again else found.verified()
    locked = protocols.checked(found, manifests, config["protocols"])
    hashes = {cell.name: each.hash for cell, each in locked.items()}
    inexact = runs.inexact([arm.path for arm in found.trained()], manifests)
    numbers, tables, notes = _tables(found, config, hashes, report, inexact)
    under, crossed = protocols.table(found, manifests, locked), protocols.cross(found)
    protocols.write(under, report / "protocols.csv")
    protocols.write(crossed, report / "cross_protocol.csv")
    (report / "metrics.json").write_text(json.dumps(_metrics(numbers["pass_at_1"]), indent=1) + "\n", encoding="utf-8")
    opinions = second.write(found, config["second"], report)
    timings = stages.table(manifests, _estimated(results))
    timings.to_csv(report / "stages.csv", index=False)
    times, cost = stages.by_stage(timings), stages.repeated(timings, arms, config["controls"])
    datasets = {task: found.dataset(task) for task in config["steps"]}
    index = page.render(
        "index",
        title=config["experiment"],
        tables=tables,
        notes=notes,
        pairs=pairs.of(config),
        cells=lineage.write(results, [cell.name for cell in cells], report),
        sampled=sampled,
        protocols=under,
        template_lines=manifests.get("model/base/manifest.json", {}).get("template", []),
        crossed=crossed,
        arms=found.arms,
        trained=found.trained(),
        gates=gate.table(found),
        variants=_variants(config["variants"]),
        runs=runs.table(results, [arm.path for arm in found.trained() if arm.kind == "grpo"], manifests),
        curves=curves.write(found, report / "curves", draw=not again),
        data=filter_table(datasets),
        datasets=datasets,
        leakage=leakage.table(found, **config["leakage"]),
        opinions=opinions,
        repeats=second.sentence(opinions),
        stages=times,
        cost=cost,
    )
    (report / "index.html").write_text(index, encoding="utf-8")
    _write_samples(found, report / "samples", config["samples"])
    shown = _shown(tables, notes, several=(numbers["seeds"]["seeds"] > 1).any())
    (report / "models").mkdir(exist_ok=True)
    for arm in found.trained():
        card = model_card.render(found, arm, numbers["pass_at_1"], shown, manifests, config)
        (report / "models" / f"{arm.slug}.md").write_text(card, encoding="utf-8")
    parts = [shown, layout.markdown(times), *([cost] if cost else []), f"{report}/index.html"]
    (report / "summary.txt").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    training_last = sorted(locked.items(), key=lambda pair: pair[0].prompt == TRAINING)
    under_training = protocol.facts({cell.task: each for cell, each in training_last})
    return {"made_from": lineage.made_from(manifests), "protocol": under_training}


Tables = dict[str, pd.DataFrame]


def _tables(
    found: Results, config: dict[str, Any], hashes: dict[str, str], report: Path, inexact: list[str]
) -> tuple[Tables, Tables, list[str]]:
    """Writes the tables of accuracy; returns them as numbers and as people read them, and the lines below the first."""
    numbers = {
        "pass_at_1": accuracy.table(found),
        "comparisons": comparisons.table(found, config, hashes),
        "seeds": by_seed.table(found),
        "moved": moved.write(found, pairs.of(config), report / "moved"),
    }
    readable = {
        "pass_at_1": accuracy.wide(numbers["pass_at_1"], gains.by_cell(numbers["comparisons"], config)),
        "comparisons": comparisons.wide(numbers["comparisons"]),
        "seeds": by_seed.wide(numbers["seeds"]),
        "moved": moved.wide(numbers["moved"]),
    }
    if config["sampled"]:
        numbers["pass_at_k"] = pass_at_k.table(found, config["sampled"])
        readable["pass_at_k"] = pass_at_k.wide(numbers["pass_at_k"])
    own = _own_prompts(config["prompts"])
    notes = [*gains.notes(numbers["comparisons"], config), *own, *inexact]
    for name, tidy in numbers.items():
        layout.write(tidy, readable[name], report, name, "\n\n".join(notes if name == "pass_at_1" else own))
    return numbers, readable, notes


def _shown(tables: Tables, notes: list[str], several: bool) -> str:
    """The tables of accuracy as text; that of the seeds where there are several."""
    names = [*(["pass_at_k"] if "pass_at_k" in tables else []), *(["seeds"] if several else [])]
    return "\n\n".join(
        [layout.markdown(tables["pass_at_1"]), *notes, *(layout.markdown(tables[name]) for name in names)]
    )


def _estimated(results: Path) -> dict[str, int]:
    """Bytes that the preflight foresaw for each stage."""
    file = results / "preflight" / "estimate.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: stage["total"] for name, stage in found.get("stages", {}).items()}


def _metrics(tidy: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracies by arm and task, for `dvc metrics`."""
    nested: dict = {}
    for row in tidy.itertuples():
        name = Arm(row.cell.rsplit("/", 2)[0]).slug
        nested.setdefault(name, {})[row.task] = {
            key: value if layout.known(value) else None
            for key, value in (("strict", row.strict), ("flexible", row.flexible))
        }
    return nested


def _own_prompts(prompts: list[dict[str, Any]]) -> list[str]:
    """A line that names the arms with a prompt of their own, where there are any."""
    own = [f"{row['arm']} on {row['task']}" for row in prompts if row["arm"] != "all others"]
    return [f"Not under the prompt of training: {', '.join(own)}; index.html shows the prompts."] if own else []


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
        (folder / f"{arm.slug}.html").write_text(text, encoding="utf-8")
