"""The little LaTeX that models write around an answer: boxes, fractions, text."""

from __future__ import annotations

import re

_BOX_OPTIONS = r"(?:\s*\[[^\[\]{}]{0,60}\]){0,2}"
BOX = (
    rf"\\(?:(?:A?boxed|[fb]box|framebox|doublebox|[oO]valbox|shadowbox|tcboxmath)(?![A-Za-z]){_BOX_OPTIONS}"
    r"|f?colorbox(?:\s*\{[\w!.]{1,30}\}){1,2}(?=\s*\{))"
)
"""A command that frames the answer, up to what it frames: of LaTeX, amsmath, mathtools, fancybox, MathJax, xcolor."""
OPEN_BOX = rf"{BOX}\s*\{{"
_BRACES = re.compile(rf"{OPEN_BOX}|\\?[{{}}]")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_STYLES = r"underline|boldsymbol|bold|emph|mbox|operatorname|text(?:bf|it|rm|sf|tt)?|math(?:bf|it|rm|sf|tt)"
_TEXT = re.compile(rf"(?:{BOX}|\\(?:{_STYLES}))\s*\{{([^{{}}]*)\}}")


def last_box(text: str) -> str | None:
    r"""What stands in the closed box that opens last, so in the innermost one; None without one."""
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
    r"""`\text{…}`, boxes and their kin by what they hold, set apart by spaces."""
    while True:
        text, count = _TEXT.subn(r" \1 ", text)
        if not count:
            return text
