"""Calls of plugins in this process: what may end the process, and what a watching process can say of it.

Nothing in a process survives its own `os._exit`. So the `rlvr` command works in a child where packages of others are
installed (`rlvr.supervision`), and each call is written down in memory that both share, with the time it may take.
"""

from __future__ import annotations

import math
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TypeVar

from rlvr_plugins import hookspecs

LOADING_SECONDS = 60.0
"""For importing a package, checking options and naming files."""
ITEM_SECONDS = 600.0
"""For one completion."""
DATA_SECONDS = 6 * 3600.0
"""For the items of a task, which may have to be fetched, and for a batch of rows in a filter."""
TWICE_SECONDS = 0.5
MOST_SECONDS = "RLVR_PLUGIN_SECONDS"
"""Environment variable: no call may take longer than this."""


Item = TypeVar("Item")


class PluginError(ValueError):
    """A plugin that is missing, doubled or broken; the message is one line."""


class Interrupted(KeyboardInterrupt):
    """A signal from outside, as against a KeyboardInterrupt that a plugin raises."""


class Board:
    """What this process is doing, in memory that it shares with the process it was forked from.

    doing: the call, "" outside of one. seconds: that it may take. late: whether it takes longer. code: what the process
    is about to end with, None before that.
    """

    _HEAD = struct.Struct("<ddqI")
    _SIZE = 4096
    _NO_CODE = -1 << 32

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, self._SIZE)
        self._owner = 0
        self._put(0.0, self._NO_CODE, b"")

    def _put(self, seconds: float, code: int, text: bytes) -> None:
        text = text[: self._SIZE - self._HEAD.size]
        self._HEAD.pack_into(self._memory, 0, time.monotonic(), seconds, code, len(text))
        self._memory[self._HEAD.size : self._HEAD.size + len(text)] = text

    def own(self) -> None:
        """From now on this process writes, and none that it forks."""
        self._owner = os.getpid()

    def write(self, what: bytes, seconds: float) -> None:
        """Notes that a call begins; `what` is "" where one ended. seconds: that it may take."""
        if os.getpid() == self._owner:
            self._put(seconds, self._NO_CODE, what)

    def finish(self, code: int) -> None:
        if os.getpid() == self._owner:
            self._put(0.0, code, b"")

    @property
    def doing(self) -> str:
        length = self._HEAD.unpack_from(self._memory)[3]
        text = self._memory[self._HEAD.size : self._HEAD.size + min(length, self._SIZE)]
        return text.decode(errors="replace")

    @property
    def seconds(self) -> float:
        return self._HEAD.unpack_from(self._memory)[1]

    @property
    def late(self) -> bool:
        begun = self._HEAD.unpack_from(self._memory)[0]
        return 0 < self.seconds < time.monotonic() - begun

    @property
    def code(self) -> int | None:
        code = self._HEAD.unpack_from(self._memory)[2]
        return None if code == self._NO_CODE else code


_board: Board | None = None
_calls: list[Call] = []
_interrupted = False
_last = -math.inf


def write_on(board: Board) -> None:
    """Has this process write its calls down."""
    global _board
    _board = board
    board.own()


class Call:
    """A call under way."""

    def __init__(self, what: str, seconds: float) -> None:
        self._seconds = min(seconds, _most_seconds())
        self._what = what.encode(errors="replace")
        self._pid = os.getpid()

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, with the whole time for each."""
        for item in items:
            _require_uninterrupted()
            self.restart()
            yield item

    def restart(self) -> None:
        if os.getpid() != self._pid:
            os._exit(1)  # a fork that came back from the plugin would do the same work once more
        if _board:
            _board.write(self._what, self._seconds)


def _most_seconds() -> float:
    """Raises PluginError where the environment variable is no number above 0."""
    text = os.environ.get(MOST_SECONDS) or "inf"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise PluginError(f"{MOST_SECONDS}: {one_line(text)[:60]!r} is not possible; allowed: seconds, above 0")
    return seconds


@contextmanager
def calling(what: str, seconds: float) -> Iterator[Call]:
    """Around a call of a plugin in this process. what: such as `reward 'x'`.

    Raises PluginError where the plugin raises what is no Exception, a KeyboardInterrupt or SystemExit of its own, say;
    Interrupted where a signal came, even if the plugin caught it. Undoes what it did to the handlers of signals.
    """
    call = Call(what, seconds)
    main = listen()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    _calls.append(call)
    call.restart()
    try:
        yield call
    except BaseException as error:
        if not theirs(error) or isinstance(error, Exception):
            raise
        raise PluginError(f"{what} raised {type(error).__name__}") from None
    finally:
        call.restart()
        _calls.remove(call)
        if _calls:
            _calls[-1].restart()
        elif _board:
            _board.write(b"", 0.0)
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
    _require_uninterrupted()


def _require_uninterrupted() -> None:
    """Raises Interrupted where a plugin caught the one that a signal raised."""
    global _interrupted
    if _interrupted:
        _interrupted = False
        raise Interrupted


def listen() -> bool:
    """Has Ctrl-C raise Interrupted where it would raise KeyboardInterrupt; whether this is the main thread."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    return main


def interrupt(number: int, frame: object) -> None:
    """A handler of signals, as `signal.default_int_handler`. Raises Interrupted.

    One signal may come twice, to the process group and forwarded by the parent; the second would end the clearing up.
    """
    global _interrupted, _last
    before, _last = _last, time.monotonic()
    if _last - before < TWICE_SECONDS:
        return
    _interrupted = bool(_calls)
    raise Interrupted


def theirs(error: BaseException) -> bool:
    """Whether a plugin raised it, and not a signal."""
    global _interrupted
    if isinstance(error, Interrupted):
        _interrupted = False
        return False
    return True


def one_line(text: str) -> str:
    """The text without line breaks and without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def strangers() -> list[str]:
    """The installed distributions of others that have plugins, with their versions."""
    found = {f"{entry.dist.name} {entry.dist.version}" for entry in entry_points(group=hookspecs.PROJECT)}
    return sorted(found)
