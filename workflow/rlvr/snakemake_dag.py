"""Snakemake's DAG as this workflow needs it: no job is passed over, and results that were made elsewhere are named.

Snakemake passes over all jobs downstream of one that has to run, as those will run because of it. Downstream of an
`ancient` input they do not, so that a training with work of its own stayed undone whenever the preflight ran
(https://github.com/snakemake/snakemake/issues/4166).
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any

from snakemake import cli  # first: snakemake's modules import each other
from snakemake.dag import DAG

from rlvr.errors import RlvrError

SLICES = "config_slice"
"""The rule that writes the config slices."""


class _Triggering:
    """The edges of a DAG, from each job to those that depend on it, over which a rerun spreads."""

    def __init__(self, depending: Mapping[Any, Mapping[Any, Any]]) -> None:
        self._depending = depending

    def __getitem__(self, job: Any) -> dict[Any, Any]:
        return {
            below: files for below, files in self._depending[job].items() if not all(file.is_ancient for file in files)
        }


def _downstream(dag: DAG, direction: Mapping, *jobs: Any, **options: Any) -> Iterator[Any]:
    return DAG.bfs(dag, _Triggering(direction), *jobs, **options)


def correct() -> None:
    """Has every DAG of this process judge the jobs behind `ancient` inputs by their own reasons.

    Says where results lie that were made elsewhere.
    """
    original = DAG.update_needrun
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    async def update_needrun(dag: DAG, create_inventory: bool = False) -> None:
        dag.bfs = partial(_downstream, dag)  # the one traversal there is the one that passes jobs over
        try:
            await original(dag, create_inventory)
        finally:
            del dag.bfs
        if create_inventory and dag.workflow.is_main_process:
            await _first_seen(dag)

    DAG.update_needrun = update_needrun


async def _say_made_elsewhere(dag: DAG) -> None:
    """One line where results lie here of which Snakemake does not know what made them."""
    known = dag.workflow.persistence
    strangers = [
        job
        for job in dag.jobs
        if (manifest := job.output.get("manifest"))
        and Path(manifest).is_file()
        and not known.has_metadata(job)
        and not await known.incomplete(job)
    ]
    if strangers:
        folder = Path(*Path(strangers[0].output.manifest).parts[:2])
        print(
            f"{folder}: {len(strangers)} results were made elsewhere, or .snakemake was removed: changes of config and "
            "code since then go unseen; `rlvr adopt` verifies them and takes them over",
            file=sys.stderr,
        )


_first_seen: Callable[[DAG], Awaitable[None]] = _say_made_elsewhere
"""What is done with the DAG of a run, once it is planned."""


def planned(arguments: list[str]) -> DAG:
    """What a call of snakemake with these arguments would do, by a dry run in this process.

    Raises RlvrError where nothing can be planned.
    """
    global _first_seen
    seen: list[DAG] = []

    async def keep(dag: DAG) -> None:
        seen.append(dag)

    correct()
    _first_seen = keep
    logging.disable(logging.WARNING)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            cli.main(["--dry-run", "--cores", "1", *arguments])
    except SystemExit as error:
        if error.code:
            raise RlvrError(error.code if isinstance(error.code, str) else _reason(said.getvalue())) from None
    finally:
        logging.disable(logging.NOTSET)
        _first_seen = _say_made_elsewhere
    return seen[-1]


def _reason(said: str) -> str:
    """What Snakemake said, as one line."""
    lines = [line for line in said.splitlines() if not line.startswith("Using ")]
    return f"snakemake can't plan this experiment: {' '.join(' '.join(lines).split())[:400]}"


def triggering(dag: DAG, job: Any) -> list[Any]:
    """The jobs whose run makes this one run: those of which an input is missing or not `ancient`."""
    return [
        before
        for before, files in dag.dependencies[job].items()
        if not all(file.is_ancient and Path(file).exists() for file in files)
    ]


def slice_text(job: Any) -> str:
    """What a job of the rule `config_slice` writes."""
    return f"{job.params.slice}\n"


def holds(dag: DAG, file: str) -> bool:
    """Whether a file is up to date when a run has ended well: one of its jobs made it, or would have if need be."""
    jobs = [job for job in dag.jobs if file in job.output]
    asked = not dag.rules_allowed_for_needrun
    return any(dag.finished(job) or (asked and not dag.needrun(job)) for job in jobs)
