"""Reads the one number that a text states, exactly, and judges it against a gold answer."""

from __future__ import annotations

import re
from fractions import Fraction

from rlvr_plugins.types import ERROR, UNREADABLE, Example, Verdict
from rlvr_plugins.verifiers import units
from rlvr_plugins.verifiers.extraction import stated
from rlvr_plugins.verifiers.notation import plain
from rlvr_plugins.verifiers.prose import joined, sentence_around
from rlvr_plugins.verifiers.response import parts
from rlvr_plugins.verifiers.tags import NOT_ALONE, read_tags, shown

MAX_CHARACTERS = 200
TAIL = 1_000

_INTEGER = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}|[1-9][0-9]{0,2}(?:[ ][0-9]{3})+|[0-9]+"
_EUROPEAN = r"[1-9][0-9]{0,2}(?:(?:\.[0-9]{3})+,[0-9]+|(?:\.[0-9]{3}){2,})(?![0-9])"
_DECIMAL = rf"(?:{_EUROPEAN}|(?:{_INTEGER})(?:\.[0-9]+)?(?![0-9])|\.[0-9]+)"
_NUMBER = re.compile(
    rf"""
    (?<![\w^/])(?<![0-9][.,:])
    (?P<sign>[-+](?=[0-9.])|\A[-+]\ *)?
    (?:
        (?P<whole>[0-9]+)\ +(?P<part>[0-9]+)\ */\ *(?P<parts>[0-9]+)
      | (?P<numerator>{_DECIMAL})\ */\ *(?P<denominator>{_DECIMAL})
      | (?:(?P<factor>{_DECIMAL})\ *[×*x·]\ *)?10\ *\^\ *(?P<power>[-+]?[0-9]{{1,3}})
      | (?P<decimal>{_DECIMAL})(?:[eE](?P<exponent>[-+]?[0-9]{{1,3}}))?
    )
    (?![0-9])
    """,
    re.VERBOSE,
)
_PLAIN = re.compile(r"\s*(-?)\$?([0-9]{1,18}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,5})\.?\s*")
_OTHER_BASE = re.compile(r"[xXoObB]")
_SEPARATED = re.compile(r"[0-9][^=]*(?:[;\n]|,\s*(?![0-9])|\b(?:and|or|maybe)\b|\s[^\W\d_]\s*$)")
_COMMAND_BEFORE = re.compile(r"\\[a-zA-Z]+\s*(?:\[[^\]]*\])?\s*[({]?\s*$")
_EQUALS = re.compile(r"(?<![!<>=])=(?!=)")
_CORRECTS = re.compile(r"\s*[;,]?\s*(?:but|it is|it['’]s)\s+[$]?[0-9]")
_GOES_ON = r"because|since|as|for|in|per|each|total|at|after|when|so|out of|of (?:the|these|them)"
_STOPS = re.compile(rf"[%°]?(?:\s+[^\W\d_][\w'’/-]*){{0,10}}?\s*(?:$|[.;,!?)\]}}(–—]|- |\s(?:{_GOES_ON})\b)")


def parse_number(text: str) -> Fraction | None:
    r"""The one number that `text` states, exactly; None where there is none or more than one.

    Understands signs, decimals, currency, thousands separators, units, per cent (as a unit),
    ordinals, fractions and mixed numbers, powers of ten, scale words, the right side of an
    equation, LaTeX, Markdown emphasis and full-width digits. Sums and products are no number, nor
    is a text of more than 200 characters.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    quick = _PLAIN.fullmatch(text)
    if quick:
        return Fraction(int(quick[1] + quick[2].replace(",", "")))
    read = plain(text.strip())
    if read is None:
        return None
    *left, right = read.split("=")
    if any(_SEPARATED.search(part) for part in left):
        return None
    value = _only_number(right.strip())
    others = [_only_number(part.strip()) for part in left if "/" not in part]
    return None if any(other is not None and other != value for other in others) else value


def _only_number(text: str) -> Fraction | None:
    """The value of the one number in a text of one line, where all else is label and unit."""
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        return None
    (match,) = found
    before, after = text[: match.start()], text[match.end() :]
    repeats = "." in match[0] and after.startswith(("..", "…"))
    if repeats or (match[0] == "0" and _OTHER_BASE.match(after)):
        return None
    power, after = units.scale(after)
    if not units.is_label(before) or not units.is_unit(after):
        return None
    value = _value(match)
    bullet = re.fullmatch(r"[-+] +", match["sign"] or "") and re.search(r"[^\W\d_]", after)
    return value and (abs(value) if bullet else value) * 10**power


def _value(match: re.Match) -> Fraction | None:
    part = match.groupdict()
    if part["whole"]:
        numerator, denominator = int(part["part"]), int(part["parts"])
        if not 0 < numerator < denominator or len(part["part"]) == 3:
            return None
        value = int(part["whole"]) + Fraction(numerator, denominator)
    elif part["numerator"]:
        denominator = _decimal(part["denominator"])
        if not denominator:
            return None
        value = _decimal(part["numerator"]) / denominator
    elif part["power"]:
        value = _decimal(part["factor"] or "1") * Fraction(10) ** int(part["power"])
    else:
        value = _decimal(part["decimal"]) * Fraction(10) ** int(part["exponent"] or 0)
    return -value if part["sign"] and "-" in part["sign"] else value


def _decimal(text: str) -> Fraction:
    if re.fullmatch(_EUROPEAN, text):
        text = text.replace(".", "").replace(",", ".")
    return Fraction(text.replace(",", "").replace(" ", ""))


def find_number(text: str) -> tuple[str, Fraction | None]:
    r"""The number that the response of a completion ends in, as it stands there and as a value.

    It follows the last `####`, box or "the answer is"; without these it is the last number, or
    the first after the last `=` of the last line. A number that is joined to another one ("72 or 73",
    "5 - 6") or denied ("not 72") is none.
    """
    return _stated_last(parts(text).response)


def _stated_last(text: str) -> tuple[str, Fraction | None]:
    text = text.rstrip()
    statement = stated(text)
    if statement:
        said, alone = statement
        value = parse_number(said)
        if alone or value is not None:
            return said, value
        first = _first(_EQUALS.split(said[:MAX_CHARACTERS])[-1])
        if first:
            return first
    *left, right = _EQUALS.split(text[-TAIL:].rpartition("\n")[2])
    first = _first(right) if left else None
    if first:
        return first
    last = _lone(text[-TAIL:], -1)
    return last[:2] if last else ("", None)


def _first(text: str) -> tuple[str, Fraction | None] | None:
    """The first number in a text where no other one belongs to it; its value is None where it is tied."""
    first = _lone(text, 0)
    if first is None or _CORRECTS.match(first[2]):
        return None
    return first[:2] if first[1] is None or _STOPS.match(first[2]) else None


def _lone(text: str, place: int) -> tuple[str, Fraction | None, str] | None:
    """The first (0) or last (-1) number in a text and what follows it; its value is None where it is
    joined to another one, denied, or part of something else. None where there is no number."""
    read = plain(text, whole=False)
    found = list(_NUMBER.finditer(read)) if read else []
    if not found:
        return None
    match = found[place]
    after = read[match.end() :]
    power, unit = units.scale(after)
    before, rest = sentence_around(read[: match.start()], unit)
    none = (
        joined(before, rest)
        or units.denied(before, rest)
        or _COMMAND_BEFORE.search(before)
        or not units.is_unit(re.match(r"\S*", unit)[0])
        or (place == -1 and re.search("[0-9]", after))
    )
    value = None if none else _value(match)
    return match[0].strip(), value and value * 10**power, unit


def verify_number(completion: str, example: Example) -> Verdict:
    """Judges a completion whose answer is a number; field `answer` holds the gold.

    Without an answer element, or with one that holds no single number, the number that the response
    states last is judged, for `flexible` only.
    """
    gold = parse_number(str(example.fields["answer"]))
    if gold is None:
        reason = f"the gold answer {shown(str(example.fields['answer']))!r} is no number"
        return Verdict(False, False, False, "", reason, ERROR)
    tagged = read_tags(completion)
    if tagged.answer is None:
        answer, value = _stated_last(tagged.response)
        status = UNREADABLE if answer and value is None else ""
        found = f"{shown(str(value))} {'is right' if value == gold else f'is not {shown(str(gold))}'}"
        reason = f"{tagged.missing}; {'no single number elsewhere' if value is None else f'elsewhere {found}'}"
        return Verdict(False, value == gold, False, shown(answer), reason, status)
    answer = shown(tagged.answer)
    value = parse_number(tagged.answer)
    if value is None:
        one_line = "\n" not in tagged.answer and not stated(tagged.answer)
        first = _first(tagged.answer[:MAX_CHARACTERS]) if one_line else None
        flexible = (first or _stated_last(tagged.answer))[1] == gold
        status = "" if flexible else UNREADABLE
        reason = "no single number in <answer>"
        return Verdict(False, flexible, tagged.well_formed, answer, reason, status, tagged.answers)
    right = value == gold
    strict = right and tagged.well_formed
    reason = f"{shown(str(value))} is not {shown(str(gold))}"
    if right:
        reason = "" if strict else NOT_ALONE
    return Verdict(strict, right, tagged.well_formed, answer, reason, answers=tagged.answers)
