"""Checks before training that every prompt leaves room in the model, and that every stage will fit into memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from rlvr import console, slice_files, tables, template_check
from rlvr.engines import device
from rlvr.engines.lengths import Lengths
from rlvr.errors import RlvrError
from rlvr.memory import apart, devices, hours, longest, machine, shapes
from rlvr.memory import probe as probes
from rlvr.memory.check import Check
from rlvr.memory.prompts import Rows


def run(
    config: dict[str, Any],
    *,
    base: Path,
    estimate: Path,
    probe: Path,
    passed: Path,
    train: list[Path] | None = None,
    sft: list[Path] | None = None,
    held_out: list[Path] | None = None,
    slices: list[Path] | None = None,
    work: Path | None = None,
    prompts: Path | None = None,
) -> None:
    """`estimate`: bytes of each stage by part. `probe`: what two steps of each stage took; without a probe, nothing.

    Before that, holds training, SFT and held-out rows against the longest sequence that the model takes, whatever
    `mode` says. `passed` says no more than that training may start. `slices`: config slices, one for each of `probes`
    in `config`. `work`: the slice by which hours are counted; without it none are. Raises RlvrError where a stage would
    not fit, unless `mode` says otherwise, where a probe fails, where a row leaves no room for its completion, and where
    the chat template refuses one of `prompts`, the slice with those of all arms. Without an estimate training starts.
    """
    if prompts:
        template_check.require(base, template_check.of_texts(json.loads(prompts.read_text(encoding="utf-8"))), "base")
    data = {"train": train or [], "sft": sft or []}
    require_room(config["prompts"], base, **data, held_out=held_out or [])
    chosen = device.choose(config["device"]).type
    estimated: dict[str, Any] = {}
    if config["mode"] != "off":
        try:
            estimated = _estimate(config, base, data, chosen, work and slice_files.read(work, "memory"))
        except apart.Failed as error:
            console.say(f"preflight: no estimate of the memory ({error}); training starts without")
    estimate.write_text(json.dumps(estimated, indent=1) + "\n", encoding="utf-8")
    measured: dict[str, Any] = {}
    wanted = config["probe"] == "always" or (config["probe"] == "auto" and chosen == "cuda")
    if estimated and wanted:
        folder = probe.with_name(".probe")
        stages = probes.run(config["probes"], slices or [], base, data, estimated["stages"], folder)
        measured = {"device": chosen, "stages": stages}
    probe.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    passed.write_text("training may start\n", encoding="utf-8")


def require_room(
    settings: dict[str, Any], base: Path, train: list[Path], sft: list[Path], held_out: list[Path]
) -> None:
    """Raises RlvrError naming the first row that is too long for the model; says how many demonstrations are cut."""
    rows = Rows(base, train, sft, held_out)
    if line := rows.problem(settings):
        raise RlvrError(line)
    for line in rows.cut(settings):
        console.say(f"preflight: {line}")


def _estimate(
    config: dict[str, Any], base: Path, data: dict[str, list[Path]], chosen: str, work: dict[str, Any] | None
) -> dict[str, Any]:
    rows = {split: sum(map(tables.count, paths)) for split, paths in data.items()}
    model = AutoConfig.from_pretrained(base)
    check = Check({**config, "rows": rows}, model, _lengths(base, **data), chosen, machine.capacity(chosen))
    console.note(check.table())
    for note in check.notes():
        console.say(f"preflight: {note}")
    if chosen == "cuda" and work:
        for line in _hours(check, work):
            console.say(f"preflight: {line}")
    problem = check.problem()
    refuses = config["mode"] == "refuse" or (config["mode"] == "auto" and chosen == "cpu")
    if check.refused and refuses:
        raise RlvrError(f"{problem}; or set preflight.mode: warn")
    if problem:
        console.say(f"preflight: {problem}")
    return check.record()


def _hours(check: Check, work: dict[str, Any]) -> list[str]:
    name = machine.gpu_name()
    known = devices.named(name)
    return hours.said(known, name, known and check.hours(known, work))


def _lengths(base: Path, train: list[Path], sft: list[Path]) -> shapes.Lengths:
    counter = Lengths(base)
    demonstrated = [row for path in sft for row in longest.rows(longest.by_characters(path))]
    prompted = [row for path in train for row in longest.rows(longest.by_characters(path))]
    prompt = max(counter.prompts([*prompted, *demonstrated]), default=shapes.ASSUMED_PROMPT)
    return shapes.Lengths(prompt, max(counter.wholes(demonstrated), default=prompt), "the rows after filters", True)
