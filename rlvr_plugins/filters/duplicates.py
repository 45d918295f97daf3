"""The first of rows that are alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlvr_plugins import Filter, FilterContext, Row, hookimpl
from rlvr_plugins.filters.words import words
from rlvr_plugins.tasks.columnar import digest


@dataclass(frozen=True)
class Options:
    """by: `exact`, the same prompt and completion; `normalised`, the same words in them, in lower case and without
    punctuation. Of those alike the first one stays. Rows come in an order drawn from the seed.
    About 0.2 KiB of memory a row.
    """

    by: Literal["exact", "normalised"] = "exact"


def start(options: Options, context: FilterContext):
    """Drops rows with the same prompt and completion as one before."""
    seen: dict[bytes, int] = {}
    number = 0
    text = _normalised if options.by == "normalised" else str

    def reason(row: Row) -> str:
        nonlocal number
        number += 1
        messages = [(message["role"], text(message["content"])) for message in row.prompt]
        mark = digest(json.dumps([messages, row.completion and text(row.completion)]))
        first = seen.setdefault(mark, number)
        return "" if first == number else f"seen before\nin row {first}"

    def select(rows: Sequence[Row]) -> list[str]:
        return [reason(row) for row in rows]

    return select


def _normalised(text: str) -> str:
    """The words of a text; the text where it has none."""
    return " ".join(words(text)) or text


@hookimpl
def rlvr_filters():
    yield Filter("duplicates", options=Options, start=start, requires=("regex",))
