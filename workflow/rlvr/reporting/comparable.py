"""What may be compared: the same items, under one protocol."""

from __future__ import annotations

from collections.abc import Mapping

from rlvr.errors import RlvrError


def require_same_items(cells: list[str], keys: list[list[str]]) -> None:
    """Raises RlvrError naming the first item in which two cells differ."""
    first, second = keys
    if first == second:
        return
    if len(first) == len(second) and sorted(first) == sorted(second):
        what = "the same items in another order"
    else:
        what = f"{len(first)} and {len(second)} completions"
    row = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(map(len, keys)))
    a, b = (repr(found[row]) if row < len(found) else "nothing" for found in keys)
    raise RlvrError(
        f"{cells[0]} and {cells[1]} can't be compared: {what}; the first that differs is row {row}, {a} and {b}; "
        "allowed: the same items in the same order"
    )


def same_protocol(hashes: Mapping[str, str], cells: list[str]) -> bool:
    """Whether two cells were answered under one protocol; one that is not known is taken for the same.

    hashes: of `protocols.checked`, which refuses what the config does not ask for.
    """
    first, second = (hashes.get(cell) for cell in cells)
    return first == second or None in (first, second)
