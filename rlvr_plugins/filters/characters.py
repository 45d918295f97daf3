"""Texts in the scripts one wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from rlvr_plugins import Filter, FilterContext, Row, hookimpl

ASCII = "ascii"


@dataclass(frozen=True)
class Options:
    """allow: names of Unicode scripts, such as latin, greek, cyrillic, han; digits, punctuation and all else that
        no script owns are always allowed. `[ascii]` alone allows the 128 characters of ASCII and nothing else.
    min_share: smallest share of allowed characters, in the question and in the completion each.
    """

    allow: tuple[str, ...] = ("latin",)
    min_share: float = 1.0

    def __post_init__(self) -> None:
        if not self.allow or (ASCII in self.allow and len(self.allow) > 1):
            raise ValueError("allow must name one or more scripts, or ascii alone")
        for name in self.allow:
            if name != ASCII and not _is_script(name):
                raise ValueError(f"allow: {name!r} is no Unicode script; allowed: names such as latin, greek, han")
        if not 0 < self.min_share <= 1:
            raise ValueError("min_share must be above 0 and at most 1")


def start(options: Options, context: FilterContext):
    """Drops texts with characters outside some Unicode scripts."""
    strange = _others(options.allow)

    def within(text: str) -> bool:
        if options.min_share == 1:
            return strange.search(text) is None
        return sum(map(len, strange.findall(text))) <= (1 - options.min_share) * len(text)

    def reason(row: Row) -> str:
        if not within(row.user):
            return "prompt: other characters"
        return "" if row.completion is None or within(row.completion) else "completion: other characters"

    def select(rows: Sequence[Row]) -> list[str]:
        return [reason(row) for row in rows]

    return select


def _is_script(name: str) -> bool:
    try:
        return name.isidentifier() and name.isascii() and bool(regex.compile(rf"\p{{Script={name}}}"))
    except regex.error:
        return False


def _others(allow: Sequence[str]) -> regex.Pattern:
    """Runs of characters that are not allowed."""
    if tuple(allow) == (ASCII,):
        return regex.compile(r"[^\x00-\x7F]+")
    scripts = "".join(rf"\p{{Script={name}}}" for name in ("Common", "Inherited", *allow))
    return regex.compile(f"[^{scripts}]+")


@hookimpl
def rlvr_filters():
    yield Filter("characters", options=Options, start=start, requires=("regex",))
