"""Finds where a completion states its answer when it did not use the answer element."""

from __future__ import annotations

import re

from rlvr_plugins.verifiers.latex import boxes

TAIL = 10_000
TRIES = 3
_END_TOKENS = re.compile(r"(?:\s*(?:<\|[a-z_]{1,20}\|>|</s>))+\s*\Z")
_ANSWER_IS = re.compile(r"answer\b[^\n.:=]{0,40}?\bis\b(?:[ *_]*:)?", re.IGNORECASE)
_ANSWER_COLON = re.compile(r"answer[\s*_]*[:=]", re.IGNORECASE)
_ONLY_THE = re.compile(
    r"[\W_]*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+|correct\s+)?[\W_]*\Z", re.IGNORECASE
)
_MARKED = re.compile(r"[\s$€£*_(\\+−-]*[0-9]")
_HEADING = re.compile(r"\s*[0-9]+[.)]\s+[^\W\d_]")
_OR = r"\b(?:or|nor|and|to|vs|versus|but|maybe|perhaps|possibly)\b"
_JOINED_BEFORE = re.compile(
    rf"(?:[0-9][\w%°.)]*|\))\s*(?:[-+*/×^:;,|±]|{_OR})?\s*[(]?\s*$"
    rf"|[0-9][^\n.;=]{{0,30}}\b(?:or|and|to)\s+$"
    rf"|[0-9][^\n.;=0-9]{{0,40}}\b(?:or|maybe|perhaps|possibly|versus|vs)\b[^\n.;=0-9]{{0,20}}$"
)
_JOINED_AFTER = re.compile(
    rf"\s*[(]?\s*[-+]?[0-9]|\s*(?:[^\W\d_]+\s+)?[(]?(?:[-+*/×^:;,|±]|{_OR})\s*[(]?\s*[-+]?[0-9]"
    rf"|[^\n.;=0-9]{{0,40}}\b(?:or|maybe|perhaps|possibly|versus|vs)\b[^\n.;=0-9]{{0,20}}[0-9]"
)


def without_end_tokens(text: str) -> str:
    """The text without the end tokens that a decoder may have left, such as `<|im_end|>`."""
    return text[:-200] + _END_TOKENS.sub("", text[-200:]) if text.rstrip().endswith(("|>", "</s>")) else text


def joined(before: str, after: str) -> bool:
    """Whether what stands around a number ties it to another one: "72 or 73", "5 - 6", "7:30"."""
    return bool(_JOINED_BEFORE.search(before[-80:]) or _JOINED_AFTER.match(after[:80]))


def stated(text: str) -> tuple[str, bool] | None:
    r"""What follows the last of `####`, `\boxed{` and "the answer is", looked for in the end of a text.

    Returns the statement, and whether it stands by itself: a box or the line after `####` is all of
    the answer, while a sentence may go on. A line after `####` that does not begin with a number is
    a heading. Several boxes in one line are given as that line. None where there is none of the
    three.
    """
    tail = text[-TAIL:]
    hashes, box, (sentence, begin) = _hashes(tail), tail.rfind("\\boxed"), _sentence(tail)
    last = max(hashes, box, sentence)
    if last < 0:
        return None
    if last == box:
        start = tail.rfind("\n", 0, box) + 1
        found = boxes(tail[start:])
        if not found:
            return None
        outer = [part for part in found if part[2] == 0]
        begun, ended, _ = max(found)
        return tail[start:] if len(outer) > 1 else tail[start:][begun:ended], True
    return _line(tail[begin:]) if last == sentence else _line(tail[hashes + 4 :]), last == hashes


def _line(text: str) -> str:
    return text.lstrip().partition("\n")[0].strip()


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
        if match:
            return at, match.end()
        end = at
    return -1, -1
