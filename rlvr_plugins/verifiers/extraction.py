"""Finds where a completion states its answer when it did not use the answer element."""

from __future__ import annotations

import re

from rlvr_plugins.verifiers.latex import last_box

TAIL = 10_000
_STATES = re.compile(r"answer\b[^\n.:=]{0,40}?(?:\bis\b\s*:?|:|=)", re.IGNORECASE)


def stated(text: str) -> tuple[str, bool] | None:
    r"""What follows the last of `####`, `\boxed{` and "the answer is", looked for in the end of a text.

    Returns the statement, and whether it stands by itself: a box or the line after `####` is all of
    the answer, while a sentence may go on. None where there is none of the three.
    """
    tail = text[-TAIL:]
    hashes, box, (sentence, begin) = tail.rfind("####"), tail.rfind("\\boxed"), _sentence(tail)
    last = max(hashes, box, sentence)
    if last < 0:
        return None
    if last == box:
        content = last_box(tail[box:])
        return (content, True) if content is not None else None
    if last == hashes:
        return _line(tail[hashes + 4 :]), True
    return _line(tail[begin:]), False


def _line(text: str) -> str:
    return text.lstrip().partition("\n")[0].strip()


def _sentence(text: str) -> tuple[int, int]:
    """Where the last "answer is" begins and ends; -1 without one."""
    lowered, end = text.lower(), len(text)
    for _ in range(3):
        at = lowered.rfind("answer", 0, end)
        if at < 0:
            break
        match = _STATES.match(text, at)
        if match:
            return at, match.end()
        end = at
    return -1, -1
