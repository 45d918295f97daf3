"""Kills stages and whole runs at random points; the same command must then end with the bytes of an undisturbed run.

    python tests/faults/soak.py --kills 100 --signals 20 --seed 1

A kill is SIGKILL, before a file operation or after a time, both drawn from the seed; a signal goes to a whole
snakemake. Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
CODE = [str(ROOT / "workflow"), str(ROOT), str(ROOT / "tests")]
sys.path[:0] = CODE

from checkouts import copy_checkout  # noqa: E402
from sameness import differences  # noqa: E402
from stage_server import preload  # noqa: E402

EXPERIMENT = """\
experiment: soak
base: {model: tiny, tiny: {hidden_size: 32, layers: 1, heads: 2, vocabulary: 400}}
tasks: {countdown: {train: 64, sft: 64, eval: 12}}
filters:
  - duplicates: {}
  - tokens: {max: 500}
  - pass_rate: {min_rate: 0, max_rate: 1, samples: 2, max_completion_tokens: 8}
adapter: {r: 4, alpha: 8.0}
sft: {trainer: {max_steps: 4, save_steps: 1, per_device_train_batch_size: 8, learning_rate: 1e-2}}
grpo:
  rewards: {correctness: 1.0, random: 0.5}
  trainer:
    max_steps: 4
    save_steps: 1
    per_device_train_batch_size: 8
    num_generations: 4
    max_completion_length: 8
    learning_rate: 1e-2
gate: {mode: warn, prompts: 4, max_completion_tokens: 8}
evaluation: {max_completion_tokens: 8, batch_size: 4, repeat: 4}
preflight: {mode: warn, probe: never}
"""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OPERATIONS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "shutil.rmtree"}


@dataclass(frozen=True)
class Job:
    """One stage's command, as snakemake gave it."""

    stage: str
    arguments: tuple[str, ...]

    @property
    def outputs(self) -> list[Path]:
        """What snakemake deletes before it starts the job again."""
        from rlvr.cli import STAGES

        flags = [*(f"--{name}" for name in STAGES[self.stage].outputs), "--manifest"]
        return [Path(self.arguments[self.arguments.index(flag) + 1]) for flag in flags]

    def clear(self) -> None:
        for output in self.outputs:
            shutil.rmtree(output) if output.is_dir() else output.unlink(missing_ok=True)


def commands(checkout: Path) -> list[Job]:
    """The stages that snakemake runs for the experiment, with their arguments."""
    printed = snakemake(checkout, "--dry-run", "--forceall", "--printshellcmds", "--quiet", "host").stdout
    found = [shlex.split(line) for line in re.findall(r"^Shell command: rlvr (.+)$", printed, re.MULTILINE)]
    return [Job(words[0], tuple(words)) for words in found]


def snakemake(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = ["snakemake", "--cores", "1", *arguments]
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    return subprocess.run(command, cwd=checkout, **out)


def results(checkout: Path) -> Path:
    """The folder of the only experiment that ran there."""
    [folder] = [path for path in (checkout / "results").iterdir() if path.is_dir()]
    return folder


class Run:
    """A stage in a forked process and session of its own; `operations` counts what it does to files."""

    def __init__(self, job: Job, log: Path, kill_before: int | None = None) -> None:
        reader, writer = os.pipe()
        self.log = log
        self.process = os.fork()
        if self.process == 0:
            os.setsid()
            os.close(reader)
            for stream in (1, 2):
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            _stage(job, writer, kill_before)
        os.close(writer)
        self._counted = reader

    def kill_after(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._ended():
            time.sleep(0.005)
        if not self._ended():
            os.killpg(self.process, signal.SIGKILL)

    def _ended(self) -> bool:
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> tuple[int, int]:
        """Exit status, negative for a signal, and the number of file operations."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        with os.fdopen(self._counted, "rb") as counted:
            count = len(counted.read())
        return status, count


def _stage(job: Job, writer: int, kill_before: int | None) -> None:
    """In the child: runs a stage and dies before a file operation; each before it is a byte in the pipe."""
    from rlvr import cli

    parent, done = os.getpid(), 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal done
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if not (writes or event in OPERATIONS) or os.getpid() != parent:
            return
        done += 1
        if done == kill_before:
            os.killpg(0, signal.SIGKILL)
        os.write(writer, b".")

    sys.addaudithook(watch)
    status = 1
    try:
        status = cli.main(list(job.arguments))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Stages:
    """Kills single stages of a finished experiment in a copy of it."""

    def __init__(self, reference: Path, trial: Path, draw: random.Random) -> None:
        self.reference, self.trial, self.draw = reference, trial, draw
        self._restore()
        self.jobs: dict[str, list[Job]] = defaultdict(list)
        for job in commands(reference):
            self.jobs[job.stage].append(job)
        self._measured: dict[Job, tuple[int, float]] = {}
        self.killed: dict[str, int] = defaultdict(int)

    def soak(self, kills: int) -> list[str]:
        """Kills so many, the stages in turn; returns what was other than in the undisturbed run."""
        problems = []
        stages = itertools.cycle(sorted(self.jobs))
        while sum(self.killed.values()) < kills:
            job = self.draw.choice(self.jobs[next(stages)])
            found = self._one(job)
            if found:
                self._restore()
            problems += [f"{job.stage}: {problem}" for problem in found]
        return problems

    def _restore(self) -> None:
        os.chdir(self.reference)
        shutil.rmtree(self.trial, ignore_errors=True)
        shutil.copytree(self.reference, self.trial, symlinks=True)
        os.chdir(self.trial)

    def _one(self, job: Job) -> list[str]:
        operations, seconds = self._measured.get(job) or self._measure(job)
        log = self.trial / "soak.log"
        log.unlink(missing_ok=True)
        plan = []
        job.clear()
        for _ in range(self.draw.choice((1, 1, 1, 2, 3))):
            if self.draw.random() < 0.6:
                at = self.draw.randint(1, operations)
                plan.append(f"before file operation {at} of {operations}")
                run = Run(job, log, kill_before=at)
            else:
                after = self.draw.uniform(0, seconds)
                plan.append(f"after {after:.3f} of {seconds:.3f} s")
                run = Run(job, log)
                run.kill_after(after)
            status, _ = run.wait()
            self.killed[job.stage] += status == -signal.SIGKILL
            if self.draw.random() < 0.8:  # by snakemake; else by hand
                job.clear()
        status, _ = Run(job, log).wait()
        print(f"{job.stage} {' '.join(map(str, job.outputs[:1]))}: killed {', then '.join(plan)}", flush=True)
        told = log.read_text(encoding="utf-8", errors="replace")
        if status != 0:
            return [f"killed {plan}, then exit status {status}:\n{told}"]
        found = differences(results(self.reference), results(self.trial))
        found += [f"{path} was left" for path in self.trial.rglob(".checkpoints")]
        return [f"killed {plan}:\n{told}" + "\n".join(found)] if found else []

    def _measure(self, job: Job) -> tuple[int, float]:
        job.clear()
        start = time.monotonic()
        status, operations = Run(job, self.trial / "soak.log").wait()
        if status != 0:
            raise SystemExit((self.trial / "soak.log").read_text(encoding="utf-8"))
        self._measured[job] = operations, time.monotonic() - start
        return self._measured[job]


class Runs:
    """Sends signals to whole runs of snakemake, each followed by the same command, until the experiment is whole."""

    SENT = ("SIGKILL to all", "SIGKILL to the job", "SIGTERM to snakemake", "SIGHUP to all", "SIGINT to all")

    def __init__(self, reference: Path, folder: Path, draw: random.Random) -> None:
        self.reference, self.folder, self.draw = reference, folder, draw
        self.sent: dict[str, int] = defaultdict(int)
        self.runs = 0

    def soak(self, signals: int) -> list[str]:
        """Sends so many, up to ten a run; returns what was other than in the undisturbed run."""
        problems = []
        while sum(self.sent.values()) < signals:
            self.runs += 1
            checkout = fresh(self.folder / f"run{self.runs}")
            told = self._disturbed(checkout, min(10, signals - sum(self.sent.values())))
            found = differences(results(self.reference), results(checkout))
            found += [f"{path} was left" for path in checkout.rglob(".checkpoints")]
            if found:
                problems.append(f"{told}\n" + "\n".join(found))
        return problems

    def _disturbed(self, checkout: Path, signals: int) -> str:
        """What snakemake said, through all interruptions and to its end."""
        log = checkout / "soak.log"
        left = signals
        for _ in range(4 * signals + 10):
            with log.open("ab") as out:
                command = ["snakemake", "--cores", "1"]
                process = subprocess.Popen(command, cwd=checkout, stdout=out, stderr=out, start_new_session=True)
            sent = self._send(process, log) if left else None
            left -= sent is not None
            try:
                status = process.wait(600)
            except subprocess.TimeoutExpired:
                raise SystemExit(f"{sent}: snakemake did not end\n{log.read_text(encoding='utf-8')}") from None
            if status == 0:
                break
            if orphans := _of_session(process.pid):
                _say(log, f"{len(orphans)} processes outlived snakemake: {orphans[0].cmdline()[:4]}")
                psutil.wait_procs(orphans, timeout=300)
            if "--unlock" in _tail(log):
                snakemake(checkout, "--unlock")
        return log.read_text(encoding="utf-8", errors="replace")

    def _send(self, process: subprocess.Popen, log: Path) -> str | None:
        """Sends one signal after a random time; what it was, None where snakemake ended before."""
        deadline = time.monotonic() + self.draw.uniform(1, 25)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        kind = self.draw.choice(self.SENT)
        if process.poll() is not None:
            return None
        number = getattr(signal, kind.partition(" ")[0])
        _say(log, kind)
        if kind.endswith("all"):
            os.killpg(process.pid, number)
        elif kind.endswith("snakemake"):
            process.send_signal(number)
        else:
            jobs = [each for each in _of_session(process.pid) if "rlvr" in " ".join(each.cmdline()[:3])]
            for job in jobs:
                job.send_signal(number)
            if not jobs:
                os.killpg(process.pid, number)
        self.sent[kind] += 1
        return kind


def _of_session(leader: int) -> list[psutil.Process]:
    """The other living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader != process.pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def _say(log: Path, text: str) -> None:
    print(text, flush=True)
    with log.open("a", encoding="utf-8") as out:
        out.write(f"\n=== {text}\n")


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").rpartition("===")[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="of single stages")
    parser.add_argument("--signals", type=int, default=0, help="to whole runs of snakemake")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31)
    parser.add_argument("--reference", type=Path, help="a checkout in which an experiment has run undisturbed")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder unless given")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        problems = soak(arguments, Path(folder))
    print(*problems, sep="\n")
    print(f"{len(problems)} problems; seed {arguments.seed}")
    return 1 if problems else 0


def soak(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Both kinds one after the other; what was other than in the undisturbed run."""
    reference = arguments.reference or undisturbed(folder / "reference")
    problems = []
    if arguments.kills:
        preload()
        stages = Stages(reference, folder / "trial", random.Random(arguments.seed))
        problems += stages.soak(arguments.kills)
        print(f"{sum(stages.killed.values())} stages killed: {dict(sorted(stages.killed.items()))}")
    if arguments.signals:
        runs = Runs(reference, folder, random.Random(arguments.seed))
        problems += runs.soak(arguments.signals)
        print(f"{sum(runs.sent.values())} signals in {runs.runs} runs: {dict(sorted(runs.sent.items()))}")
    return problems


def fresh(checkout: Path) -> Path:
    """A copy of the checkout with the experiment as its default; nothing has run in it."""
    copy_checkout(checkout)
    (checkout / "config/config.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return checkout


def undisturbed(checkout: Path) -> Path:
    """A copy of the checkout in which the experiment has run without a kill."""
    done = snakemake(fresh(checkout))
    if done.returncode:
        raise SystemExit(done.stdout)
    return checkout


if __name__ == "__main__":
    path = os.pathsep.join([*CODE, os.environ.get("PYTHONPATH", "")])
    os.environ |= {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    sys.exit(main())
