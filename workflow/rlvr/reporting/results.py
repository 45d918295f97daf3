"""Reads what the stages of an experiment left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr import provenance

DECODING = "greedy"


@dataclass(frozen=True)
class Arm:
    """One model of the comparison: `base`, `sft` or `grpo/<variant>/seed<k>`."""

    path: str

    @property
    def kind(self) -> str:
        return self.path.partition("/")[0]

    @property
    def variant(self) -> str:
        return self.path.split("/")[1] if "/" in self.path else ""

    @property
    def seed(self) -> int | None:
        return int(self.path.rpartition("/seed")[2]) if "/" in self.path else None

    @property
    def slug(self) -> str:
        return self.path.replace("/", "-")


@dataclass(frozen=True)
class Results:
    """The folder of an experiment."""

    folder: Path
    arms: list[Arm]
    tasks: list[str]

    def items(self, task: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "data" / task / "eval.parquet")

    def completions(self, arm: Arm, task: str) -> pd.DataFrame:
        return pd.read_parquet(self._evaluation(arm, task) / "completions.parquet")

    def scores(self, arm: Arm, task: str) -> pd.DataFrame:
        return pd.read_parquet(self._evaluation(arm, task) / "scores.parquet")

    def metrics(self, arm: Arm) -> pd.DataFrame:
        return pd.read_parquet(self.folder / arm.path / "metrics.parquet")

    def filtered(self, task: str) -> dict[str, Any]:
        return json.loads((self.folder / "data" / task / "stats.json").read_text())

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
        top = name.partition("/")[0]
        known = {arm.path for arm in self.arms}
        inner = name.partition("/")[2] if top in ("model", "eval") else name
        if inner.startswith("grpo/"):
            return any(inner.startswith(f"{path}/") for path in known)
        return top in ("data", "model", "eval", "sft")

    def _evaluation(self, arm: Arm, task: str) -> Path:
        return self.folder / "eval" / arm.path / task / DECODING
