"""The little LaTeX that models write around an answer: boxes, fractions, text."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mbox|operatorname|emph)\s*\{([^{}]*)\}")


def last_box(text: str) -> str | None:
    r"""What stands in the last `\boxed{…}`, in the innermost where they are nested; None without one."""
    start = None
    for match in _BOX.finditer(text):
        start = match.end()
    if start is None:
        return None
    depth = 1
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return None


def outside_boxes(text: str) -> int:
    """Number of boxes that do not stand within another one."""
    found, end = 0, -1
    for match in _BOX.finditer(text):
        if match.start() >= end:
            found += 1
            depth, end = 1, match.end()
            while end < len(text) and depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
    return found


def replace_fractions(text: str, template: str) -> str:
    r"""`\frac{a}{b}` in `template`, which holds `{0}` and `{1}`; innermost first.

    A part in which a parenthesis has no partner is left as it stands: it would close one outside.
    """

    def replacement(match: re.Match) -> str:
        parts = match[1] or match[2] or "", match[3] or match[4] or ""
        return template.format(*parts) if all(map(_balanced, parts)) else match[0]

    before = None
    while "frac" in text and text != before:
        before, text = text, _FRACTION.sub(replacement, text)
    return text


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0


def replace_text(text: str) -> str:
    r"""`\text{…}` and its kin by what they hold, set apart by spaces."""
    while True:
        text, count = _TEXT.subn(r" \1 ", text)
        if not count:
            return text
