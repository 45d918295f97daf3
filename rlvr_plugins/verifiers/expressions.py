"""Judges an arithmetic expression that must use given numbers once each and reach a target.

The text is parsed, never evaluated as code: integers, + - * / and parentheses, exact fractions.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from rlvr_plugins.types import Example, Verdict
from rlvr_plugins.verifiers.tags import read_tags

MAX_CHARACTERS = 200
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})
_ALLOWED = re.compile(r"[0-9+\-*/() ]+")


class Refused(ValueError):
    """The text is no expression of the allowed kind; the message says why."""


def judge(text: str, numbers: Sequence[int], target: int, operators: str = "+-*/") -> str:
    """Returns "" when `text` uses each of `numbers` once and equals `target`, else the reason."""
    try:
        value, used = _parse(text, target, operators)
    except Refused as refusal:
        return str(refusal)
    if Counter(used) != Counter(numbers):
        return f"uses {sorted(used)}, not {sorted(numbers)}"
    if value != target:
        return f"equals {value}, not {target}"
    return ""


def _parse(text: str, target: int, operators: str) -> tuple[Fraction, list[int]]:
    if len(text) > MAX_CHARACTERS:
        raise Refused(f"longer than {MAX_CHARACTERS} characters")
    text = text.replace("\\times", "*").replace("\\div", "/").translate(_SIGNS)
    text = " ".join(text.split()).strip("$`. ")
    if text.startswith("**") and text.endswith("**"):
        text = text.strip("* ")
    left, equals, right = text.partition("=")
    if equals and right.strip() != str(target):
        raise Refused("what follows = is not the target")
    left = left.strip()
    if not left:
        raise Refused("empty")
    if not _ALLOWED.fullmatch(left):
        raise Refused("only integers, + - * / and parentheses are allowed")
    try:
        tree = ast.parse(left, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused("no arithmetic expression") from None
    used: list[int] = []
    try:
        return _value(tree.body, used, operators), used
    except RecursionError:
        raise Refused("nested too deeply") from None


_OPERATORS = {
    ast.Add: ("+", lambda a, b: a + b),
    ast.Sub: ("-", lambda a, b: a - b),
    ast.Mult: ("*", lambda a, b: a * b),
    ast.Div: ("/", lambda a, b: a / b),
}


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
    raise Refused("only integers, + - * / and parentheses are allowed")


def verify_countdown(completion: str, example: Example) -> Verdict:
    """Judges a Countdown completion; fields `numbers`, `target`, `operators`."""
    fields = example.fields
    tagged = read_tags(completion, "think")
    arguments = fields["numbers"], fields["target"], fields["operators"]
    if tagged.answer is None:
        lines = completion.strip().splitlines()
        last = lines[-1] if lines else ""
        flexible = not judge(last, *arguments)
        return Verdict(False, flexible, False, last if flexible else "", "no <answer>")
    reason = judge(tagged.answer, *arguments)
    right = not reason
    if right and not tagged.well_formed:
        reason = "not <think>…</think><answer>…</answer>"
    return Verdict(right and tagged.well_formed, right, tagged.well_formed, tagged.answer, reason)
