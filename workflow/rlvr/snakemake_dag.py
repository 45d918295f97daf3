"""Corrects which jobs Snakemake takes for up to date.

Snakemake passes over all jobs downstream of one that has to run, as those will run because of it. Downstream of an
`ancient` input they do not, so that a training with work of its own stayed undone whenever the preflight ran
(https://github.com/snakemake/snakemake/issues/4166).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial, wraps
from typing import Any

from snakemake.dag import DAG


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
    """Has every DAG of this process judge the jobs behind `ancient` inputs by their own reasons."""
    original = DAG.update_needrun
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    async def update_needrun(dag: DAG, *arguments: Any, **options: Any) -> None:
        dag.bfs = partial(_downstream, dag)  # the one traversal there is the one that passes jobs over
        try:
            await original(dag, *arguments, **options)
        finally:
            del dag.bfs

    DAG.update_needrun = update_needrun


def holds(dag: DAG, file: str) -> bool:
    """Whether a file is up to date when a run has ended well: one of its jobs made it, or would have if need be."""
    jobs = [job for job in dag.jobs if file in job.output]
    asked = not dag.rules_allowed_for_needrun
    return any(dag.finished(job) or (asked and not dag.needrun(job)) for job in jobs)
