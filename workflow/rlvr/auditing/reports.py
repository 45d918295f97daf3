"""Writes the report again, without figures, and holds every file against the one that is there."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rlvr import digests, provenance
from rlvr.stages import report as stage

TIMED = ("stages.csv", "index.html", "summary.txt", "cells/", "models/")
"""What shows when, where and in which time a job ran, beside its result."""

TABLES = (".csv", ".json", ".md", ".tex")


def check(folder: Path, manifest: Mapping[str, Any], manifests: Mapping[str, Any]) -> tuple[list[str], list[str], int]:
    """What does not hold of a report, what is to be known, and how many numbers its tables hold."""
    problems, remade = _made_from(folder, manifest.get("made_from", {}), manifests)
    notes = [f"report: made before {name} was, from the same content; times it shows are older" for name in remade]
    with tempfile.TemporaryDirectory() as made, _home(folder, manifest) as results:
        target = Path(made) / "report"
        try:
            stage.run(manifest["config"], results=results, report=target, again=True)
        except Exception as error:  # of damaged files, which are named elsewhere
            said = " ".join(str(error).split())[:200]
            return [*problems, f"{folder}/report: can't be written again ({type(error).__name__}: {said})"], notes, 0
        written = _names(target)
        shown = f"{manifest['given']['results']}/report"
        found = [(name, (target / name).read_text(encoding="utf-8").replace(str(target), shown)) for name in written]
    more = [name for name in _names(folder / "report") if name not in written]
    problems += [f"{folder}/report/{name}: is no file of the report" for name in more]
    held = [(name, text) for name, text in found if not (remade and _only_times(folder, name, dict(found)))]
    differing = {name: said for name, text in held if (said := _first(folder / "report" / name, text))}
    code = digests.stage("report")
    if differing and manifest.get("code") != code:
        tables = [name for name in differing if name.endswith(TABLES)]
        said = f"written by another version of the report ({manifest.get('code')}, now {code}), which would now write "
        if tables:
            problems.append(f"{folder}/report: {said}{', '.join(tables)} otherwise; rlvr rescore")
        else:
            notes.append(f"report: {said}{len(differing)} pages otherwise and all tables as they are")
    else:
        problems += [f"{folder}/report/{name}{said}" for name, said in differing.items()]
    return problems, notes, sum(_numbers(text) for name, text in found if name.endswith(".csv"))


def _names(report: Path) -> list[str]:
    """The files of a report but its manifest and figures."""
    files = (path.relative_to(report).as_posix() for path in sorted(report.rglob("*")) if path.is_file())
    return [name for name in files if not name.endswith((".png", ".svg", provenance.NAME, ".snakemake_timestamp"))]


def _only_times(folder: Path, name: str, written: Mapping[str, str]) -> bool:
    """Whether a file may differ where jobs were done again: it shows times, and the summary holds the same table."""
    if not name.startswith(TIMED):
        return False
    file = folder / "report" / name
    return name != "summary.txt" or (
        file.is_file() and written["pass_at_1.md"].strip() in file.read_text(encoding="utf-8")
    )


def _made_from(folder: Path, recorded: Mapping[str, Any], manifests: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What differs from the manifests that the report was made from: problems, and those made anew as they were."""
    problems, remade = [], []
    for name, then in recorded.items():
        now = manifests.get(name)
        if not isinstance(now, dict):
            problems.append(f"{folder}/{name}: is missing or can't be read, and the report was made from it")
        elif provenance.identity_of(now["files"]) != then["files"]:
            problems.append(f"{folder}/report: made from another version of {name}")
        elif provenance.own_digest(now) != then["manifest"]:
            remade.append(name)
    return problems, remade


@contextlib.contextmanager
def _home(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """The folder by the name that the report knows it by, from where that name leads to it."""
    known, whole = Path(manifest["given"]["results"]), folder.absolute()
    if known.is_absolute() or ".." in known.parts:
        yield whole
    elif whole.parts[-len(known.parts) :] == known.parts:
        with contextlib.chdir(whole.parents[len(known.parts) - 1]):
            yield known
    else:  # known by the name of a link to it
        with tempfile.TemporaryDirectory() as made:
            linked = Path(made) / known
            linked.parent.mkdir(parents=True, exist_ok=True)
            linked.symlink_to(whole, target_is_directory=True)
            with contextlib.chdir(made):
                yield known


def _first(file: Path, text: str) -> str:
    """Where a file first differs from what was written again, "" where it does not."""
    if not file.is_file():
        return ": is missing"
    there = file.read_bytes().decode(errors="replace")
    if there == text:
        return ""
    lines = zip_longest(there.splitlines(), text.splitlines(), fillvalue="")
    number, then, now = next(((i, a, b) for i, (a, b) in enumerate(lines, 1) if a != b), (1, there, text))
    if file.suffix == ".csv":
        column, then, now = _cell(text.splitlines()[0], then, now)
        return f", line {number}{column}: holds {then!r}, written again {now!r}"
    place = next((i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now)))
    begin = max(0, place - 20)
    return f", line {number}: holds {then[begin : place + 40]!r}, written again {now[begin : place + 40]!r}"


def _cell(head: str, then: str, now: str) -> tuple[str, str, str]:
    """The first cell of a line of CSV that differs."""
    names, old, new = (next(csv.reader([line]), []) for line in (head, then, now))
    for name, one, other in zip(names, old, new, strict=False):
        if one != other:
            return f", column {name!r}", one, other
    return "", then, now


def _numbers(text: str) -> int:
    return sum(_is_number(cell) for line in csv.reader(io.StringIO(text)) for cell in line)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
