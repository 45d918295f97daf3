"""Reads what the stages of an experiment left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr import provenance

GREEDY = "greedy"


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

    tasks: those evaluated. steps: the filters' folders of every task. decodings: how the items were answered.
    """

    folder: Path
    arms: list[Arm]
    tasks: list[str]
    steps: Mapping[str, list[str]]
    decodings: Sequence[str] = (GREEDY,)

    def items(self, task: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "data" / task / "raw" / "eval.parquet")

    def completions(self, arm: Arm, task: str) -> pd.DataFrame:
        return pd.read_parquet(self._evaluation(arm, task, GREEDY) / "completions.parquet")

    def scores(self, arm: Arm, task: str, decoding: str = GREEDY) -> pd.DataFrame:
        return pd.read_parquet(self._evaluation(arm, task, decoding) / "scores.parquet")

    def metrics(self, arm: Arm) -> pd.DataFrame:
        return pd.read_parquet(self.folder / arm.path / "metrics.parquet")

    def dataset(self, task: str) -> dict[str, Any]:
        """What the filters did to a task's rows."""
        return json.loads((self.folder / "dataset" / task / "stats.json").read_text())

    def trained(self) -> list[Arm]:
        return [arm for arm in self.arms if arm.kind != "base"]

    def verified(self) -> dict[str, dict[str, Any]]:
        """The manifest of every artifact of this experiment, by its path within the folder.

        Each file of each artifact is checked, whether the report reads it or not: what came from a
        cache was checked by nobody before. Raises RlvrError naming the first that does not hold.
        """
        paths = sorted(self.folder.rglob(f"*{provenance.NAME}"))
        named = {path.relative_to(self.folder).as_posix(): path for path in paths}
        return {name: provenance.verify_manifest(path) for name, path in named.items() if self._current(name)}

    def _current(self, name: str) -> bool:
        """Whether a manifest belongs to the arms and tasks of today's config."""
        arms, tasks = [arm.path for arm in self.arms], self.tasks
        folders = ["preflight"]
        for part in ("data", "dataset"):
            for task, steps in self.steps.items():
                folders += [f"{part}/{task}", *(f"{part}/{task}/{step}" for step in ("raw", *steps))]
        folders += [*arms, *(f"model/{arm}" for arm in arms)]
        folders += [f"eval/{arm}/{task}/{decoding}" for arm in arms for task in tasks for decoding in self.decodings]
        return name.rpartition("/")[0] in folders

    def _evaluation(self, arm: Arm, task: str, decoding: str) -> Path:
        return self.folder / "eval" / arm.path / task / decoding
