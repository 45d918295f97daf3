"""Rewrites the notations of people, LaTeX, Markdown and Unicode into plain ASCII arithmetic."""

from __future__ import annotations

import re

from rlvr_plugins.verifiers import latex

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_FRACTIONS = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8",
}  # fmt: skip
_TRANSLATION = str.maketrans(
    {
        **_FULL_WIDTH,
        **dict.fromkeys("−–‐‑‒﹣", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t\r~", " "),
        **{sign: f" {fraction}" for sign, fraction in _FRACTIONS.items()},
        "￥": "¥",
        "￡": "£",
        "￦": "₩",
        **dict.fromkeys("✅✓✔☑•∴★", " "),
        "⁄": "/",
        "∕": "/",
        "⋅": "·",
        "∗": "*",
        "µ": "μ",
        "≈": "=",
        "→": "=",
        "⇒": "=",
    }
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_COMPARISON = re.compile(r"[<>≠≤≥]|!=")
_CURRENCY = "$€£¥₹₩₽₺₫฿₦₱₪¢"
_CURRENCY_BEFORE = re.compile(rf"([-+]?)(?:\b(?:US|A|C|NZ|HK|S)(?=\$))?[{_CURRENCY}]\s*([-+]?)(?=[0-9.])")
_CURRENCY_AFTER = re.compile(rf"[{_CURRENCY}]")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3}|`{1,3})(?=[^\s*_`])([^*_`]*[^\s*_`])\1(?![\w*])")
_NEGATIVE = re.compile(r"\b(?:minus|negative) +(?=[0-9.])", re.IGNORECASE)
_DEGREES = re.compile(r"\^?\s*\\circ|\\degree")
_LATEX = (
    (re.compile(r"\\!"), ""),
    (re.compile(r"\\(?:[,;: ]|quad|qquad|left|right|displaystyle|[()\[\]])"), " "),
    (re.compile(r"\\([$%{}#&_])"), r"\1"),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "×"),
    (re.compile(r"\\(?:approx|Rightarrow|implies|to|rightarrow)(?![A-Za-z])"), "="),
    (re.compile(r"\\(?:therefore|sim|bf|it|rm|tiny|small|normalsize|[lL]arge|LARGE|[hH]uge)(?![A-Za-z{])"), " "),
    (re.compile(r"\\(?:begin|end)\s*\{[a-z]{1,12}\*?\}"), " "),
    (re.compile(r"\\\\\s*\Z"), " "),
)
_ORDINAL = re.compile(r"(?<=[0-9])\^\s*\{?\s*(?:\\text\s*\{\s*)?(st|nd|rd|th)\b\s*\}{0,2}")
_TAG = re.compile(r"</?(?:b|i|u|em|strong|code|span|p|br)\s*/?>", re.IGNORECASE)
_BARE_BOX = re.compile(rf"{latex.BOX}(?!\s*\{{)")
_LOOSE = re.compile(rf"\*{{2,}}|`|{latex.BOX}\s*\{{?(?![^{{}}]*\}})|^[ ]*>[ ]?", re.MULTILINE)
_ELEMENT = re.compile(r"</?[A-Za-z]{1,20}>")
_FENCE = re.compile(r"```\w*\n(.*)\n```", re.DOTALL)
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"

FRACTION = " {0}/{1} "


def plain(text: str, whole: bool = True) -> str | None:
    """The text with signs, spaces, fractions, powers, currency and emphasis written one way.

    `=` stands for every sign of equality. None where the text can't be read: control characters,
    surrogates, an inequality, struck out. With `whole=False` the text is a piece of prose: tags and
    single marks of emphasis and quotation go, inequalities stay.
    """
    if _UNREADABLE.search(text) or (whole and "~~" in text):
        return None
    text = text.strip(_INVISIBLE)
    if "<" in text:
        text = _TAG.sub(" ", text)
    fence = _FENCE.fullmatch(text)
    text = fence[1] if fence else text
    text = text.translate(_TRANSLATION).replace("{,}", ",")
    text = _ORDINAL.sub(r"\1", text)
    text = re.sub(r"\^\{\s*([^{}]*?)\s*\}", r"^\1", text)
    text = _SUPERSCRIPT.sub(lambda match: f"^{match[0].translate(_SUPERSCRIPTS)}", text)
    text = _EMPHASIS.sub(r" \2 ", _EMPHASIS.sub(r" \2 ", text))
    if not whole:
        text = _LOOSE.sub(" ", _ELEMENT.sub("\n", text))
    if "\\" in text:
        text = _DEGREES.sub("°", text)
        text = latex.replace_text(latex.replace_fractions(text, FRACTION))
        text = latex.replace_fractions(text, FRACTION)
        text = _BARE_BOX.sub(" ", text)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = text.replace("=>", "=").replace("->", "=")
    if whole and _COMPARISON.search(text):
        return None
    text = _CURRENCY_BEFORE.sub(r"  \1\2", text)
    text = _CURRENCY_AFTER.sub("  ", text)
    text = _NEGATIVE.sub("-", text)
    text = re.sub(r"(?<=[^\W\d_]) +\^(?=[-0-9])", "^", text)
    return "\n".join(line.strip() for line in text.split("\n")).strip()
