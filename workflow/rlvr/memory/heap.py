"""What glibc's allocator holds for a sequence of blocks, found by asking it for them.

It keeps freed blocks below 32 MiB for later ones and fits badly around what stays, so that a process
on a CPU takes more than its tensors do. The blocks are never written to and take no memory here.
"""

from __future__ import annotations

import ctypes

ALIGNMENT = 64
"""Of torch's CPU allocator."""

KEPT = 2**25 - 2**16
"""Just below the largest blocks that glibc keeps, which it does once one was freed, as loading a model brings."""
SAMPLED = 2**20
"""Smaller blocks do not make the highest point; asking costs time."""


class _Info(ctypes.Structure):
    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]


class Heap:
    """Takes and gives back blocks; `peak` is the most bytes held for them, `None` where there is no glibc."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self.peak: int | None = None
        if hasattr(self._libc, "mallinfo2"):
            self._libc.mallinfo2.restype = _Info
            self._libc.free.argtypes = [ctypes.c_void_p]
            self._libc.malloc.argtypes, self._libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
            self._libc.free(self._libc.malloc(KEPT))
            self._before = self._held()
            self.peak = 0

    def take(self, size: int) -> int | None:
        """Address of a new block."""
        if self.peak is None or size == 0:
            return None
        block = ctypes.c_void_p()
        if self._libc.posix_memalign(ctypes.byref(block), ctypes.c_size_t(ALIGNMENT), ctypes.c_size_t(size)):
            self.peak = None  # more than this process may have: no replay
            return None
        if size > SAMPLED:
            self.peak = max(self.peak, self._held() - self._before)
        return block.value

    def give(self, block: int | None) -> None:
        if block is not None:
            self._libc.free(block)

    def _held(self) -> int:
        found = self._libc.mallinfo2()
        return found.arena + found.hblkhd
