"""What may stand before and after a number without changing what it says: labels, units, scale words."""

from __future__ import annotations

import re

SCALES = {
    "k": 3,
    "hundred": 2,
    "thousand": 3,
    "lakh": 5,
    "million": 6,
    "mn": 6,
    "mln": 6,
    "crore": 7,
    "billion": 9,
    "bn": 9,
    "trillion": 12,
}
_SCALE = re.compile(
    r"(?:k|\s?(?:hundred|thousand|lakh|million|mn|mln|crore|billion|bn|trillion))(?![^\W_])", re.IGNORECASE
)
_LETTER = r"[^\W\d_]"
_BEFORE = re.compile(rf"""(?:{_LETTER}|(?<={_LETTER})-(?={_LETTER})|[\s.,;:!'"‘’“”()\[\]{{}}#&—])*""")
_AFTER = re.compile(
    rf"""(?:{_LETTER}|[-/·][ ]?(?={_LETTER})|(?<={_LETTER})\^-?[0-9](?![0-9])
    |[.,;:!](?![^\W_])|(?<={_LETTER})\.|[\s'"‘’“”′″()\[\]{{}}°%‰&…。—])*""",
    re.VERBOSE,
)
_NUMBER_WORD = (
    r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundred|thousand|million|billion)"
)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|cannot|neither|nor|or|unlikely|fails|could|might)\b|n['’]t\b)[^,;:.0-9]*$"
    r"|\b(?:wrong|incorrect)\b[^,;.0-9]*$"
    r"|\b(?:than|least|most|over|under|below|above|up to|except|anything but|no|times|multiple of|half of|third of"
    r"|quarter of|twice|double|triple|root of|square of|cube of|log|ln|sin|cos|tan|exp|sqrt)\s*[(\[$]?\s*$"
    rf"|\b{_NUMBER_WORD}\s*(?:,|-|\b(?:and|or|to)\b)?\s*$|(?:√|[<>≠≤≥]|!=)\s*[({{]?\s*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\A[^0-9.]{0,30}?(?:\b(?:is|was)(?:n['’]t| not| never)\b|\b(?:is|seems) (?:wrong|incorrect)\b|\bor\b|\?)"
    r"|\A\s*(?:squared|cubed|factorial|and (?:a|an|one)\b)"
    rf"|\A\s*(?:to|and|or|times|by|base|over|divided by) {_NUMBER_WORD}\b",
    re.IGNORECASE,
)
_NO_UNIT = re.compile(
    r"(?<![^\W_])(?:x|y|z|n|i|e|M|B|pi|nor|incorrect|sqrt|log|plus|minus|half|halves|tenths|hundredths|thousandths"
    r"|hundred|thousand|lakh|crore|[mbtr]illion)(?![^\W_])"
    rf"|\band {_NUMBER_WORD}\b"
    r"|[\u0370-\u039c\u039e-\u03a8\u03aa-\u03bb\u03bd-\u03ff百千万亿億兆]"
)
_GLUED = re.compile(rf"{_LETTER}+")
_ONE_LETTER_UNITS = frozenset("gmshdwlLCFKJWVAtcp")


def scale(after: str) -> tuple[int, str]:
    """The power of ten of a scale word right after a number, and what stands after it."""
    found = _SCALE.match(after)
    return (SCALES[found[0].strip().lower()], after[found.end() :]) if found else (0, after)


def is_label(before: str) -> bool:
    """Whether the text before a number only introduces it."""
    return _BEFORE.fullmatch(before) is not None and not denied(before, "")


def is_unit(after: str) -> bool:
    """Whether the text after a number only says what it counts."""
    return (
        is_glued_unit(after)
        and _AFTER.fullmatch(after) is not None
        and not _NO_UNIT.search(after)
        and not denied("", after)
        and not any(character.isnumeric() and not character.isdecimal() for character in after)
    )


def denied(before: str, after: str) -> bool:
    """Whether what stands around a number denies, bounds or changes it: "not 72", "at least 72", "72 squared"."""
    return bool(_DENIED_BEFORE.search(before) or _DENIED_AFTER.search(after))


def is_glued_unit(after: str) -> bool:
    """Whether letters right after the digits, if any, are a unit: `5kg` and `72nd`, but not `2x`."""
    glued = _GLUED.match(after)
    return glued is None or len(glued[0]) > 1 or glued[0] in _ONE_LETTER_UNITS or not glued[0].isascii()
