"""Finds where a completion states its answer when it did not use the answer element."""

from __future__ import annotations

import re

from rlvr_plugins.verifiers.latex import BOX, OPEN_BOX, boxes

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
    r"(?:\b(?:wait|actually|correction|wrong|incorrect|mistake|instead|should (?:be|have been))\b"
    r"|(?:\A|[.!?;]\s|\n)\W{0,20}\bor\b)"
    r"[^\n]{0,80}[0-9]",
    re.IGNORECASE,
)
_CHECKS = re.compile(r"\b(?:(?:re|double[- ]?)?check|verif|confirm)", re.IGNORECASE)
_TAKES_BACK = re.compile(r"\b(?:no|not|wrong|incorrect|mistake|instead|correction)\b|n['’]t\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[^\n]*?(?:[.!?](?=\s)|\n|\Z)")
_LIST_MARK = re.compile(r"(?:[-*•–]\s+|[0-9]+\)\s+)")
_BOX = re.compile(BOX)
_BARE_BOX = re.compile(rf"{BOX}\s*(?=[^\s{{\[])")
_BETWEEN_BOXES = re.compile(rf"[\W_]*(?:or|and|to|vs|maybe|either)?[\W_]*{OPEN_BOX}")


def stated(text: str) -> tuple[str, bool] | None:
    r"""What follows the last of `####`, a box and "the answer is", looked for in the end of a text.

    Returns the statement, and whether it stands by itself: a box or the line after `####` is all of the answer, while a
    sentence may go on, as may what follows a box command without braces. A line after `####` that does not begin with a
    number is a heading. Boxes side by side are given as they stand. None where there is none of the three, or where
    what follows takes it back.
    """
    tail = text[-TAIL:]
    box = max((match.start() for match in _BOX.finditer(tail)), default=-1)
    hashes, (sentence, begin) = _hashes(tail), _sentence(tail)
    last = max(hashes, box, sentence)
    if last < 0:
        return None
    alone = last != sentence
    bare = last == box and _BARE_BOX.match(tail, box)
    if last == box and not bare:
        said, end = _boxed(tail)
    else:
        begin = bare.end() if bare else begin if last == sentence else hashes + 4
        said = _line(tail[begin:])
        alone = alone and not bare
        end = begin + tail[begin:].find(said) + len(said) if alone else begin
    if said is None or _retracted(tail[end:]):
        return None
    return said, alone


def _retracted(after: str) -> bool:
    """Whether what follows a statement takes it back; a sentence that checks it does not."""
    for match in _RETRACTED.finditer(after):
        begin = max(after.rfind(mark, 0, match.start()) for mark in (". ", "\n", "? ", "! ")) + 1
        sentence = _SENTENCE.match(after, begin)[0]
        if not _CHECKS.search(sentence) or _TAKES_BACK.search(sentence):
            return True
    return False


def _boxed(text: str) -> tuple[str | None, int]:
    """What the last box holds, with the one before it where nothing but "or" stands between; and its end."""
    found = sorted(boxes(text))
    if not found:
        return None, 0
    begin, end = found[-1]
    for former, former_end in found[:-1]:
        if former_end < begin and _BETWEEN_BOXES.fullmatch(text, former_end + 1, begin):
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
