"""The commands `rlvr lineage`, `rlvr audit` and `rlvr rescore`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.errors import RlvrError

DEFAULT = Path("config/config.yaml")
RESULTS = Path("results")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Adds the commands to the parser."""
    lineage = commands.add_parser("lineage", help="what made a cell of the table, from its scores back to the data")
    lineage.add_argument("cell", help="such as grpo/dapo/seed0/countdown/greedy; greedy may be left out")
    lineage.add_argument("--results", type=Path, help="folder of the experiment (default: the only one in results/)")
    lineage.add_argument("--json", action="store_true", help="the same as JSON")
    lineage.set_defaults(run=_lineage)
    audit = commands.add_parser("audit", help="verify every manifest and count every number again")
    audit.add_argument("results", type=Path, help="folder of the experiment, such as results/tiny")
    audit.set_defaults(run=_audit)
    rescore = commands.add_parser("rescore", help="judge the stored completions and write the tables again, no model")
    rescore.add_argument("--configfile", type=Path, nargs="+", help=f"the experiment (default: {DEFAULT})")
    rescore.add_argument("--config", nargs="+", metavar="KEY=VALUE", help="laid over it, as snakemake takes it")
    rescore.add_argument(
        "--cores", type=int, default=os.cpu_count() or 1, help="jobs at once (default: as many as cores)"
    )
    rescore.set_defaults(run=_rescore)


def _lineage(arguments: argparse.Namespace) -> None:
    from rlvr.reporting import lineage
    from rlvr.reporting.chain import Chain

    folder = arguments.results or _only()
    _require(folder)
    chain = Chain(folder)
    named = arguments.cell.strip("/").removeprefix("eval/")
    cell = f"{named}/greedy" if f"{named}/greedy" in chain.cells() else named
    artifacts = chain.of(cell)
    changes = _changes([artifact.content for artifact in artifacts])
    if arguments.json:
        found = lineage.as_json(artifacts, cell, lineage.experiment(folder))
        print(json.dumps(found | {"notes": [*found["notes"], *changes]}, indent=1))
    else:
        print(lineage.text(artifacts, cell, lineage.experiment(folder)), end="")
        print("".join(f"Note: {change}.\n" for change in changes), end="")


def _changes(manifests: list[Mapping[str, Any]]) -> list[str]:
    """What the config files would now ask otherwise than when a cell was made."""
    from rlvr import config, slices

    asked = manifests[0].get("asked")
    if not asked:
        return []
    try:
        cut = slices.of(config.load(list(map(Path, asked["configfiles"])), asked["config"]))
    except RlvrError as error:
        return [f"its config files can't be used any more ({str(error).splitlines()[0]})"]
    known = json.loads(json.dumps(list(cut.values())))
    stages = sorted({manifest["stage"] for manifest in manifests if manifest["config"] not in known})
    return [f"the config files would now ask otherwise of: {', '.join(stages)}"] if stages else []


def _only() -> Path:
    """The folder of the only experiment there is."""
    found = sorted(path.parent for path in RESULTS.glob("*/eval"))
    if len(found) != 1:
        there = ", ".join(map(str, found)) or "none here"
        raise RlvrError(f"--results: is missing; allowed: the folder of an experiment ({there})")
    return found[0]


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise RlvrError(f"{folder}: is not there; allowed: the folder of an experiment, such as results/tiny")


def _audit(arguments: argparse.Namespace) -> int:
    from rlvr.auditing import audit

    _require(arguments.results)
    found = audit.of(arguments.results)
    for problem in found.problems:
        print(problem)
    for note in found.notes:
        print(f"note: {note}")
    print(f"{arguments.results}: {found.summary()}")
    return 1 if found.problems else 0


def _rescore(arguments: argparse.Namespace) -> int:
    from rlvr.auditing import rescore

    return rescore.run(arguments.configfile or [], arguments.config or [], arguments.cores)
