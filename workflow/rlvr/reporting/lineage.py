"""What made a cell of the table, as people and machines read it, and the command that makes it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr import provenance
from rlvr.reporting import page
from rlvr.reporting.chain import OTHER, SAME, Artifact, Chain

SHOWN = 12


def rebuild(artifacts: list[Artifact], experiment: str) -> tuple[str, list[str]]:
    """The snakemake command that makes a cell, as it was asked for, and what is to be known about it."""
    head = artifacts[0]
    asked = [artifact.content.get("asked") for artifact in artifacts]
    cores = max(int(artifact.content.get("threads") or 1) for artifact in artifacts)
    target = f"results/{experiment}/{head.path.rpartition('/')[0]}/scores.parquet"
    command = f"snakemake --cores {cores} {shlex.quote(target)}"
    if asked[0] is None:
        return command, ["it was made by a stage run by hand: under which config files is not recorded"]
    if asked[0]["configfiles"] != ["config/config.yaml"]:
        command += " --configfile " + shlex.join(asked[0]["configfiles"])
    notes = []
    if asked[0]["config"]:
        laid = [
            f"{key}={value if isinstance(value, str) else json.dumps(value)}"
            for key, value in asked[0]["config"].items()
        ]
        command += " --config " + shlex.join(laid)
        notes.append("an override (--config) was laid over the config files")
    for name, commit in asked[0].get("revisions", {}).items():
        notes.append(f"{name} was locked to {commit}")
    others = [artifact.path for artifact in artifacts if artifact.content.get("asked") != asked[0]]
    if others:
        notes.append(f"other config files or overrides asked the same of: {', '.join(others)}")
    return command, notes


def slug(cell: str) -> str:
    return cell.replace("/", "-")


def text(artifacts: list[Artifact], cell: str, experiment: str) -> str:
    """The lineage of a cell as people read it."""
    lines = [cell, ""]
    before: Mapping[str, Any] = {}
    for artifact in artifacts:
        lines += [*_lines(artifact, before), ""]
        before = artifact.content
    command, notes = rebuild(artifacts, experiment)
    lines += ["Makes what is missing of it or has changed; with --forceall all of it:", f"    {command}"]
    return "\n".join([*lines, *(f"Note: {note}." for note in notes)]) + "\n"


def _lines(artifact: Artifact, before: Mapping[str, Any]) -> list[str]:
    content = artifact.content
    seconds = sum(content.get("seconds", {}).values())
    device = content.get("device", "cpu")
    what = f"stage {content.get('stage', '?')}, code {content.get('code', 'not recorded')}"
    lines = [artifact.path, f"  made      {content.get('finished', '?')}, {what}, {seconds:.1f} s, device {device}"]
    lines += [f"  holds     {name}  {identity[:SHOWN]}" for name, identity in artifact.made.items()]
    for given in artifact.inputs:
        if given.recorded is None:
            continue
        mark = "" if given.state == SAME else f"  ! {given.state}"
        mark += f": there now {given.now[:SHOWN]}" if given.state == OTHER and given.now else ""
        lines.append(f"  from      {given.path}  {given.recorded[:SHOWN]}{mark}")
    for title in ("plugins", "seeds", "flags", "versions"):
        values = content.get(title)
        said = ", ".join(f"{key} {value}" for key, value in (values or {}).items()) or "none"
        if values is None:
            said = "not recorded"
        elif values and values == before.get(title):
            said = "as above"
        lines.append(f"  {title:9} {said}")
    return lines


def experiment(folder: Path) -> str:
    """The name of an experiment by its folder, which may be a link to one of another name."""
    return (folder.resolve() if folder.name == ".." else folder.absolute()).name


def write(folder: Path, cells: list[str], report: Path) -> dict[str, str]:
    """Writes a page a cell into `report/cells`; returns the pages' paths below the report, by cell."""
    chain = Chain(folder)
    (report / "cells").mkdir(parents=True, exist_ok=True)
    links = {cell: f"cells/{slug(cell)}.html" for cell in cells}
    for cell, link in links.items():
        shown = text(chain.of(cell), cell, experiment(folder))
        (report / link).write_text(page.render("cell", title=f"What made {cell}", text=shown), encoding="utf-8")
    return links


def made_from(manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """What the report was made from: of each manifest the digest of what it says and the identity of its files."""
    return {
        name: {"manifest": provenance.own_digest(dict(content)), "files": provenance.identity_of(content["files"])}
        for name, content in manifests.items()
    }


def as_json(artifacts: list[Artifact], cell: str, experiment: str) -> dict[str, Any]:
    """The same for machines."""
    command, notes = rebuild(artifacts, experiment)
    chain = [
        {
            "manifest": artifact.path,
            "made": dict(artifact.made),
            "inputs": [vars(given) for given in artifact.inputs],
            **{key: value for key, value in artifact.content.items() if key not in ("files", "inputs")},
        }
        for artifact in artifacts
    ]
    return {"cell": cell, "artifacts": chain, "rebuild": command, "notes": notes}
