"""What the doctor finds, and how it prints that for people."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

WIDTH = 118
NAMES = 16


@dataclass(frozen=True)
class Finding:
    """One line of the output.

    section: the heading it stands under.
    part: what it is about; a config needs parts by this name.
    mark: `ok`; `warn` for what works, but less well or not for all; `lack` for what is not there or does not run.
    cure: one line that says what to do, for all but `ok`.
    """

    section: str
    part: str
    mark: Literal["ok", "warn", "lack"]
    text: str
    cure: str = ""


def render(found: list[Finding]) -> str:
    """The findings under their sections, aligned, at most `WIDTH` columns."""
    lines = []
    for section in dict.fromkeys(each.section for each in found):
        lines.append(section)
        for each in found:
            if each.section == section:
                lines += _lines(f"  {each.mark:6}{each.part:{NAMES}}", each.text)
                if each.cure:
                    lines += _lines(" " * (8 + NAMES) + "→ ", each.cure)
    return "\n".join(lines)


def _lines(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
