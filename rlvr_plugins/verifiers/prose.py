"""What stands around a number in prose: its sentence, and what ties it to another number."""

from __future__ import annotations

import re

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
_OPEN_END = re.compile(r"\b(?:or|and)\s*$")


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
