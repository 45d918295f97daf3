"""What holds of an experiment's results, what has to run again, and what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import provenance, snakemake_dag
from rlvr.adopting import origins
from rlvr.errors import RlvrError


class Verdicts:
    """The jobs of an experiment, those that others need first.

    holding: verified, and made by what is here. again: those that have to run, with the reason, "" where it is only
    that one before them runs. problems: what does not hold, a line each.
    """

    def __init__(self, dag: Any) -> None:
        self._dag = dag
        self.holding: list[Any] = []
        self.again: dict[Any, str] = {}
        self.problems: list[str] = []
        self.files = 0
        self._unsound: set[Any] = set()
        jobs = [job for level in dag.toposorted() for job in level if job.output]
        slices = {str(job.output[0]): job for job in jobs if job.rule.name == snakemake_dag.SLICES}
        self._slices = {name: snakemake_dag.slice_text(job) for name, job in slices.items()}
        self._asked_before = {name for name in slices if Path(name).is_file()}
        self.holding += slices.values()
        self.folder = Path(*Path(next(iter(slices))).parts[:2])
        for job in jobs:
            if job.rule.name != snakemake_dag.SLICES:
                self._judge(job)

    def summary(self) -> str:
        return f"{len(self.holding) - len(self._slices)} results hold and are adopted ({self.files} files verified)"

    def _judge(self, job: Any) -> None:
        manifest = Path(job.output.manifest)
        new = str(job.input.config) not in self._asked_before
        if any(before in self.again for before in snakemake_dag.triggering(self._dag, job)):
            self.again[job] = ""
        elif new and not any(Path(output).exists() for output in job.output):
            self.again[job] = "it was not asked for before"
        else:
            problems, changes = self._verify(job, manifest)
            self.problems += problems
            if problems or self._follows_a_problem(job):
                self._unsound.add(job)
            elif changes:
                self.again[job] = "made " + ", ".join(changes)
            else:
                self.holding.append(job)

    def _follows_a_problem(self, job: Any) -> bool:
        return not self._unsound.isdisjoint(self._dag.dependencies[job])

    def _verify(self, job: Any, manifest: Path) -> tuple[list[str], list[str]]:
        """What does not hold of a result, a line each, and what would make it otherwise today."""
        slice_ = str(job.input.config)
        if not manifest.is_file():
            return [f"{manifest}: is missing; give `dvc pull`"], []
        try:
            content = provenance.verify_manifest(manifest)
            problems = _inside(job, manifest, content)
            if problems or self._follows_a_problem(job):
                return [f"{manifest}: {problem}" for problem in problems], []
            broken = [f"{manifest}: {problem}" for problem in origins.broken(content, self.folder)]
            changes = [] if broken else origins.changes(self._dag, job, content, self._slices[slice_])
        except RlvrError as error:
            return [str(error)], []
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            return [f"{manifest}: can't be used ({type(error).__name__}: {error})"], []
        self.files += len(content["files"])
        if (
            not broken
            and not changes
            and slice_ in self._asked_before
            and not origins.same_json(Path(slice_), self._slices[slice_])
        ):
            return [f"{slice_}: is not what {manifest} was made with; give `dvc checkout`"], []
        return broken, changes


def _inside(job: Any, manifest: Path, content: dict[str, Any]) -> list[str]:
    """What a manifest says wrongly of itself, or leaves out of what its job makes."""
    if provenance.edited(content):
        return ["was edited: its digest is not that of what it says"]
    listed = set(content["files"])
    folders = {"/".join(name.split("/")[:size]) for name in listed for size in range(1, name.count("/") + 1)}
    made = {Path(output).relative_to(manifest.parent).as_posix(): output for output in job.output}
    del made[manifest.name]
    missing = [name for name, output in made.items() if name not in listed | folders and not _is_empty(output)]
    return [f"does not list {name}" for name in missing]


def _is_empty(output: Any) -> bool:
    """Whether an output is a folder that holds nothing; DVC keeps no such folder."""
    marks = [path.name == ".snakemake_timestamp" for path in Path(output).rglob("*")]
    return output.is_directory and all(marks)


def shown(job: Any) -> str:
    """What a job makes, shortly."""
    return str(Path(job.output[0]).parent)
