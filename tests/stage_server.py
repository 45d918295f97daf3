"""Runs stages in processes forked from one that has imported their libraries, so that a test pays for the work alone.

    python tests/stage_server.py SOCKET

One stage at a time, for as long as standard input is open. `client` writes the `rlvr` that asks it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import shlex
import socket
import sys
import traceback
from pathlib import Path

CLIENT = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    asked = json.dumps({"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)})
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(asked.encode() + b"\\n")
    answer = server.recv(16)
sys.exit(int(answer) if answer else 1)
"""


SERVED = ("base", "rollouts", "memory", "sft", "grpo", "export", "gate", "generate", "repeat")
"""Stages that import torch themselves; a manifest says so of each process in which it is imported."""


def client(folder: Path, address: Path) -> None:
    """Puts a command `rlvr` into a folder that has the server at `address` run the stages that it serves."""
    (folder / "client.py").write_text(CLIENT, encoding="utf-8")
    served = " ".join(map(shlex.quote, [sys.executable, "-IS", str(folder / "client.py"), str(address)]))
    itself = shlex.quote(str(Path(sys.executable).with_name("rlvr")))
    cases = f'{"|".join(SERVED)}) exec {served} "$@";; *) exec {itself} "$@";;'
    (folder / "rlvr").write_text(f'#!/bin/sh\ncase "$1" in {cases} esac\n', encoding="utf-8")
    (folder / "rlvr").chmod(0o755)


def preload() -> None:
    """Imports what stages run by transformers import."""
    from rlvr import cli

    stages = [f"rlvr.stages.{name}" for name in cli.STAGES]
    engines = [f"rlvr.engines.{name}" for name in ("sft", "grpo", "generate_transformers", "load_transformers")]
    for name in ("peft", "scipy.stats", "matplotlib.figure", "trl.trainer.grpo_trainer", *stages, *engines):
        importlib.import_module(name)


def serve(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(8)
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            asking, _ = listening.accept()
            with asking:
                _, streams, _, _ = socket.recv_fds(asking, 1, 3)
                with asking.makefile(encoding="utf-8") as lines:
                    asked = json.loads(lines.readline())
                child = os.fork()
                if child == 0:
                    listening.close()
                    _stage(asked, streams)
                for stream in streams:
                    os.close(stream)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                asking.sendall(str(status if status >= 0 else 128 - status).encode())


def _stage(asked: dict, streams: list[int]) -> None:
    """In the child: what `rlvr` does when it is started; does not return."""
    import torch

    from rlvr import cli

    status = 1
    try:
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        status = cli.main(asked["arguments"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    preload()
    serve(sys.argv[1])
