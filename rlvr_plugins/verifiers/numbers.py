"""Reads one number from text, exactly, and judges it against a gold answer."""

from __future__ import annotations

import re
from fractions import Fraction

from rlvr_plugins.types import Example, Verdict
from rlvr_plugins.verifiers.tags import read_tags

MAX_CHARACTERS = 200
_NUMBER = re.compile(r"(?<![\w.,])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?![\w,]*\d)")
_FRACTION = re.compile(r"([-+]?\d+)\s*/\s*(\d+)")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_NOISE = re.compile(r"\\[$%(),!;]|\{,\}|[$€£¥*_`]|\\text\{[^{}]*\}")
_LAST_NUMBER = re.compile(r"(?<![\d/^.,])(?:(?<![\d)] )(?<![\d)])[-−])?\$?\d[\d,]*(?:\.\d+)?")


def parse_number(text: str) -> Fraction | None:
    """The one number that `text` states, or None where there is none or more than one.

    Understands signs, decimals, thousands separators, fractions, currency and percent signs,
    units, Markdown emphasis, `\\boxed{}` and the right side of an equation. Exact arithmetic.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS or not text.isprintable():
        return None
    boxed = _BOXED.findall(text)
    text = boxed[-1] if boxed else text
    text = text.rpartition("=")[2].replace("−", "-")
    text = text.replace("{,}", ",")
    text = _LATEX_FRACTION.sub(r"\1/\2", text)
    text = _NOISE.sub(" ", text).replace("%", " ").strip().rstrip(".!;:").strip()
    if not text.isascii():
        return None
    text = re.sub(r"^([-+])\s+", r"\1", text)
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        return Fraction(int(fraction[1]), int(fraction[2])) if int(fraction[2]) else None
    found = [match for match in _NUMBER.findall(text) if any(map(str.isdigit, match))]
    rest = _NUMBER.sub(" ", text) if found else text
    if len(found) != 1 or re.search(r"[\d/:^+*\\<>-]", rest):
        return None
    return Fraction(found[0].replace(",", ""))


def verify_number(completion: str, example: Example) -> Verdict:
    """Judges a completion whose answer is a number; field `answer` holds the gold."""
    gold = parse_number(str(example.fields["answer"]))
    tagged = read_tags(completion, "reasoning")
    if tagged.answer is None:
        answer = _last_answer(completion)
        flexible = gold is not None and parse_number(answer) == gold
        return Verdict(False, flexible, False, answer, "no <answer>")
    value = parse_number(tagged.answer)
    if value is None:
        flexible = gold is not None and parse_number(_last_answer(tagged.answer)) == gold
        return Verdict(False, flexible, tagged.well_formed, tagged.answer, "no single number in <answer>")
    right = value == gold
    reason = "" if right else f"{value} is not {gold}"
    if right and not tagged.well_formed:
        reason = "not <reasoning>…</reasoning><answer>…</answer>"
    return Verdict(right and tagged.well_formed, right, tagged.well_formed, tagged.answer, reason)


def _last_answer(completion: str) -> str:
    tail = completion[-10_000:]
    if "####" in tail:
        return (tail.rpartition("####")[2].strip().splitlines() or [""])[0].strip()
    boxed = _BOXED.findall(tail)
    if boxed:
        return boxed[-1]
    numbers = _LAST_NUMBER.findall(tail)
    return numbers[-1].rstrip(",") if numbers else ""
