"""Finds where a completion states its answer when it did not use the answer element."""

from __future__ import annotations

import re

from rlvr_plugins.verifiers.latex import boxes

TAIL = 10_000
TRIES = 3
_END_TOKENS = re.compile(r"(?:\s*(?:<[|｜][^|｜<>]{1,40}[|｜]>|</s>|<eos>|<end_of_turn>))+\s*\Z")
_ANSWER_IS = re.compile(r"answer\b[^\n.:=]{0,40}?\bis\b(?:[ *_]*:)?", re.IGNORECASE)
_ANSWER_COLON = re.compile(r"answer[\s*_]*[:=]", re.IGNORECASE)
_ONLY_THE = re.compile(
    r"[\W_]*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+|correct\s+)?[\W_]*\Z", re.IGNORECASE
)
_MARKED = re.compile(r"[\s$€£*_(\\+−-]*[0-9]")
_HEADING = re.compile(r"\s*[0-9]+[.)]\s+[^\W\d_]")
_OR = r"\b(?:or|nor|and|to|through|vs\.?|versus|but|maybe|perhaps|possibly)(?!\w)"
_HEDGE = r"\b(?:or|maybe|perhaps|possibly|versus|vs\.?)(?!\w)"
_JOINED_BEFORE = re.compile(
    rf"(?:[0-9][\w%°.)]*|\))\s*(?:[-+*/×^:;,|±&]|{_OR})?\s*[(]?\s*$"
    rf"|[0-9][^\n.;=]{{0,30}}\b(?:or|and|to)\s+$"
    rf"|[0-9][^\n.;=0-9]{{0,40}}{_HEDGE}[^\n.;=0-9]{{0,20}}$"
    r"|[0-9]\s*(?:hours?|hrs?|minutes?|feet|foot|ft|pounds?|dollars?|euros?|yards?|weeks?|days?|years?),?\s+$"
)
_JOINED_AFTER = re.compile(
    rf"\s*[-+]?[0-9]|\s*(?:[^\W\d_]+\s+)?[(]?(?:[-+*/×^:;,|±&]|{_OR})\s*[(]?\s*[-+]?[0-9]"
    rf"|[^\n.;=0-9]{{0,40}}{_HEDGE}[^\n.;=0-9]{{0,20}}[0-9]"
)
_CORRECTED = re.compile(r"\bnot\s+[$]?[0-9][0-9.,]*\s*[;,]?\s*(?:but|it is|it['’]s|rather)\s+(?:rather\s+)?[$]?\s*$")
_SENTENCE_END = re.compile(r"(?<!\bvs)[.!?]\s+(?=\S|\Z)")
_DENIAL = re.compile(r"(?:\bnot|n['’]t|\bnever)\b[^.,;:\n]*\Z")
_OPEN_END = re.compile(r"\b(?:or|and)\s*$")
_RETRACTED = re.compile(
    r"\b(?:wait|actually|correction|wrong|incorrect|mistake|instead|or)\b[^\n]{0,80}[0-9]", re.IGNORECASE
)
_LIST_MARK = re.compile(r"(?:[-*•–]\s+|[0-9]+\)\s+)")
_BETWEEN_BOXES = re.compile(r"[\W_]*(?:or|and|to|vs|maybe|either)?[\W_]*")


def without_end_tokens(text: str) -> str:
    """The text without the end tokens that a decoder may have left, such as `<|im_end|>`."""
    return text[:-200] + _END_TOKENS.sub("", text[-200:]) if text.rstrip().endswith(">") else text


def sentence_around(before: str, after: str) -> tuple[str, str]:
    """What stands before and after a place, within its line and sentence."""
    lines, _, line = before.rpartition("\n")
    if not line.strip() and _OPEN_END.search(lines):
        line = lines.rpartition("\n")[2] + " "
    *_, line = _SENTENCE_END.split(line[-200:])
    rest = after[:200].partition("\n")[0]
    return line, _SENTENCE_END.split(rest, maxsplit=1)[0]


def joined(before: str, after: str) -> bool:
    """Whether what stands around a number in its sentence ties it to another one: "72 or 73", "5 - 6"."""
    tied = _JOINED_BEFORE.search(before[-80:]) and not _CORRECTED.search(before[-80:])
    return bool(tied or _JOINED_AFTER.match(after[:80]))


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
    begin, end, _ = found[-1]
    for former, former_end, _ in found[:-1]:
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
