"""Reads completions of the form `<think>…</think><answer>…</answer>`.

`<reasoning>` may stand for `<think>`, so that a system prompt may ask for either.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlvr_plugins.verifiers.response import parts

REASONING = ("think", "reasoning")
SHOWN_CHARACTERS = 200
CUT_OFF = "no answer: cut off inside the reasoning"
NOT_ALONE = "right, but the completion is not one <think> or <reasoning> and one <answer> element"


@dataclass(frozen=True, slots=True)
class Tagged:
    """What stands in the tags.

    answer: the text of the last whole `<answer>` element of the response, None where there is none.
    well_formed: up to the first end token the completion is one reasoning element and one answer element and nothing
        else.
    answers: number of answer elements, those in the reasoning included; 0 where none of them counts.
    response: what of the completion counts where there is no answer element; see `response.parts`.
    missing: why there is no answer element, "" where there is one.
    """

    answer: str | None
    well_formed: bool
    answers: int
    response: str
    missing: str


def read_tags(completion: str) -> Tagged:
    """Splits a completion into its tagged parts in linear time; never raises."""
    found = parts(completion)
    text, response = found.turn.strip(), found.response
    openings, closings = text.count("<answer>"), text.count("</answer>")
    start = text.rfind("<answer>")
    well_formed = (
        openings == closings == 1
        and start < text.find("</answer>") == len(text) - len("</answer>")
        and any(_one_element(text, start, name) for name in REASONING)
    )
    if well_formed:
        return Tagged(text[start + len("<answer>") : -len("</answer>")].strip(), True, 1, response, "")
    last = response.rfind("</answer>")
    start = response.rfind("<answer>", 0, last) if last >= 0 else -1
    if start < 0:
        return Tagged(None, False, 0, response, CUT_OFF if found.unclosed else "no <answer>")
    end = response.find("</answer>", start)
    answer = response[start + len("<answer>") : end].strip()
    return Tagged(answer, False, min(openings, closings), response, "")


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
