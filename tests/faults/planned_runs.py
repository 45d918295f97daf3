"""Runs a target of a finished experiment after each of some changes, then plans it again. For `test_one_call.py`.

Started in a checkout, in a process of its own. Jobs write new files instead of running their commands, so that only
what Snakemake decides is looked at, in a tenth of a second a run. Reads `{"config": …, "changes": …, "targets": …}`
as JSON from standard input; without targets it takes a file of each rule. Writes for each change and target what ran,
what a second call would run, and what stood on standard output.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import logging
import shutil
import sys
from collections import Counter
from pathlib import Path

import yaml
from snakemake import cli
from snakemake.executors.touch import Executor
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

sys.path.insert(0, "workflow")
from rlvr import digests, gguf, second_opinions

STATE = ("results", ".snakemake/metadata")
ran: list[str] = []
dags: list = []
content = itertools.count()


def make(executor: Executor, job) -> None:
    """Does a job: writes its outputs, each with content that was never there."""
    for output in job.output:
        file = Path(output)
        if output.is_directory:
            shutil.rmtree(file, ignore_errors=True)
            file.mkdir(parents=True)
            file = file / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(next(content)), encoding="utf-8")
    ran.append(job.rule.name)
    info = SubmittedJobInfo(job=job)
    executor.report_job_submission(info)
    executor.report_job_success(info)


def snakemake(*arguments: str) -> tuple[Counter, str]:
    """The jobs that a call did, or would do with `-n`, by rule, and its standard output."""
    ran.clear()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        cli.main(["--cores", "1", "--quiet", "all", *arguments])
    dag = dags[-1]
    jobs = [job.rule.name for job in dag.needrun_jobs(exclude_finished=False)] if "-n" in arguments else ran
    return Counter(jobs), said.getvalue()


def one_file_a_rule(dag) -> dict[str, str]:
    """The first output of the last job of each rule; the last variant is the one that a change adds."""
    return {job.rule.name: str(job.output[0]) for job in sorted(dag.jobs, key=str) if job.output}


def keep(name: str) -> None:
    for part in STATE:
        shutil.rmtree(Path("kept", name, part), ignore_errors=True)
        shutil.copytree(part, Path("kept", name, part))


def restore(name: str) -> None:
    for part in STATE:
        shutil.rmtree(part)
        shutil.copytree(Path("kept", name, part), part)


def write(config: dict) -> None:
    Path("config/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def edited(names: list[str]):
    """Has the code of these rewards or stages have another digest."""
    stack, original = contextlib.ExitStack(), {"reward": digests.reward, "stage": digests.stage}
    for kind in original:
        setattr(digests, kind, lambda name, kind=kind: original[kind](name) + ("*" if name in names else ""))
        stack.callback(setattr, digests, kind, original[kind])
    return stack


def main() -> None:
    asked = json.load(sys.stdin)
    Executor.run_job = make
    seen = JobScheduler.__init__
    JobScheduler.__init__ = lambda self, workflow, *rest: (dags.append(workflow.dag), seen(self, workflow, *rest))[1]
    gguf.converter = second_opinions.require_lm_eval = lambda: None
    logging.disable()
    write(asked["config"])
    snakemake("--touch")
    keep("finished")
    found = {"rules": sorted(rule.name for rule in dags[-1].workflow.rules), "changes": {}}
    for name, change in asked["changes"].items():
        config = copy.deepcopy(asked["config"])
        for key, value in change.get("config", {}).items():
            config[key] = {**config[key], **value} if isinstance(config.get(key), dict) else value
        write(config)
        with edited(change.get("code", [])):
            snakemake("-n")
            targets = {target: target for target in asked["targets"]} or one_file_a_rule(dags[-1])
            runs = found["changes"][name] = {}
            for label, target in targets.items():
                restore("finished")
                once, said = snakemake("--touch", target)
                runs[label] = {"ran": once, "left": snakemake("-n", target)[0], "said": said}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
