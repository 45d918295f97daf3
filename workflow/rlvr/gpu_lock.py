"""One stage at a time on a GPU: a lock for each device, over all checkouts and snakemake processes of a user.

The lock belongs to an open file of the stage's process, so the kernel gives it back however that process ends.
Processes of other users don't see it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from rlvr import console, nvidia
from rlvr.errors import RlvrError

SECONDS_BETWEEN_TRIES = 1.0
SECONDS_BETWEEN_LINES = 600.0
INHERITED = "RLVR_GPU_LOCKS"
"""In the environment of a stage that another stage started: numbers of the open files that it got with their locks."""

_held: list[int] = []


def take(who: str, folder: Path) -> None:
    """Waits until no other process of this user holds the GPU that this one will use, and holds it to the end.

    Of several GPUs of one model, it is the first free one of those that `CUDA_VISIBLE_DEVICES` allows, which then names
    that alone. Of processes that a launcher started, the first takes as many as there are processes. Nothing is taken
    where there is no GPU or all are hidden, nor by the child of a process that holds it.

    who, folder: the stage and where its results go, for the lines of those that wait.
    """
    allowed = nvidia.allowed()
    if not allowed:
        return
    if nvidia.launched():
        count = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1)
        groups = [[device] for device in sorted(allowed[:count], key=lambda device: device.uuid)]
        groups = groups if os.environ.get("LOCAL_RANK", "0") == "0" else []
    else:
        groups = [[device for device in allowed if device.model == allowed[0].model]]
    try:
        for devices in groups:  # in one order, so that two launches never wait for each other
            chosen = _first_free(devices, who, folder)
            if not nvidia.launched():
                os.environ[nvidia.VISIBLE] = chosen.name
    except OSError as error:
        console.say(f"{who}: no lock on the GPU ({error.strerror}: {error.filename or _folder()}); goes on without")


def inherited() -> tuple[tuple[int, ...], dict[str, str]]:
    """For a stage that this one starts: open files to pass to it, and what to put into its environment.

    It works on the GPU too, and may outlive this process.
    """
    return tuple(_held), {INHERITED: ",".join(map(str, _held))}


def require(asked: Any, device: str) -> None:
    """Raises RlvrError where snakemake is to run more jobs on GPUs at a time than there are GPUs.

    asked: the value of `--resources gpu=…`. Where there is no GPU, or none is to be used, any number will do.
    """
    allowed = nvidia.allowed()
    there = len([one for one in allowed if one.model == allowed[0].model])
    if device != "cpu" and there and isinstance(asked, int) and asked > there:
        raise RlvrError(
            f"--resources gpu={asked}: here {'is one GPU' if there == 1 else f'are {there} GPUs'} of one model that "
            f"may be used ({allowed[0].model}); allowed: gpu=1{f' to gpu={there}' if there > 1 else ''}"
        )


def _first_free(devices: list[nvidia.Device], who: str, folder: Path) -> nvidia.Device:
    """Locks one of these, and waits for it with a line now and then."""
    begun, said = time.monotonic(), None
    while True:
        for device in devices:
            if _taken(device, who, folder):
                if said:
                    console.say(f"{who}: the GPU is free after {(time.monotonic() - begun) / 60:.0f} min; goes on")
                return device
        if said is None or time.monotonic() - said >= SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            console.say(f"{who}: waits for {devices[0].model} ({devices[0].uuid}), {_holder(devices[0])}")
        time.sleep(SECONDS_BETWEEN_TRIES)


def _taken(device: nvidia.Device, who: str, folder: Path) -> bool:
    """Whether this process holds the device now, or a process does that started this one and waits for it."""
    file = _file(device)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return _passed_on(file) or _ours(_read(file))
    except OSError:
        os.close(descriptor)
        raise
    own = psutil.Process()
    record = {
        "pid": own.pid,
        "started": own.create_time(),
        "what": f"{who} of {folder} in {Path.cwd()}",
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(record).encode())
    _hold(descriptor)
    return True


def _passed_on(file: Path) -> bool:
    """Whether the stage that started this one passed the lock on; then it is held here too."""
    for number in filter(str.isdigit, os.environ.get(INHERITED, "").split(",")):
        try:
            same = os.path.samestat(os.fstat(int(number)), file.stat())
        except OSError:
            continue
        if same:
            _hold(int(number))
            return True
    return False


def _hold(descriptor: int) -> None:
    """Keeps a lock until this process ends: what it starts gets it from `inherited` alone, what it forks closes it."""
    os.set_inheritable(descriptor, False)
    _held.append(descriptor)
    os.register_at_fork(after_in_child=lambda: _forget(descriptor))


def _forget(descriptor: int) -> None:
    if descriptor in _held:
        _held.remove(descriptor)
        os.close(descriptor)


def _ours(record: dict[str, Any]) -> bool:
    """Whether this process holds it since an earlier stage, or one does that started this one."""
    own = psutil.Process()
    return any(_is(process, record) for process in (own, *own.parents()))


def _is(process: psutil.Process, record: dict[str, Any]) -> bool:
    try:
        return process.pid == record.get("pid") and process.create_time() == record.get("started")
    except psutil.Error:
        return False


def _holder(device: nvidia.Device) -> str:
    record = _read(_file(device))
    if not record:
        return "which another process uses"
    what, since = (ascii(str(record.get(key, "unknown")))[1:-1][:200] for key in ("what", "since"))
    return f"which process {record.get('pid')} has used since {since}: {what}"


def _file(device: nvidia.Device) -> Path:
    return _folder() / f"gpu-{re.sub('[^A-Za-z0-9-]', '_', device.uuid)[:100]}.lock"


def _read(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _folder() -> Path:
    """A folder of this user alone that all logins share and no reboot keeps. Raises OSError where it is another's."""
    user = os.getuid()
    for runtime in filter(None, (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}")):
        if Path(runtime).is_dir() and Path(runtime).stat().st_uid == user and os.access(runtime, os.W_OK):
            folder = Path(runtime) / "rlvr"
            break
    else:
        folder = Path("/tmp") / f"rlvr-{user}"  # not TMPDIR, which may be another one for each job
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(1, "not a folder of this user alone", str(folder))
    return folder
