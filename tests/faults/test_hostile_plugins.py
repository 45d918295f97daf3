"""Plugins that end their process, never return, or raise what no `except Exception` catches."""

from __future__ import annotations

import decimal
import fractions
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from conftest import MICRO, ROOT, distribution, snakemake, write_config
from rlvr import config as experiment
from rlvr import supervision
from rlvr.errors import RlvrError
from rlvr_plugins import Example, Reward, Sample, Task, Verdict, calls
from rlvr_plugins.guard import Judge, Rewarder, judge_one, score_one, value_of
from rlvr_plugins.manager import catalogue

TASK = """
import ctypes, os, time
from dataclasses import dataclass
from rlvr_plugins import Example, Reward, Task, Verdict, hookimpl
@dataclass(frozen=True)
class Options: pass
def splits(options, train, eval, seed): {splits}
def user(example): return "question"
def verify(completion, example): {verify}
def check(options, train, eval): {check}
@hookimpl
def rlvr_tasks():
    yield Task("t", options=Options, splits=splits, system="", user=user, verify=verify, check=check)
"""
CONFIG = {**MICRO, "filters": [], "sft": None, "tasks": {"t": {"train": 4, "eval": 4}}}
FINE = {"splits": "return [], []", "verify": "return Verdict(False, False, False)", "check": "pass"}
PACKAGE = "plugin packages: stranger 1.2; uninstall the one that did it, or leave it out with RLVR_PLUGINS"


def task(**bodies: str) -> str:
    return TASK.format(**FINE | bodies)


def rlvr(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """The command in a process that sees the distributions in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "rlvr", *arguments],
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT / 'workflow'}:{ROOT}", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("import os; os._exit(0)", "the process ended with code 0 during this call"),
        ("import ctypes; ctypes.CDLL(None)._exit(3)", "the process ended with code 3 during this call"),
        ("import ctypes; ctypes.string_at(0)", "the process was ended by SIGSEGV during this call"),
        ("while True: pass", "did not return in 1 s and was ended"),
        (
            "from rlvr_plugins import hookimpl\n@hookimpl\ndef rlvr_rewards():\n    import time; time.sleep(1000)",
            "did not return in 1 s and was ended",
        ),
    ],
    ids=["exit", "C exit", "fault", "loop", "hook"],
)
def test_a_package_that_ends_the_process_or_hangs_as_it_loads_is_named(tmp_path, module, problem):
    result = rlvr(distribution(tmp_path, module), "plugins", RLVR_PLUGIN_SECONDS="1")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("rlvr")]
    assert result.returncode == 1 and result.stdout == ""
    assert line == f"rlvr plugins: loading plugin stranger_plugin (stranger 1.2): {problem}; {PACKAGE}"


def test_a_verifier_that_ends_the_process_is_named(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"completion": "x"}) + "\n", encoding="utf-8")
    result = rlvr(distribution(tmp_path, task(verify="os._exit(0)")), "verify", "t", str(rows))
    assert result.returncode == 1
    assert result.stderr == f"rlvr verify: task 't': the process ended with code 0 during this call; {PACKAGE}\n"


def test_splits_that_end_the_process_are_named_by_rlvr_check_and_by_the_stage(tmp_path):
    folder = distribution(tmp_path, task(splits="os._exit(0)"))
    line = f"task 't': the process ended with code 0 during this call; {PACKAGE}\n"
    result = rlvr(folder, "check", "t")
    assert (result.returncode, result.stderr) == (1, f"rlvr check: {line}")
    slice_ = {"task": "t", "train": 1, "eval": 1, "sft": 0, "with_sft": False, "options": {}, "seed": 0}
    file = tmp_path / "slice.json"
    file.write_text(json.dumps(slice_ | {"system_prompt": None, "user_prompt": None}), encoding="utf-8")
    out = tmp_path / "out"
    outputs = [f"--{name}={out / name}" for name in ("train", "eval", "sft", "stats", "manifest")]
    result = rlvr(folder, "data", f"--config={file}", *outputs)
    assert result.returncode == 1 and result.stderr.endswith(f"rlvr data: {line}")
    assert not (out / "manifest").exists()


def test_what_a_plugin_leaves_behind_does_not_decide_the_exit_code(tmp_path):
    """Here `rlvr plugins` itself succeeds, and its `atexit` would end it with 7."""
    module = "import atexit, os\natexit.register(os._exit, 7)\n" + task()
    assert rlvr(distribution(tmp_path, module), "plugins").returncode == 0


def test_a_thread_that_a_plugin_left_does_not_keep_the_command(tmp_path):
    module = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n" + task()
    folder = distribution(tmp_path, module)
    script = (
        "import sys; from rlvr import cli, supervision; supervision.ENDING_SECONDS = 1.0;"
        "sys.argv = ['rlvr', 'slice']; sys.exit(cli.main())"
    )
    path = {"PYTHONPATH": f"{folder}:{ROOT / 'workflow'}:{ROOT}"}
    command = [sys.executable, "-c", script]
    result = subprocess.run(
        command, env={**os.environ, **path}, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300
    )
    assert "a plugin left a thread" in result.stderr and "grpo/dapo" in result.stdout


def test_reading_a_config_in_another_process_names_a_check_that_ends_it(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", f"{distribution(tmp_path, task(check='os._exit(0)'))}:{os.environ.get('PYTHONPATH', '')}"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(CONFIG | {"tasks": {}}), encoding="utf-8")
    line = f"rlvr config: checking task 't': the process ended with code 0 during this call; {PACKAGE}"
    with pytest.raises(RlvrError, match=f"^{re.escape(line)}$"):
        supervision.require_config([file], [f"tasks={json.dumps(CONFIG['tasks'])}"])


@pytest.mark.slow
def test_snakemake_names_a_check_that_ends_the_process(checkout, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    distribution(folder, task(check="os._exit(0)"))
    write_config(checkout, CONFIG)
    result = snakemake(checkout, "-n", check=False, PYTHONPATH=str(folder))
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith("rlvr config: checking task 't': the process ended with code 0")


REWARD = """
import os
from rlvr_plugins import Reward, hookimpl
def r(sample):
    os._exit(0)
@hookimpl
def rlvr_rewards():
    yield Reward("r", r)
"""


@pytest.mark.slow
def test_a_reward_that_ends_training_is_named(made, tmp_path):
    folder = distribution(tmp_path, REWARD)
    slice_, out = tmp_path / "slice.json", tmp_path / "out"
    slice_.write_text(json.dumps(made.cut["grpo/dapo/seed0"] | {"rewards": {"r": 1.0}}), encoding="utf-8")
    outputs = [f"--{name}={out / name}" for name in ("policy", "metrics", "completions", "evaluated", "manifest")]
    inputs = [f"--config={slice_}", f"--base={made.base}", f"--data={made.train}", f"--log={tmp_path / 'log'}"]
    result = rlvr(folder, "grpo", *inputs, *outputs)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"rlvr grpo: reward 'r': the process ended with code 0 during this call; {PACKAGE}"
    )
    assert not (out / "manifest").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_that_ends_the_process_that_works_ends_the_command(number):
    """Such as of the kernel, where memory ran out."""
    script = (
        "import os, sys; from rlvr import supervision; supervision.needed = lambda: True\n"
        "sys.exit(supervision.run(lambda: os.kill(os.getpid(), int(sys.argv[1])), 'x'))"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(int(number))], capture_output=True, encoding="utf-8")
    assert ended.returncode == -number and "Traceback" not in ended.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_command_reaches_the_process_that_works(sent):
    script = (
        "import os, sys, time; from rlvr import supervision; supervision.needed = lambda: True\n"
        "def work():\n print(os.getpid(), flush=True)\n time.sleep(1000)\n"
        "sys.exit(supervision.run(work, 'x'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )  # fmt: skip
    child = psutil.Process(int(process.stdout.readline()))
    assert child.pid != process.pid
    process.send_signal(sent)
    assert process.wait(60) == (-sent if sent != signal.SIGINT else 130)
    assert ("KeyboardInterrupt" in process.communicate()[1]) == (sent == signal.SIGINT)
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_check_that_exits_is_an_error_of_the_config(installed, tmp_path):
    installed(task(check="raise SystemExit(0)"))
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(CONFIG), encoding="utf-8")
    with pytest.raises(RlvrError, match=r"tasks\.t: checking task 't' raised SystemExit"):
        experiment.load([file])


def sample(text: str = "") -> Sample:
    return Sample(text, Example("k", {}), Verdict(False, False, False))


class Strange(BaseException):
    def __str__(self):
        raise KeyboardInterrupt


RAISED = [
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    StopIteration,
    RecursionError,
    Strange,
    BaseExceptionGroup("x", [Strange()]),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: getattr(error, "__name__", "group"))
def test_whatever_a_plugin_raises_is_its_failure(error):
    def function(*_):
        raise error

    with_one = Reward("r", function, bounds=(-1.0, 1.0))
    (outcome,) = Rewarder(with_one).score([sample()])
    assert (outcome.value, outcome.failure) == (-1.0, "raised")
    judged = Task("t", options=object, splits=function, system="", user=function, verify=function)
    (verdict,) = Judge(judged).judge([("", Example("k", {}))])
    assert verdict.status == "error" and verdict.reason.startswith("raised")


@pytest.mark.parametrize("swallowed", [False, True])
def test_a_real_interrupt_still_interrupts(swallowed):
    def function(sample):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        except BaseException:
            if not swallowed:
                raise
        return 1.0

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Rewarder(Reward("r", function)).score([sample()] * 2)
    finally:
        signal.signal(signal.SIGINT, before)
        calls._last = float("-inf")


class Liar(float):
    """Says of itself that it is within every bound."""

    def __float__(self):
        return 0.5

    def __eq__(self, other):
        return True

    __hash__ = float.__hash__
    __lt__ = __le__ = __gt__ = __ge__ = __eq__

    def __array__(self, *_):
        return np.array(0.5)


class Whole(int):
    __le__ = __ge__ = Liar.__eq__

    def __float__(self):
        return 0.5


@pytest.mark.parametrize(
    ("returned", "value", "failure"),
    [
        (Liar(1e38), 0.0, "out_of_range"),
        (Liar("nan"), 0.0, "nan"),
        (Liar("-inf"), 0.0, "infinite"),
        (Liar(0.25), 0.25, ""),
        (Whole(7), 0.0, "out_of_range"),
        (True, 1.0, ""),
        (np.float32(0.5), 0.5, ""),
        (np.float64("nan"), 0.0, "nan"),
        (np.int8(1), 1.0, ""),
        (np.bool_(True), 1.0, ""),
        (np.longdouble("1e4000"), 0.0, "infinite"),
        (np.complex64(1), 0.0, "not_a_number"),
        (np.array(1.0), 0.0, "not_a_number"),
        (fractions.Fraction(1, 4), 0.25, ""),
        (fractions.Fraction(10**400), 0.0, "out_of_range"),
        (decimal.Decimal("0.25"), 0.25, ""),
        (decimal.Decimal("1e99999"), 0.0, "infinite"),
        (decimal.Decimal("nan"), 0.0, "nan"),
        (decimal.Decimal("inf"), 0.0, "infinite"),
        (10**400, 0.0, "out_of_range"),
        (10**5000, 0.0, "out_of_range"),
        (1 + 0j, 0.0, "not_a_number"),
        ("1", 0.0, "not_a_number"),
        (b"1", 0.0, "not_a_number"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_a_plain_float_before_it_is_compared(returned, value, failure):
    outcome = value_of(Reward("r", lambda sample: returned), returned)
    assert (outcome.value, outcome.failure) == (value, failure)
    assert type(outcome.value) is float


def test_a_verdict_is_exactly_one():
    class Other(Verdict):
        pass

    def of(verdict):
        return judge_one(Task("t", object, None, "", None, lambda *_: verdict), "", Example("k", {})).reason

    assert of(Other(True, True, True)) == "not_a_verdict: returned Other, not a Verdict"
    assert of(Verdict(True, True, True, answers=10**30)).endswith("allowed: 0 to 1,000,000,000")


def test_what_a_plugin_says_reaches_no_terminal_as_a_command():
    def function(sample):
        raise ValueError("\x1b]0;title\x07 \x9b31m")

    assert score_one(Reward("r", function), sample()).detail == "ValueError: ?]0;title? ?31m"


def test_chance_streams_folder_and_handlers_are_put_back(tmp_path, monkeypatch):
    def function(sample):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        os.chdir(tmp_path)
        sys.stdout = sys.stderr = None
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 1.0

    monkeypatch.chdir(ROOT)
    drawn = []
    for seed in (None, 1):
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        streams, handler = (sys.stdout, sys.stderr), signal.getsignal(signal.SIGTERM)
        if seed:
            Rewarder(Reward("r", function)).score([sample()])
        assert (sys.stdout, sys.stderr) == streams and signal.getsignal(signal.SIGTERM) is handler
        assert Path.cwd() == ROOT
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def test_a_fork_that_comes_back_from_a_plugin_is_ended(tmp_path):
    script = (
        "import os\nfrom rlvr_plugins import *\nfrom rlvr_plugins.guard import Rewarder\n"
        "s = Sample('', Example('k', {}), Verdict(False, False, False))\n"
        "Rewarder(Reward('r', lambda sample: float(os.fork() >= 0))).score([s] * 3)\nprint('once')"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=300)
    assert result.stdout == "once\n"


BOMB = """
import os, resource, time
from rlvr_plugins import Limits, Reward, hookimpl
def bomb(sample):
    if sample.completion == "limits":
        return max(0.0, min(1e4, resource.getrlimit(resource.RLIMIT_NPROC)[0]))
    end = time.time() + 5  # whatever becomes of the test
    while time.time() < end:
        os.fork()
        time.sleep(0.05)
    os._exit(0)
@hookimpl
def rlvr_rewards():
    yield Reward("bomb", bomb, bounds=(0.0, 1e4), isolate=Limits(sample_seconds=60, batch_seconds=600))
"""


def test_a_fork_bomb_in_a_worker_is_bounded(installed):
    """As root, whom the system does not bound, the parent counts and kills."""
    installed(BOMB)
    rewarder = Rewarder(catalogue().reward("bomb"))
    began = time.monotonic()
    limits, bomb, after = rewarder.score([sample("limits"), sample("bomb"), sample("limits")])
    rewarder.close()
    assert 0 < limits.value < 1e4 and 0 < after.value < 1e4
    assert (bomb.failure, bomb.detail) in {("crashed", "more than 256 processes"), ("raised", "BlockingIOError")}
    assert time.monotonic() - began < 60
