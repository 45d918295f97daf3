"""The command `rlvr doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

DEFAULT = Path("config/config.yaml")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    doctor = commands.add_parser("doctor", help="what is installed, what can run here, and what to do about each lack")
    doctor.add_argument(
        "--configfile", type=Path, nargs="+", help=f"the experiment to look at it for (default: {DEFAULT})"
    )
    doctor.add_argument("--json", action="store_true", help="the findings as JSON")
    doctor.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from rlvr.doctor.examination import examine
    from rlvr.doctor.findings import render

    files = arguments.configfile or ([DEFAULT] if DEFAULT.is_file() else [])
    facts = examine(files, Path())
    if arguments.json:
        print(json.dumps({**facts, "findings": [dataclasses.asdict(each) for each in facts["findings"]]}, indent=1))
    else:
        print(render(facts["findings"]))
        asked = " ".join(map(str, files)) or "training without a config"
        verdict = "lacks " + ", ".join(facts["lacking"]) if facts["lacking"] else "all it needs is there"
        print(f"\n{asked}: {verdict}")
    return 1 if facts["lacking"] else 0
