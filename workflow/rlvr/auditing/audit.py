"""Holds an experiment's folder against itself: files, manifests, verdicts, tables. Needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr import provenance
from rlvr.auditing import judging, reports, strays
from rlvr.reporting.chain import MISSING, OTHER, Chain
from rlvr.reporting.lineage import SHOWN
from rlvr_plugins import parquet

REPORT = "report/manifest.json"


@dataclass
class Audit:
    """problems: what does not hold, one line each. notes: what is to be known."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        counted = ", ".join(f"{number:,} {name}" for name, number in self.counts.items())
        wrong = len(self.problems)
        return (
            f"{f'{wrong} problems' if wrong != 1 else '1 problem'} in {counted}" if wrong else f"all holds: {counted}"
        )


def of(folder: Path) -> Audit:
    """Looks at all there is in the folder of an experiment."""
    audit, chain = Audit(folder), Chain(folder)
    readable = chain.manifests
    audit.problems += [f"{folder}/{name}: {said}" for name, said in chain.read.items() if isinstance(said, str)]
    files = 0
    for name, content in readable.items():
        audit.problems += _manifest(folder / name, content)
        files += len(content["files"])
    audit.problems += strays.named(folder, chain)
    current = _current(chain)
    for name in current:
        audit.problems += _inputs(folder, chain, name)
    judged = 0
    for name in current:
        if readable[name].get("stage") in judging.JUDGES:
            problems, count = _judged(folder, name, readable[name])
            audit.problems += problems
            judged += count
    numbers = 0
    if REPORT in readable:
        problems, notes, numbers = _report(folder, readable[REPORT], chain.read)
        audit.problems += problems
        audit.notes += notes
    elif REPORT not in chain.read:
        audit.problems.append(f"{folder}/{REPORT}: is missing; the experiment has no finished report")
    if rest := len(readable) - len(current):
        audit.notes.append(
            f"{rest} manifests of arms or tasks that the report leaves out: only their files were checked"
        )
    audit.counts = {"manifests": len(chain.read), "files": files, "completions": judged, "numbers": numbers}
    audit.problems = list(dict.fromkeys(audit.problems))
    return audit


def _current(chain: Chain) -> list[str]:
    """The manifests that the report was made from and what these were made from; all where there is no report."""
    report = chain.manifests.get(REPORT)
    if report is None or "made_from" not in report:
        return list(chain.manifests)
    found: dict[str, None] = {REPORT: None}
    for name in report["made_from"]:
        if name in chain.manifests:
            found |= dict.fromkeys(artifact.path for artifact in chain.behind(name))
    return list(found)


def _manifest(path: Path, content: Mapping[str, Any]) -> list[str]:
    """What does not hold of a manifest and of the files it lists."""
    problems = []
    if "given" in content and provenance.edited(dict(content)):
        problems.append(f"{path}: was edited: its digest is not that of what it says")
    if said := provenance.unsigned(path, dict(content)):
        problems.append(f"{path}: {said}")
    for name, digest in content["files"].items():
        file = path.parent / name
        if not file.is_file():
            problems.append(f"{file}: is missing")
        elif provenance.sha256(file) != digest:
            problems.append(f"{file}: is not what {path.name} says (sha256 {provenance.sha256(file)[:SHOWN]})")
            problems += [f"{file}: {said}" for said in (parquet.unreadable(file) if file.suffix == ".parquet" else [])]
    return problems


def _inputs(folder: Path, chain: Chain, name: str) -> list[str]:
    said = {
        OTHER: "{folder}/{name}: made from another version of {path} ({recorded}, now {now})",
        MISSING: "{folder}/{name}: made from {path}, which is not there",
    }
    return [
        said[each.state].format(
            folder=folder,
            name=name,
            path=each.path,
            recorded=(each.recorded or "")[:SHOWN],
            now=(each.now or "without a manifest")[:SHOWN],
        )
        for each in chain.artifact(name).inputs
        if each.state in said
    ]


def _judged(folder: Path, name: str, manifest: Mapping[str, Any]) -> tuple[list[str], int]:
    if "given" not in manifest:
        return [f"{folder}/{name}: an earlier version wrote it, which did not record enough; rlvr rescore"], 0
    try:
        return judging.check(folder, name, manifest)
    except (KeyError, TypeError, AttributeError) as error:
        return [f"{folder}/{name}: can't be used ({type(error).__name__}: {error})"], 0


def _report(folder: Path, manifest: Mapping[str, Any], read: Mapping[str, Any]) -> tuple[list[str], list[str], int]:
    if "given" not in manifest:
        return [f"{folder}/{REPORT}: an earlier version wrote it, which did not record enough; rlvr rescore"], [], 0
    try:
        return reports.check(folder, manifest, read)
    except (KeyError, TypeError, AttributeError) as error:
        return [f"{folder}/{REPORT}: can't be used ({type(error).__name__}: {error})"], [], 0
