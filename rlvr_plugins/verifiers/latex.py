"""The little LaTeX that models write around an answer: boxes, fractions, text."""

from __future__ import annotations

import re

_BRACES = re.compile(r"\\boxed\s*\{|\\?[{}]")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_TEXT = re.compile(
    r"\\(?:boxed|fbox|framebox|underline|boldsymbol|bold|emph|mbox|operatorname|text(?:bf|it|rm|sf|tt)?|math(?:bf|it|rm|sf|tt))"
    r"\s*\{([^{}]*)\}"
)


def last_box(text: str) -> str | None:
    r"""What stands in the closed `\boxed{…}` that opens last, so in the innermost one; None without one."""
    start, end = max(boxes(text), default=(0, -1))
    return text[start:end] if end >= 0 else None


def boxes(text: str) -> list[tuple[int, int]]:
    r"""Begin and end of what each closed box holds; `\{` and `\}` are text."""
    opened: list[int | None] = []
    found = []
    for brace in _BRACES.finditer(text):
        if brace[0] == "}":
            start = opened.pop() if opened else None
            if start is not None:
                found.append((start, brace.start()))
        elif brace[0] == "{":
            opened.append(None)
        elif len(brace[0]) > 2:
            opened.append(brace.end())
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
    r"""`\text{…}`, `\boxed{…}` and their kin by what they hold, set apart by spaces."""
    while True:
        text, count = _TEXT.subn(r" \1 ", text)
        if not count:
            return text
