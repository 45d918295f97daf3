"""The log of an attempt that failed or was killed survives the next attempt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr import attempt_logs, cli
from rlvr.errors import RlvrError

FAILS = RlvrError("it failed")


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Runs `rlvr score`, with what it does given, after deleting its log as Snakemake does; its exit status."""
    log = tmp_path / "logs" / "score.log"

    def run(does) -> int:
        log.unlink(missing_ok=True)
        monkeypatch.setattr(cli, "_execute", lambda name, arguments: does())
        (tmp_path / "config.json").write_text("{}", encoding="utf-8")
        files = [f"--{name}={name}" for name in ("data", "completions", "scores")]
        return cli.main(
            [
                "score",
                "--config",
                str(tmp_path / "config.json"),
                *files,
                "--manifest",
                "x/manifest.json",
                "--log",
                str(log),
            ]
        )

    run.log = log
    return run


def says(text: str, raises: BaseException | None = None):
    def does() -> None:
        os.write(1, text.encode())
        if raises:
            raise raises

    return does


@pytest.mark.parametrize("error", [FAILS, ValueError("broken"), KeyboardInterrupt()])
def test_the_log_of_a_failed_attempt_survives_the_next_one_which_names_it(stage, capfd, error):
    assert stage(says("first", error)) != 0
    assert stage(says("second")) == 0
    assert "first" in stage.log.with_name("score.log.1").read_text(encoding="utf-8")
    assert "second" in stage.log.read_text(encoding="utf-8")
    assert f"score: x; the log before: {stage.log}.1\n" in capfd.readouterr().err
    assert sorted(file.name for file in stage.log.parent.iterdir()) == ["score.log", "score.log.1"]


def test_the_line_of_a_failure_names_a_log_that_stays_there(stage, capfd):
    assert stage(says("first", ValueError("broken"))) == 1
    assert f"rlvr score: ValueError: broken; log: {stage.log}.1\n" in capfd.readouterr().err
    assert "first" in stage.log.read_text(encoding="utf-8"), "Snakemake names this one"


def test_the_last_few_are_kept(stage):
    for number in range(1, 9):
        stage(says(f"attempt {number}", FAILS))
    kept = {file.name for file in stage.log.parent.iterdir()}
    assert kept == {"score.log", *(f"score.log.{number}" for number in range(4, 9))}
    assert len(kept) == attempt_logs.KEPT + 1
    assert stage(says("done")) == 0
    assert "attempt 8" in stage.log.with_name("score.log.8").read_text(encoding="utf-8")


def test_the_log_of_a_killed_attempt_survives(tmp_path):
    """In a process of its own, which nothing can clean up behind."""
    log = tmp_path / "logs" / "sft.log"
    program = (
        "import os, signal, sys; from pathlib import Path; from rlvr import console\n"
        "with console.quiet(Path(sys.argv[1])):\n"
        "    print('before the kill', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(log)]).returncode == -signal.SIGKILL
    log.unlink()
    file = attempt_logs.start(log)
    assert "before the kill" in attempt_logs.earlier(log, file).read_text(encoding="utf-8")


def test_a_log_that_a_run_by_hand_left_is_not_overwritten(tmp_path):
    log = tmp_path / "mine.log"
    log.write_text("of an earlier release", encoding="utf-8")
    file = attempt_logs.start(log)
    assert attempt_logs.earlier(log, file).read_text(encoding="utf-8") == "of an earlier release"
    file.write_text("new", encoding="utf-8")
    attempt_logs.succeeded(log, file)
    assert (
        log.read_text(encoding="utf-8") == "new"
        and attempt_logs.earlier(log, log).read_text(encoding="utf-8") == "of an earlier release"
    )


def test_a_file_system_without_hard_links_keeps_logs_too(tmp_path, monkeypatch):
    def refuses(*files):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuses)
    log = tmp_path / "a.log"
    first = attempt_logs.start(log)
    first.write_text("first", encoding="utf-8")
    assert log.read_text(encoding="utf-8") == "first"
    log.unlink()
    second = attempt_logs.start(log)
    second.write_text("second", encoding="utf-8")
    attempt_logs.succeeded(log, second)
    assert (log.read_text(encoding="utf-8"), first.read_text(encoding="utf-8"), log.is_symlink()) == (
        "second",
        "first",
        False,
    )


def test_what_is_no_file_is_left_where_it_is(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert attempt_logs.start(pipe) == pipe
    attempt_logs.succeeded(pipe, pipe)
    assert pipe.is_fifo() and [pipe] == list(Path(tmp_path).iterdir())


@pytest.mark.parametrize("what", ["its folder is a file", "is a folder"])
def test_a_log_that_cannot_be_written_is_one_line(stage, capfd, what):
    if what == "is a folder":
        stage.log.mkdir(parents=True)
    else:
        stage.log.parent.write_text("", encoding="utf-8")
    arguments = ["score", "--config=c.json", "--data=d", "--completions=c", "--scores=s", "--manifest=x/manifest.json"]
    assert cli.main([*arguments, f"--log={stage.log}"]) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith(f"rlvr score: --log: {stage.log} can't be written (")


def test_a_folder_among_the_logs_is_none_of_them(stage):
    stage.log.with_name("score.log.1").mkdir(parents=True)
    for _ in range(attempt_logs.KEPT + 2):
        assert stage(says("again", FAILS)) == 1
