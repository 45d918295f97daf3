"""Reads what the stages of an experiment left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr import provenance, tables
from rlvr.cells import Cell

GREEDY, SAMPLED = "greedy", "sampled"
SECOND = f"second_scores.{provenance.NAME}"


@dataclass(frozen=True)
class Arm:
    """One model of the comparison: `base`, `sft`, `sft/<variant>` or `grpo/<variant>/seed<k>`."""

    path: str

    @property
    def kind(self) -> str:
        return self.path.partition("/")[0]

    @property
    def variant(self) -> str:
        return self.path.split("/")[1] if "/" in self.path else ""

    @property
    def seed(self) -> int | None:
        return int(self.path.rpartition("/seed")[2]) if self.kind == "grpo" else None

    @property
    def slug(self) -> str:
        return self.path.replace("/", "-")


@dataclass(frozen=True)
class Results:
    """The folder of an experiment.

    tasks: those evaluated. steps: the filters' folders of every task.
    cells: what is answered and judged, those under another arm's prompt included.
    controls: the name of each arm that is a control, by its path. second: which second opinions there are.
    """

    folder: Path
    arms: list[Arm]
    tasks: list[str]
    steps: Mapping[str, list[str]]
    cells: Sequence[Cell] = ()
    controls: Mapping[str, str] = field(default_factory=dict)
    second: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decodings(self) -> list[str]:
        """How the items were answered: `greedy`, and `sampled` where they were."""
        return list(dict.fromkeys(cell.mode for cell in self.cells))

    def label(self, arm: Arm) -> dict[str, Any]:
        """Arm, variant and seed of an arm as the tables show them."""
        name = self.controls.get(arm.path)
        return {"arm": "control" if name else arm.kind, "variant": name or arm.variant, "seed": arm.seed}

    def items(self, task: str) -> pd.DataFrame:
        return tables.frame(self.folder / "data" / task / "raw" / "eval.parquet")

    def completions(self, arm: Arm, task: str, decoding: str = GREEDY) -> pd.DataFrame:
        return tables.frame(self._evaluation(arm, task, decoding) / "completions.parquet")

    def scores(self, arm: Arm, task: str, decoding: str = GREEDY) -> pd.DataFrame:
        return tables.frame(self._evaluation(arm, task, decoding) / "scores.parquet")

    def scores_of(self, cell: Cell) -> pd.DataFrame:
        return tables.frame(self.folder / cell.folder / "scores.parquet")

    def metrics(self, arm: Arm) -> pd.DataFrame:
        return tables.frame(self.folder / arm.path / "metrics.parquet")

    def dataset(self, task: str) -> dict[str, Any]:
        """What the filters did to a task's rows."""
        return json.loads((self.folder / "dataset" / task / "stats.json").read_text(encoding="utf-8"))

    def trained(self) -> list[Arm]:
        return [arm for arm in self.arms if arm.kind != "base"]

    def verified(self) -> dict[str, dict[str, Any]]:
        """The manifest of every artifact of this experiment, by its path within the folder.

        Each file of each artifact is checked, whether the report reads it or not: what came from a
        cache was checked by nobody before. Raises RlvrError naming the first that does not hold.
        """
        return {name: provenance.verify_manifest(path) for name, path in self._paths().items()}

    def manifests(self) -> dict[str, dict[str, Any]]:
        """The same manifests, without a look at their files."""
        return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in self._paths().items()}

    def _paths(self) -> dict[str, Path]:
        names = sorted(provenance.manifests(self.folder))
        return {name: self.folder / name for name in names if self._current(name)}

    def _current(self, name: str) -> bool:
        """Whether a manifest belongs to what today's config asks for."""
        arms, second = [arm.path for arm in self.arms], self.second
        folders = ["preflight"]
        for part in ("data", "dataset"):
            for task, steps in self.steps.items():
                folders += [f"{part}/{task}", *(f"{part}/{task}/{step}" for step in ("raw", *steps))]
        folders += [*arms, *(f"model/{arm}{part}" for arm in arms for part in ("", "/gate"))]
        folders += [cell.folder for cell in self.cells]
        folders += [f"eval/{arm}/{task}/lm_eval" for arm in arms for task in second.get("lm_eval", [])]
        repeat, labels = second.get("repeat", {"tasks": []}), second.get("labels", [])
        folders += [f"eval/{repeat['arm']}/{task}/repeat" for task in repeat["tasks"]]
        folders += [f"data/{task}/second" for task in labels]
        folder, _, file = name.rpartition("/")
        if file == SECOND:
            return folder in [f"eval/{arm}/{task}/{GREEDY}" for arm in arms for task in labels]
        return folder in folders

    def _evaluation(self, arm: Arm, task: str, decoding: str) -> Path:
        return self.folder / "eval" / arm.path / task / decoding
