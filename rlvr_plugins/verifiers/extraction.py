"""Finds where a completion states its answer when it did not use the answer element."""

from __future__ import annotations

import re

from rlvr_plugins.verifiers.latex import boxes

TAIL = 10_000
TRIES = 3
_ANSWER_IS = re.compile(r"answer\b[^\n.:=]{0,40}?\bis\b(?:[ *_]*:)?", re.IGNORECASE)
_ANSWER_COLON = re.compile(r"answer[\s*_]*[:=]", re.IGNORECASE)
_ONLY_THE = re.compile(
    r"[\W_]*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+|correct\s+)?[\W_]*\Z", re.IGNORECASE
)
_MARKED = re.compile(r"[\s$€£*_(\\+−-]*[0-9]")
_HEADING = re.compile(r"\s*[0-9]+[.)]\s+[^\W\d_]")
_DENIAL = re.compile(r"(?:\bnot|n['’]t|\bnever)\b[^.,;:\n]*\Z")
_RETRACTED = re.compile(
    r"\b(?:wait|actually|correction|wrong|incorrect|mistake|instead|or)\b[^\n]{0,80}[0-9]", re.IGNORECASE
)
_LIST_MARK = re.compile(r"(?:[-*•–]\s+|[0-9]+\)\s+)")
_BETWEEN_BOXES = re.compile(r"[\W_]*(?:or|and|to|vs|maybe|either)?[\W_]*")


def stated(text: str) -> tuple[str, bool] | None:
    r"""What follows the last of `####`, `\boxed{` and "the answer is", looked for in the end of a text.

    Returns the statement, and whether it stands by itself: a box or the line after `####` is all of
    the answer, while a sentence may go on. A line after `####` that does not begin with a number is
    a heading. Boxes side by side are given as they stand. None where there is none of the three, or
    where what follows takes it back.
    """
    tail = text[-TAIL:]
    hashes, box, (sentence, begin) = _hashes(tail), tail.rfind("\\boxed"), _sentence(tail)
    last = max(hashes, box, sentence)
    if last < 0:
        return None
    if last == box:
        said, end = _boxed(tail)
    else:
        begin = begin if last == sentence else hashes + 4
        said = _line(tail[begin:])
        end = begin if last == sentence else begin + tail[begin:].find(said) + len(said)
    if said is None or _RETRACTED.search(tail[end:]):
        return None
    return said, last != sentence


def _boxed(text: str) -> tuple[str | None, int]:
    """What the last box holds, with the one before it where nothing but "or" stands between; and its end."""
    found = sorted(boxes(text))
    if not found:
        return None, 0
    begin, end = found[-1]
    for former, former_end in found[:-1]:
        if former_end < begin and _BETWEEN_BOXES.fullmatch(text[former_end + 1 : begin].removesuffix("\\boxed{")):
            return text[former:end], end
    return text[begin:end], end


def _line(text: str) -> str:
    line = text.lstrip().partition("\n")[0].strip(" \t*_`")
    mark = _LIST_MARK.match(line)
    return line[mark.end() :] if mark else line


def _hashes(text: str) -> int:
    """Where the last `####` stands that an answer follows; -1 without one."""
    end = len(text)
    for _ in range(TRIES):
        at = text.rfind("####", 0, end)
        if at < 0:
            break
        line = _line(text[at + 4 : at + 300])
        if _MARKED.match(line) and not _HEADING.match(line):
            return at
        end = at
    return -1


def _sentence(text: str) -> tuple[int, int]:
    """Where the last "answer is" or a line's "Answer:" begins and ends; -1 without one."""
    lowered, end = text.lower(), len(text)
    for _ in range(TRIES):
        at = lowered.rfind("answer", 0, end)
        if at < 0:
            break
        match = _ANSWER_IS.match(text, at)
        if not match and _ONLY_THE.match(text[text.rfind("\n", 0, at) + 1 : at]):
            match = _ANSWER_COLON.match(text, at)
        if match and not _DENIAL.search(text[max(0, at - 60) : at]):
            return at, match.end()
        end = at
    return -1, -1
