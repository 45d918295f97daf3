"""Reads the one number that a text states, exactly, and judges it against a gold answer."""

from __future__ import annotations

import re
from fractions import Fraction

from rlvr_plugins.types import ERROR, UNREADABLE, Example, Verdict
from rlvr_plugins.verifiers.extraction import stated
from rlvr_plugins.verifiers.notation import plain
from rlvr_plugins.verifiers.tags import read_tags, shown

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
      | (?:(?P<factor>{_DECIMAL})\ *[×*x]\ *)?10\ *\^\ *(?P<power>[-+]?[0-9]{{1,3}})
      | (?P<decimal>{_DECIMAL})(?:[eE](?P<exponent>[-+]?[0-9]{{1,3}}))?
    )
    (?![0-9])
    """,
    re.VERBOSE,
)
_PLAIN = re.compile(r"\s*(-?)\$?([0-9]{1,18}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,5})\.?\s*")
_SCALES = {"k": 3, "hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = re.compile(r"(?:[kK](?![^\W_])|\ ?(?:hundred|thousand|million|billion|trillion)\b)", re.IGNORECASE)
_GLUED = re.compile(r"[^\W\d_]+")
_ONE_LETTER_UNITS = frozenset("gmshdwlLCFKJWVAtcp")
_BEFORE = re.compile(r"(?:[^\W\d_]|(?<=[^\W\d_])-(?=[^\W\d_])|[\s.,;:!'\"‘’“”()\[\]{}#~&>])*")
_AFTER = re.compile(
    r"""(?:[^\W\d_]|[-/·][ ]?(?=[^\W\d_])|(?<=[^\W\d_])\^-?[0-9](?![0-9])
    |[.,;:!?](?![^\W_])|(?<=[^\W\d_])\.|[\s'"‘’“”()\[\]{}°%‰&])*""",
    re.VERBOSE,
)
_OTHER_BASE = re.compile(r"[xXoObB]")
_NO_UNIT = re.compile(
    r"(?<![^\W_])(?:x|y|z|n|i|e|pi|or|nor|not|neither|sqrt|log|plus|minus|half|hundred|thousand|[mbtr]illion)(?![^\W_])"
    r"|n['’]t\b|\band (?:a|an|one|two|three)\b|[\u0370-\u039c\u039e-\u03a8\u03aa-\u03bb\u03bd-\u03ff]"
)
_NEGATION = re.compile(r"\b(?:or|nor|not|neither)\b|n['’]t\b", re.IGNORECASE)
_SEPARATED = re.compile(r"[0-9][^=]*(?:[;\n]|,\s|\b(?:and|or)\b)")
_JOINED_BEFORE = re.compile(
    r"(?:[0-9][\w%°.)]*|\))\s*(?:[-+*/×^:;,|±]|\b(?:or|and|to|vs\.?|versus)\b)?\s*[(]?$"
    r"|[0-9][^\n.;=]{0,30}\b(?:or|and|to)\s+$"
)
_JOINED_AFTER = re.compile(r"\s*(?:[^\W\d_]+\s+)?(?:[-+*/×^:;,|±]|\b(?:or|and|to|vs\.?|versus)\b)\s*[(]?[-+]?[0-9]")


def parse_number(text: str) -> Fraction | None:
    r"""The one number that `text` states, exactly; None where there is none or more than one.

    Understands signs, decimals, currency, thousands separators, units, per cent (as a unit),
    ordinals, fractions and mixed numbers, powers of ten, scale words, the right side of an
    equation, LaTeX, Markdown emphasis and full-width digits. Sums and products are no number, nor
    is a text of more than 200 characters.
    """
    quick = _PLAIN.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if quick:
        return Fraction(int(quick[1] + quick[2].replace(",", "")))
    if len(text) > MAX_CHARACTERS:
        return None
    read = plain(text.strip())
    if read is None:
        return None
    *left, right = read.split("=")
    if any(_SEPARATED.search(part) for part in left):
        return None
    right = right.strip()
    found = list(_NUMBER.finditer(right))
    if len(found) != 1:
        return None
    return _read(found[0], right)


def _read(match: re.Match, text: str) -> Fraction | None:
    """The value of a match and its scale word; None where what stands around it is no unit or label."""
    before, after = text[: match.start()], text[match.end() :]
    value = _value(match)
    scale = _SCALE.match(after)
    if scale:
        after = after[scale.end() :]
        value = value and value * 10 ** _SCALES[scale[0].strip().lower()]
    elif not _is_unit(_GLUED.match(after)):
        return None
    if match[0] == "0" and _OTHER_BASE.match(after):
        return None
    if not _BEFORE.fullmatch(before) or _NEGATION.search(before):
        return None
    if not _AFTER.fullmatch(after) or _NO_UNIT.search(after):
        return None
    return value


def _is_unit(glued: re.Match | None) -> bool:
    return glued is None or len(glued[0]) > 1 or glued[0] in _ONE_LETTER_UNITS or not glued[0].isascii()


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
    r"""The number a text ends in, as it stands there and as a value.

    It follows the last `####`, `\boxed{` or "the answer is"; without these it is the last number. A
    number that is joined to another one ("72 or 73", "5 - 6") is none.
    """
    statement = stated(text)
    if statement:
        said, alone = statement
        value = parse_number(said)
        if alone or value is not None:
            return said, value
        first = _lone(said[:MAX_CHARACTERS], last=False)
        if first[1] is not None:
            return first
    return _lone(text[-TAIL:], last=True)


def _lone(text: str, last: bool) -> tuple[str, Fraction | None]:
    """The first or the last number in a text, unless it is joined to another one."""
    read = plain(text, whole=False)
    found = list(_NUMBER.finditer(read)) if read else []
    if not found:
        return "", None
    match = found[-1 if last else 0]
    before, after = read[: match.start()], read[match.end() :]
    joined = _JOINED_BEFORE.search(before[-60:]) or _JOINED_AFTER.match(after[:60])
    glued = re.match(r"\S*", after)[0]
    broken = not _AFTER.fullmatch(glued) or not _is_unit(_GLUED.match(glued)) or (last and re.search("[0-9]", after))
    return match[0].strip(), None if joined or broken else _value(match)


def verify_number(completion: str, example: Example) -> Verdict:
    """Judges a completion whose answer is a number; field `answer` holds the gold.

    Without an answer element, or with one that holds no single number, the number that the text
    states last is judged, for `flexible` only.
    """
    gold = parse_number(str(example.fields["answer"]))
    if gold is None:
        reason = f"the gold answer {shown(str(example.fields['answer']))!r} is no number"
        return Verdict(False, False, False, "", reason, ERROR)
    tagged = read_tags(completion)
    if tagged.answer is None:
        answer, value = find_number(completion)
        status = UNREADABLE if answer and value is None else ""
        return Verdict(False, value == gold, False, shown(answer), "no <answer>", status)
    answer = shown(tagged.answer)
    value = parse_number(tagged.answer)
    if value is None:
        flexible = find_number(tagged.answer)[1] == gold
        status = "" if flexible else UNREADABLE
        reason = "no single number in <answer>"
        return Verdict(False, flexible, tagged.well_formed, answer, reason, status, tagged.answers)
    right = value == gold
    strict = right and tagged.well_formed
    reason = f"{shown(str(value))} is not {shown(str(gold))}"
    if right:
        reason = "" if strict else "the answer is right, but not alone in <reasoning>…</reasoning><answer>…</answer>"
    return Verdict(strict, right, tagged.well_formed, answer, reason, answers=tagged.answers)
