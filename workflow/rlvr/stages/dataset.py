"""Gathers a task's rows, what its filters did, figures and a data card into one folder, in the hub's format."""

from __future__ import annotations

import json
import shutil
from array import array
from pathlib import Path
from typing import Any

from rlvr import console, filtering, tables
from rlvr.engines.lengths import Lengths
from rlvr.errors import RlvrError
from rlvr.reporting import card as data_card
from rlvr.reporting import histograms, page


def run(
    config: dict[str, Any],
    *,
    base: Path,
    raw_train: Path,
    raw_sft: Path,
    raw_stats: Path,
    from_train: Path,
    from_sft: Path,
    from_eval: Path,
    train: Path,
    sft: Path,
    eval: Path,
    card: Path,
    stats: Path,
    dropped: Path,
    figures: Path,
    step_stats: list[Path] | None = None,
    step_dropped: list[Path] | None = None,
    rates: Path | None = None,
    pool: list[Path] | None = None,
) -> dict[str, Any]:
    """Copies the rows as training and evaluation use them, and writes the records beside them.

    `stats`: for each split the rows in, kept, and dropped by filter and reason; what the source left
    out; lengths before and after. `dropped`: a page with the sampled dropped rows. `figures`: a folder
    with histograms as PNG and SVG. Says so where training would sample a prompt too often.
    """
    for source, target in ((from_train, train), (from_sft, sft), (from_eval, eval)):
        shutil.copyfile(source, target)
    lengths = Lengths(base)
    found = {
        "splits": _splits(raw_train, raw_sft, from_eval, step_stats or [], config["steps"]),
        "source": json.loads(raw_stats.read_text(encoding="utf-8")),
        "lengths": {
            "train": histograms.compare(*_lengths(lengths, raw_train, from_train)),
            "sft": histograms.compare(*_lengths(lengths, raw_sft, from_sft)),
        },
        "seen": _seen(config, sum(tables.count(path) for path in pool or [])),
    }
    figures.mkdir(parents=True, exist_ok=True)
    titles = {"train": "prompts, tokens", "sft": "demonstrations with their prompts, tokens"}
    histograms.draw_lengths(found["lengths"], titles, figures / "lengths")
    if rates is not None:
        found["pass_rates"] = histograms.rates(tables.frame(rates))
        histograms.draw_rates(found["pass_rates"], figures / "pass_rates")
    stats.write_text(tables.json_text(found), encoding="utf-8")
    samples = {step: tables.read(path) for step, path in zip(config["steps"], step_dropped or [], strict=True)}
    dropped.write_text(
        page.render("dropped", title=f"Dropped rows of {config['task']}", samples=samples), encoding="utf-8"
    )
    card.write_text(data_card.render(config, found, {"train": train, "sft": sft, "eval": eval}), encoding="utf-8")
    return {"rows": {split: counts["kept"] for split, counts in found["splits"].items()}}


def _lengths(lengths: Lengths, raw: Path, kept: Path) -> tuple[array, array]:
    """Lengths of all rows and of those that were kept: the same rows in the same order, some left out."""
    before, after = array("l"), array("l")
    waiting = tables.stream(kept, tables.ITEM.names)
    row = next(waiting, None)
    with tables.opened(raw) as file:
        for batch in file.iter_batches(filtering.BATCH):
            counted = lengths.wholes(filtering.rows_of(batch))
            before.extend(counted)
            for other, length in zip(batch.select(tables.ITEM.names).to_pylist(), counted, strict=True):
                if row == other:
                    after.append(length)
                    row = next(waiting, None)
    if row is not None:
        raise RlvrError(f"{kept}: its rows are not among those of {raw} in their order; delete it and run again")
    return before, after


def _splits(
    raw_train: Path, raw_sft: Path, evaluation: Path, step_stats: list[Path], steps: list[str]
) -> dict[str, Any]:
    """For each split the rows in and kept, and for each step that looked at it what it dropped, by reason."""
    found = {}
    for split, raw in (("train", raw_train), ("sft", raw_sft), ("eval", evaluation)):
        rows = tables.count(raw)
        dropped = {}
        for step, path in zip(steps, step_stats, strict=True):
            counts = json.loads(path.read_text(encoding="utf-8")).get(split)
            if counts is not None:
                dropped[step] = counts["dropped"]
        kept = rows - sum(sum(reasons.values()) for reasons in dropped.values())
        found[split] = {"rows": rows, "kept": kept, "dropped": dropped}
    return found


def _seen(config: dict[str, Any], pool: int) -> dict[str, float]:
    """How often each variant samples a prompt, at least, on average over those of all tasks; warns of too often."""
    if not pool or "prompts_asked" not in config:
        return {}
    seen = {variant: round(asked / pool, 3) for variant, asked in config["prompts_asked"].items()} | config["epochs"]
    for variant, times in seen.items():
        if times > config["max_epochs"] and config["warns"]:
            console.say(
                f"dataset: training has {pool} prompts, and variant {variant} samples each of them at least {times:g} "
                f"times, more than grpo.max_epochs ({config['max_epochs']:g}): so small a pool is learnt by heart"
            )
    return seen
