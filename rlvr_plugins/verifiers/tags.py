"""Reads completions of the form `<think>…</think><answer>…</answer>`.

`<reasoning>` may stand for `<think>`, so that a system prompt may ask for either.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlvr_plugins.verifiers.prose import without_end_tokens

REASONING = ("think", "reasoning")
SHOWN_CHARACTERS = 200
NOT_ALONE = "right, but the completion is not one <think> or <reasoning> and one <answer> element"


@dataclass(frozen=True, slots=True)
class Tagged:
    """What stands in the tags.

    answer: the text of the last complete `<answer>` element, None where there is none.
    well_formed: the completion is one reasoning element and one answer element and nothing else.
    answers: number of answer elements.
    """

    answer: str | None
    well_formed: bool
    answers: int


def read_tags(completion: str) -> Tagged:
    """Splits a completion into its tagged parts in linear time; never raises."""
    text = without_end_tokens(completion).strip()
    last = text.rfind("</answer>") if "</answer>" in text else -1
    start = text.rfind("<answer>", 0, last) if last >= 0 else -1
    if start < 0:
        return Tagged(None, False, 0)
    end = text.find("</answer>", start)
    openings, closings = text.count("<answer>"), text.count("</answer>")
    whole = openings == closings == 1 and end + len("</answer>") == len(text)
    well_formed = whole and any(_one_element(text, start, name) for name in REASONING)
    return Tagged(text[start + len("<answer>") : end].strip(), well_formed, min(openings, closings))


def _one_element(text: str, end: int, name: str) -> bool:
    """Whether `text[:end]` is one element of this name, with whitespace after it."""
    opening, closing = f"<{name}>", f"</{name}>"
    if not text.startswith(opening) or text.count(opening) != 1 or text.count(closing) != 1:
        return False
    after = text.find(closing) + len(closing)
    return after <= end and not text[after:end].strip()


def shown(answer: str) -> str:
    """An answer as a verdict carries it: of one longer than 200 characters the beginning and "…"."""
    return answer if len(answer) <= SHOWN_CHARACTERS else f"{answer[:SHOWN_CHARACTERS]}…"
