"""Whether numbers can reach a target, and how: a complete search in exact fractions, fast for up to 6 numbers.

The target is taken apart from both ends: where the last step joins a small group of the numbers with the
rest, the rest must reach what the step leaves, so that only groups of up to half of the numbers are listed in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from math import gcd

LISTED = 2
LISTED_FOR_MANY = 3
MANY = 10

Value = tuple[int, int]
Goal = tuple[str, "Goal | None"]
"""What is still to be built around an expression: `(template, next)`, {} in the template is the expression."""


def reach(numbers: Sequence[int], target: int, operators: str) -> str | None:
    """An expression of all the numbers, each used once, that is exactly `target`; None where there is none.

    operators: those allowed, out of + - * /. Steps may pass through fractions and negative numbers.
    """
    found = _reach(tuple(sorted(numbers)), {(target, 1): None}, operators)
    if found is None:
        return None
    expression, goal = found
    while goal is not None:
        template, goal = goal
        expression = template.format(expression)
    return expression.removeprefix("(").removesuffix(")") if len(numbers) > 1 else expression


def _reach(numbers: tuple[int, ...], goals: dict[Value, Goal | None], operators: str) -> tuple[str, Goal | None] | None:
    """An expression of the numbers that meets one of the goals, and that goal."""
    if len(numbers) <= (LISTED_FOR_MANY if len(goals) > MANY else LISTED):
        listed = _values(numbers, operators)
        value = next((value for value in goals if value in listed), None)
        return None if value is None else (listed[value], goals[value])
    for group, rest in _divisions(numbers):
        further: dict[Value, Goal | None] = {}
        for value, expression in _values(group, operators).items():
            for goal, around in goals.items():
                for left, template in _inverse(goal, value, expression, operators):
                    further.setdefault(left, (template, around))
        found = _reach(rest, further, operators)
        if found:
            return found
    return None


@lru_cache(maxsize=1000)
def _values(numbers: tuple[int, ...], operators: str) -> dict[Value, str]:
    """Every value that a few numbers can make, with an expression for it."""
    if len(numbers) == 1:
        return {(numbers[0], 1): str(numbers[0])}
    made: dict[Value, str] = {}
    for group, rest in _divisions(numbers):
        for first, left in _values(group, operators).items():
            for second, right in _values(rest, operators).items():
                for value, template in _combined(first, second, operators):
                    made.setdefault(value, template.format(left, right))
    return made


def _divisions(numbers: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The ways to take a group of at most half of the numbers, each once, and the rest."""
    found = {}
    for size in range(1, len(numbers) // 2 + 1):
        for places in combinations(range(len(numbers)), size):
            group = tuple(numbers[place] for place in places)
            rest = tuple(number for place, number in enumerate(numbers) if place not in places)
            found[group, rest] = None
    return list(found)


def _combined(a: Value, b: Value, operators: str) -> Iterator[tuple[Value, str]]:
    (p, q), (r, s) = a, b
    for operator in operators:
        if operator == "+":
            yield _reduced(p * s + r * q, q * s), "({} + {})"
        elif operator == "*":
            yield _reduced(p * r, q * s), "({} * {})"
        elif operator == "-":
            yield _reduced(p * s - r * q, q * s), "({} - {})"
            yield _reduced(r * q - p * s, q * s), "({1} - {0})"
        else:
            if r:
                yield _reduced(p * s, q * r), "({} / {})"
            if p:
                yield _reduced(r * q, s * p), "({1} / {0})"


def _inverse(goal: Value, known: Value, text: str, operators: str) -> Iterator[tuple[Value, str]]:
    """What the rest must be, so that one step with the known value gives the goal."""
    (p, q), (r, s) = goal, known
    for operator in operators:
        if operator == "+":
            yield _reduced(p * s - r * q, q * s), f"({{}} + {text})"
        elif operator == "-":
            yield _reduced(p * s + r * q, q * s), f"({{}} - {text})"
            yield _reduced(r * q - p * s, q * s), f"({text} - {{}})"
        elif operator == "*":
            if r:
                yield _reduced(p * s, q * r), f"({{}} * {text})"
        else:
            if r:
                yield _reduced(p * r, q * s), f"({{}} / {text})"
            if r and p:
                yield _reduced(r * q, s * p), f"({text} / {{}})"


def _reduced(numerator: int, denominator: int) -> Value:
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    divisor = gcd(numerator, denominator)
    return numerator // divisor, denominator // divisor
