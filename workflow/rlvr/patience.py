"""Says so when scoring one batch takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rlvr import console
from rlvr_plugins import Reward, Task

SECONDS = 60.0


@contextmanager
def watched(kind: str, plugin: Task | Reward) -> Iterator[None]:
    """Names the plugin on the screen after a minute; where it runs in this process, nothing else would end it."""
    hint = "its limits will end it" if plugin.isolate else "isolate=Limits(…) would end it"
    line = f"{kind} {plugin.name!r} has been at one batch for {SECONDS:g} s; {hint}"
    timer = threading.Timer(SECONDS, console.say, [line])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
