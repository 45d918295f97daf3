"""The manifests of an experiment and how they hang together: what each artifact was made from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlvr import provenance
from rlvr.errors import RlvrError

SAME, OTHER, MISSING, UNKNOWN = "same", "made from another version", "is not there", "had no manifest"
SCORES = "scores.manifest.json"
PLACE = re.compile(r"^(?:.*/)?results/[^/]+/(.+)$")


@dataclass(frozen=True)
class Input:
    """A file or folder that an artifact was made from.

    path: below the experiment's folder, or as the stage was given it. recorded, now: its identity then and now.
    """

    path: str
    recorded: str | None
    now: str | None
    state: str


@dataclass(frozen=True)
class Artifact:
    """What one job made. path: of its manifest below the experiment's folder. made: identities by name."""

    path: str
    content: Mapping[str, Any]
    made: Mapping[str, str]
    inputs: list[Input]


class Chain:
    """The manifests of an experiment's folder and how they hang together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def manifests(self) -> dict[str, dict[str, Any]]:
        """The content of every manifest that can be read, by its path below the folder."""
        return {name: content for name, content in self.read.items() if isinstance(content, dict)}

    @cached_property
    def read(self) -> dict[str, dict[str, Any] | str]:
        """The same, and what is wrong with those that can't be read."""
        return {name: _content(self.folder / name) for name in sorted(provenance.manifests(self.folder))}

    @cached_property
    def _owners(self) -> dict[str, str]:
        """The manifest of each file and folder that one lists."""
        owners: dict[str, str] = {}
        for name, content in self.manifests.items():
            folder = name.rpartition("/")[0]
            for file in content["files"]:
                parts = file.split("/")
                for size in range(1, len(parts) + 1):
                    owners.setdefault(f"{folder}/{'/'.join(parts[:size])}", name)
        return owners

    def identity(self, path: str) -> str | None:
        """As `provenance.identity`, of a path below the folder."""
        owner = self._owners.get(path)
        return owner and provenance.identity_of(
            self.manifests[owner]["files"], path[len(owner.rpartition("/")[0]) + 1 :]
        )

    def artifact(self, name: str) -> Artifact:
        """The artifact of the manifest of that name."""
        content = self.manifests[name]
        folder = name.rpartition("/")[0]
        made = {file: self.identity(f"{folder}/{file}") for file in sorted({f.split("/")[0] for f in content["files"]})}
        inputs = [self._input(path, recorded) for path, recorded in content.get("inputs", {}).items()]
        return Artifact(name, content, made, inputs)

    def _input(self, path: str, recorded: str | None) -> Input:
        below, given = below_results(path), Path(path)
        now = self.identity(below)
        elsewhere = Path(below).is_absolute() or not (self.folder / below).exists()
        if now is None and recorded and elsewhere and given.exists():
            now = provenance.contents(given)
        if recorded is None:
            return Input(below, recorded, now, UNKNOWN)
        there = now is not None or (self.folder / below).exists() or given.exists()
        return Input(below, recorded, now, SAME if now == recorded else OTHER if there else MISSING)

    def cells(self) -> list[str]:
        """The cells that were judged: `<arm>/<task>/<decoding>`."""
        names = (name.split("/") for name in self.manifests)
        return ["/".join(parts[1:-1]) for parts in names if parts[0] == "eval" and parts[-1] == SCORES]

    def of(self, cell: str) -> list[Artifact]:
        """The artifacts of a cell, each before those it was made from, the data last. Raises RlvrError for no cell."""
        if cell not in self.cells():
            known = ", ".join(self.cells()) or f"nothing, as nothing in {self.folder} was judged"
            raise RlvrError(f"{cell}: no such cell in {self.folder}; allowed: {known}")
        return self.behind(f"eval/{cell}/{SCORES}")

    def behind(self, name: str) -> list[Artifact]:
        """The artifact of a manifest and all it was made from, each before those it was made from."""
        order: list[str] = []
        self._visit(name, order)
        return [self.artifact(name) for name in reversed(order)]

    def _visit(self, name: str, order: list[str]) -> None:
        """Adds a manifest after all that its artifact was made from."""
        if name in order:
            return
        for path in sorted(self.manifests[name].get("inputs", {}), reverse=True):
            owner = self._owners.get(below_results(path))
            if owner and owner != name:
                self._visit(owner, order)
        order.append(name)


def below_results(path: str) -> str:
    """A path below `results/<experiment>`; another one as it is."""
    found = PLACE.match(path)
    return found[1] if found else path


def _content(path: Path) -> dict[str, Any] | str:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return str(error)
    return provenance.problem_of(content) or content
