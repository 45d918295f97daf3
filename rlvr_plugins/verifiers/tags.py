"""Reads `<think>…</think><answer>…</answer>` completions."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CHARACTERS = 100_000


@dataclass(frozen=True)
class Tagged:
    """What stands in the tags.

    answer: the text of the last `<answer>` element, None where there is none.
    well_formed: the completion is `<reasoning_tag>…</reasoning_tag> <answer>…</answer>` and nothing
        else, each tag once.
    """

    answer: str | None
    well_formed: bool


def read_tags(completion: str, reasoning_tag: str) -> Tagged:
    """Splits a completion into its tagged parts; never raises."""
    text = completion[:MAX_CHARACTERS].strip()
    start = text.rfind("<answer>")
    end = text.find("</answer>", max(start, 0))
    answer = text[start + len("<answer>") : end].strip() if 0 <= start < end else None
    opening, closing = f"<{reasoning_tag}>", f"</{reasoning_tag}>"
    once = all(text.count(tag) == 1 for tag in (opening, closing, "<answer>", "</answer>"))
    well_formed = (
        once
        and answer is not None
        and text.startswith(opening)
        and text.endswith("</answer>")
        and not text[text.find(closing) + len(closing) : start].strip()
        and text.find(closing) < start
    )
    return Tagged(answer, well_formed)
