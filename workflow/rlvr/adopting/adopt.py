"""Judges every job of an experiment and takes over what holds, as if it had run here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from rlvr import snakemake_dag
from rlvr.adopting.verdicts import Verdicts, shown
from rlvr.errors import RlvrError

LOCKS = Path(".snakemake/locks")
MOST = 20


def run(arguments: list[str]) -> str:
    """Adopts the results of an experiment; returns what was done, in lines. arguments: of snakemake, for its config.

    Raises RlvrError, and changes nothing, where a file is missing or damaged, a manifest was edited, or something was
    made from another version of its inputs. What was made by other code, versions or config is left to run again.
    """
    if any(LOCKS.glob("*.lock")):
        raise RlvrError(f"{LOCKS}: another snakemake runs in this folder; wait for it, or `snakemake --unlock`")
    dag = snakemake_dag.planned(arguments)
    found = Verdicts(dag)
    if found.problems:
        more = len(found.problems) - MOST
        lines = [*found.problems[:MOST], *([f"{more} more likewise"] if more > 0 else [])]
        raise RlvrError("\n".join(["nothing is adopted:", *map(_printable, lines)]))
    for job in found.holding:
        _take_over(dag, job)
    _require(found, snakemake_dag.planned(arguments))
    lines = [f"{shown(job)}: runs again, {why}" for job, why in found.again.items() if why]
    lines += [f"{number} jobs run again after these" for number in [list(found.again.values()).count("")] if number]
    state = "has nothing to do" if not found.again else "runs these only"
    return "\n".join([*map(_printable, lines), f"{found.folder}: {found.summary()}; snakemake {state}"])


def _take_over(dag: Any, job: Any) -> None:
    """Records a job as run here and now."""
    if job.rule.name == snakemake_dag.SLICES:
        slice_ = Path(job.output[0])
        slice_.parent.mkdir(parents=True, exist_ok=True)
        slice_.write_text(snakemake_dag.slice_text(job), encoding="utf-8")
    for output in job.output:
        if output.is_directory:
            Path(output).mkdir(parents=True, exist_ok=True)  # DVC keeps no empty folder
        output.touch()
    asyncio.run(dag.workflow.persistence.finished(job))


def _require(found: Verdicts, dag: Any) -> None:
    """Raises RlvrError where Snakemake would do anything but what was found."""
    planned = {str(job.output[0]) for job in dag.needrun_jobs(exclude_finished=False) if job.output}
    expected = {str(job.output[0]) for job in found.again}
    for name in sorted(expected - planned):
        raise RlvrError(f"{Path(name).parent}: has to run again, and snakemake does not see it; delete that folder")
    for name in sorted(planned - expected):
        raise RlvrError(f"{name}: is verified, and snakemake would still make it anew; see `snakemake -n`")


def _printable(line: str) -> str:
    """A line that no manifest can use to steer a terminal."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in line)
