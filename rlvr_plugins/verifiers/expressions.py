"""Judges an arithmetic expression that must use given numbers once each and reach a target.

The text is parsed, never evaluated as code: integers, + - * / and parentheses, exact fractions.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from rlvr_plugins.types import UNREADABLE, Example, Verdict
from rlvr_plugins.verifiers import latex
from rlvr_plugins.verifiers.extraction import stated
from rlvr_plugins.verifiers.tags import NOT_ALONE, read_tags, shown

OPERATORS = "+-*/"
MAX_CHARACTERS = 200
MAX_DEPTH = 30
TAIL = 1_000
_RULE = "only integers, + - * / and parentheses are allowed"
_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∕": "/", "−": "-", "–": "-"})
_COMMANDS = (
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:left|right) ?(?=[()])|\\[,;!: ]"), " "),
)
_SPACES = re.compile("[ \t\r\n\u00a0\u2009\u202f]+")
_WRAPPERS = (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"), ("`", "`"), ("**", "**"))
_OPEN_BOX = re.compile(latex.OPEN_BOX)
_ALLOWED = re.compile(r"[0-9+\-*/() ]+")
_RUN = re.compile(r"[0-9(][0-9+\-*/() ]*+(?:= ?[0-9]+(?![0-9]| ?[-+*/]))?")
_EMPHASIS = re.compile(r"(?<![\w)*])\*\*(?=[^\s*])(.{0,300}?[^\s*])\*\*(?![\w(*])")
_MARKUP = re.compile(r"[$`]|</?[a-z]{1,20}>|^ *> ?")
_TIED_BEFORE = re.compile(
    r"[\w.\])}]$|[-+*/^×÷<>≠!\[{\\]\s*$|[0-9)]\s*[-+*/][^=]*=\s*$|[=<>!]=\s*$|[0-9].*(?:[,;|]|\b(?:or|and|nor)\b)\s*$"
    r"|(?:\b(?:not|never|not true that|can(?:no|['’])t (?:get|be|use))|n['’]t)\s*$"
)
_BULLET = re.compile(r"\s*[-+*]\s+$")
_TIED_AFTER = re.compile(r"\s*(?:[=^%\[{<>≠]|!=)|\.[0-9]|\w|\s*(?:or\b|is(?:\s+not|n['’]t)\b|is (?:wrong|incorrect))")
_OPERATORS = {
    ast.Add: ("+", lambda a, b: a + b),
    ast.Sub: ("-", lambda a, b: a - b),
    ast.Mult: ("*", lambda a, b: a * b),
    ast.Div: ("/", lambda a, b: a / b),
}
_REFUSED = {ast.Pow: "a power", ast.FloorDiv: "//", ast.UnaryOp: "a sign before a term", ast.Call: "a missing operator"}


class Refused(ValueError):
    """The text is no expression of the allowed kind; the message says why."""


def read_answer(text: str, target: int, operators: str = OPERATORS) -> tuple[Fraction, list[int]]:
    """The value of an expression, which may end in `= target`, and the numbers it uses, in their order.

    Raises Refused for anything but integers, the allowed operators and parentheses.
    """
    left, equals, right = _plain(text).partition("=")
    if not equals:
        return _parse(left, operators)
    if _unwrap(right.strip()) != str(target):
        raise Refused("what follows = is not the target")
    return _parse(_unwrap(left.strip()), operators)


def judge(text: str, numbers: Sequence[int], target: int, operators: str = OPERATORS) -> str:
    """Returns "" when `text` uses each of `numbers` once and equals `target`, else the reason."""
    try:
        return _compare(*read_answer(text, target, operators), numbers, target)
    except Refused as refusal:
        return str(refusal)


def _compare(value: Fraction, used: list[int], numbers: Sequence[int], target: int) -> str:
    if sorted(used) != sorted(numbers):
        missing, extra = Counter(numbers) - Counter(used), Counter(used) - Counter(numbers)
        parts = [f"{verb} {sorted(found.elements())}" for verb, found in (("adds", extra), ("lacks", missing)) if found]
        return f"uses {sorted(used)}, not {sorted(numbers)}: {' and '.join(parts)}"
    if value != target:
        return f"equals {value}, not {target}"
    return ""


def _plain(text: str) -> str:
    """The text without what may stand around an expression, operators as Python writes them."""
    if len(text) > MAX_CHARACTERS:
        raise Refused(f"longer than {MAX_CHARACTERS} characters")
    text = _unwrap(_SPACES.sub(" ", text).strip())
    return _signs(text).strip()


def _signs(text: str) -> str:
    """The text with its operators as Python writes them."""
    if "\\" in text:
        text = latex.replace_fractions(text, "(({0})/({1}))")
        for pattern, sign in _COMMANDS:
            text = pattern.sub(sign, text)
    return text.translate(_SIGNS)


def _unwrap(text: str) -> str:
    text = text.removesuffix(".").strip()
    box = _OPEN_BOX.match(text)
    wrappers = ((box[0], "}"), *_WRAPPERS) if box else _WRAPPERS
    for opening, closing in wrappers:
        inner = text[len(opening) : len(text) - len(closing)]
        if text.startswith(opening) and text.endswith(closing) and len(inner) > 0 and opening not in inner:
            return _unwrap(inner.strip())
    return text


def _parse(text: str, operators: str) -> tuple[Fraction, list[int]]:
    if not text:
        raise Refused("empty")
    if not _ALLOWED.fullmatch(text):
        raise Refused(_RULE)
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise Refused(f"more than {MAX_DEPTH} parentheses deep")
    if re.search(r"(?<![0-9])0[0-9]", text):
        raise Refused("a number with a leading zero")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused("no arithmetic expression") from None
    used: list[int] = []
    return _value(tree.body, used, operators), used


def _value(node: ast.expr, used: list[int], operators: str) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        sign, apply = _OPERATORS[type(node.op)]
        if sign not in operators:
            raise Refused(f"{sign} is not among the operators {operators}")
        left, right = _value(node.left, used, operators), _value(node.right, used, operators)
        if sign == "/" and right == 0:
            raise Refused("division by zero")
        return apply(left, right)
    kind = type(node.op) if isinstance(node, ast.BinOp) else type(node)
    found = _REFUSED.get(kind)
    raise Refused(f"{found}: {_RULE}" if found else _RULE)


def verify_countdown(completion: str, example: Example) -> Verdict:
    """Judges a Countdown completion; fields `numbers`, `target` and, unless all four, `operators`.

    Without an answer element, or with one that holds no expression, the expression that the response
    states last is judged, for `flexible` only.
    """
    fields = example.fields
    numbers, target, operators = fields["numbers"], fields["target"], fields.get("operators", OPERATORS)
    tagged = read_tags(completion)
    refusal = tagged.missing
    if tagged.answer is not None:
        try:
            value, used = read_answer(tagged.answer, target, operators)
        except Refused as refused:
            refusal = str(refused)
        else:
            reason = _compare(value, used, numbers, target)
            right = not reason
            if right and not tagged.well_formed:
                reason = NOT_ALONE
            return Verdict(
                right and tagged.well_formed,
                right,
                tagged.well_formed,
                shown(tagged.answer),
                reason,
                answers=tagged.answers,
            )
    found = _last_expression(tagged.response if tagged.answer is None else tagged.answer)
    elsewhere = judge(found, numbers, target, operators) if found else "no expression elsewhere"
    flexible = not elsewhere
    if tagged.answer is None:
        reason = f"{refusal}; elsewhere {elsewhere or 'it is right'}" if found else f"{refusal}; {elsewhere}"
        return Verdict(False, flexible, False, shown(found), reason)
    status = "" if flexible else UNREADABLE
    return Verdict(False, flexible, tagged.well_formed, shown(tagged.answer), refusal, status, tagged.answers)


def _last_expression(text: str) -> str:
    r"""The expression after the last `####`, box or "answer is", else the last in the text."""
    statement = stated(text)
    if statement and statement[1]:
        return statement[0]
    tail = _signs(statement[0][:TAIL] if statement and re.search("[0-9]", statement[0]) else text[-TAIL:])
    for line in reversed(tail.splitlines()):
        line = _EMPHASIS.sub(r" \1 ", _MARKUP.sub(" ", line))
        runs = [run for run in _RUN.finditer(line) if re.search("[+*/-]", run[0])]
        if runs:
            return _untied(runs[-1], line)
    return ""


def _untied(run: re.Match, line: str) -> str:
    """An expression in prose, "" where what stands around it belongs to it: `x*1+2`, `1+2^3`, `1+2 or 3+4`."""
    text = run[0].rstrip(" (")
    before, after = line[: run.start()], line[run.start() + len(text) :]
    tied = _TIED_BEFORE.search(before[-80:]) and not _BULLET.fullmatch(before)
    factorial = after.startswith("!") and "=" not in text
    return "" if tied or factorial or _TIED_AFTER.match(after) else text
