"""Countdown: reach a target with given numbers, each used exactly once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, permutations, product
from math import comb
from typing import Any

from rlvr_plugins import Example, Task, hookimpl
from rlvr_plugins.verifiers.expressions import OPERATORS, verify_countdown

SYSTEM = (
    "Think step by step between <think> and </think>, "
    "then give only the final expression between <answer> and </answer>."
)
ENUMERABLE = 20_000


@dataclass(frozen=True)
class Options:
    """counts: how many numbers an item may have.
    low, high: range of the numbers, both included.
    operators: those allowed, out of + - * /.
    target_low, target_high: range of the target, both included.
    terse: share of demonstrations that give an answer at once, its numbers in any order; the others
        first sort the numbers.
    """

    counts: tuple[int, ...] = (3,)
    low: int = 1
    high: int = 20
    operators: str = "+-"
    target_low: int = 1
    target_high: int = 60
    terse: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts or not all(2 <= size <= 6 for size in self.counts):
            raise ValueError("counts must be one or more of 2, 3, 4, 5, 6")
        if not 1 <= self.low <= self.high <= 999:
            raise ValueError("low and high must satisfy 1 <= low <= high <= 999")
        if not self.operators or not set(self.operators) <= set("+-*/"):
            raise ValueError("operators must be one or more of + - * /")
        if not 1 <= self.target_low <= self.target_high:
            raise ValueError("targets must satisfy 1 <= target_low <= target_high")
        if not 0 <= self.terse <= 1:
            raise ValueError("terse must be from 0 to 1")

    @property
    def multisets(self) -> int:
        width = self.high - self.low + 1
        return sum(comb(width + size - 1, size) for size in self.counts)


@dataclass(frozen=True)
class Solution:
    """An expression and its value; `rank` binds tighter when higher."""

    value: int
    expression: str
    rank: int = 3


def _combine(left: Solution, right: Solution, operator: str) -> Solution | None:
    """`left operator right`, None where that is no integer."""
    if operator == "/" and (right.value == 0 or left.value % right.value):
        return None
    value = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}[operator](
        left.value, right.value
    )
    rank = 1 if operator in "+-" else 2
    first = left.expression if left.rank >= rank else f"({left.expression})"
    second = right.expression if right.rank > rank else f"({right.expression})"
    return Solution(value, f"{first} {operator} {second}", rank)


def _solutions(parts: Sequence[Solution], operators: str) -> Iterator[Solution]:
    """All ways to combine the parts through positive integers."""
    if len(parts) == 1:
        yield parts[0]
        return
    for i, j in permutations(range(len(parts)), 2):
        rest = [part for k, part in enumerate(parts) if k not in (i, j)]
        for operator in operators:
            if operator in "+*" and j < i:
                continue
            combined = _combine(parts[i], parts[j], operator)
            if combined and combined.value > 0:
                yield from _solutions([combined, *rest], operators)


def _chain(parts: Sequence[Solution], operators: Sequence[str], positive: bool) -> Solution | None:
    """The parts combined from left to right."""
    total = parts[0]
    for part, operator in zip(parts[1:], operators, strict=True):
        total = _combine(total, part, operator)
        if total is None or (positive and total.value <= 0):
            return None
    return total


def solve(numbers: Sequence[int], target: int, operators: str) -> Solution | None:
    """A solution, in the order of `numbers` and from left to right where there is one, or None."""
    parts = [Solution(number, str(number)) for number in numbers]
    for order in permutations(parts):
        for chosen in product(operators, repeat=len(parts) - 1):
            solution = _chain(order, chosen, positive=order != tuple(parts))
            if solution and solution.value == target:
                return solution
    return next((s for s in _solutions(parts, operators) if s.value == target), None)


Item = tuple[tuple[int, ...], int]


def _all_items(options: Options) -> list[Item]:
    """Every (sorted numbers, target) there is."""
    pool = range(options.low, options.high + 1)
    items = set()
    for size in options.counts:
        for numbers in combinations_with_replacement(pool, size):
            parts = [Solution(number, str(number)) for number in numbers]
            for solution in _solutions(parts, options.operators):
                if options.target_low <= solution.value <= options.target_high:
                    items.add((numbers, solution.value))
    return sorted(items)


def _random_items(options: Options, rng: random.Random) -> Iterator[Item]:
    """Distinct items without end, for spaces too large to list; raises when none turns up."""
    seen: set[Item] = set()
    misses = 0
    while misses < 100_000:
        size = rng.choice(options.counts)
        parts = [Solution(n, str(n)) for n in (rng.randint(options.low, options.high) for _ in range(size))]
        numbers = tuple(sorted(part.value for part in parts))
        while len(parts) > 1:
            left, right = rng.sample(parts, 2)
            combined = _combine(left, right, rng.choice(options.operators))
            if not combined or combined.value <= 0:
                break
            parts = [part for part in parts if part is not left and part is not right] + [combined]
        item = (numbers, parts[0].value)
        reached = len(parts) == 1 and options.target_low <= item[1] <= options.target_high
        if not reached or item in seen:
            misses += 1
            continue
        misses = 0
        seen.add(item)
        yield item
    raise ValueError(f"countdown: after {len(seen)} items no new one was found in 100,000 tries")


def check(options: Options, train: int | None, eval: int | None) -> None:
    """Raises ValueError when there are not enough distinct items."""
    if train is None or eval is None:
        raise ValueError("train, sft and eval must be numbers: the items are generated")
    enumerable = options.multisets <= ENUMERABLE
    there_are = len(_all_items(options)) if enumerable else options.multisets // 2
    needed = eval + 1 if enumerable else eval + train
    if there_are < needed:
        raise ValueError(
            f"eval: {eval} items asked for, but these options make {there_are} distinct ones and "
            "training needs some; lower eval or widen low, high, counts or the targets"
        )


def splits(options: Options, train: int, eval: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Reach a target with 3 to 6 numbers, each used once; own generator."""
    rng = random.Random(f"countdown {seed}")
    if options.multisets <= ENUMERABLE:
        pool = _all_items(options)
        rng.shuffle(pool)
        held_out, rest = pool[:eval], pool[eval:]
    else:
        items = _random_items(options, rng)
        held_out = [next(items) for _ in range(eval)]
        rest = [next(items) for _ in range(train)]
    rows = [_example(item, options, rng) for item in held_out]
    training = [_example(rest[i % len(rest)], options, rng, options.terse) for i in range(train)]
    return training, rows


def _example(item: Item, options: Options, rng: random.Random, terse: float = 0.0) -> Example:
    numbers, target = item
    key = f"{','.join(map(str, numbers))}={target}"
    fields = {"numbers": rng.sample(numbers, len(numbers)), "target": target, "operators": options.operators}
    return Example(key, {**fields, "terse": rng.sample(numbers, len(numbers))} if rng.random() < terse else fields)


def user(example: Example) -> str:
    fields = example.fields
    numbers = ", ".join(map(str, fields["numbers"]))
    *first, last = fields["operators"]
    operators = f"{', '.join(first)} and {last}" if first else last
    return f"Use each of the numbers {numbers} exactly once with {operators} to make {fields['target']}."


def demonstrate(example: Example) -> str:
    """The numbers in descending order and the equation; nothing but the answer where it is terse."""
    fields = example.fields
    terse = fields.get("terse")
    numbers = terse or sorted(fields["numbers"], reverse=True)
    expression = solve(numbers, fields["target"], fields["operators"]).expression
    thought = "" if terse else f"{', '.join(map(str, numbers))}\n{expression} = {fields['target']}\n"
    return f"<think>\n{thought}</think>\n<answer>{expression}</answer>"


def read(row: dict[str, Any]) -> Example:
    """A row needs `numbers` and `target`; without `operators` all four are allowed."""
    for key in ("numbers", "target"):
        if key not in row:
            raise ValueError(f"{key}: is missing; allowed: numbers (a list of integers) and target (an integer)")
    numbers, target, operators = row.get("numbers"), row.get("target"), row.get("operators", OPERATORS)
    if not isinstance(numbers, list) or not numbers or not all(type(number) is int for number in numbers):
        raise ValueError(f"numbers: {numbers!r} is not possible; allowed: a list of integers")
    if type(target) is not int:
        raise ValueError(f"target: {target!r} is not possible; allowed: an integer")
    if not isinstance(operators, str) or not operators or not set(operators) <= set(OPERATORS):
        raise ValueError(f"operators: {operators!r} is not possible; allowed: some of {OPERATORS}")
    key = f"{','.join(map(str, sorted(numbers)))}={target}"
    return Example(key, {"numbers": numbers, "target": target, "operators": operators})


@hookimpl
def rlvr_tasks():
    yield Task(
        "countdown",
        options=Options,
        splits=splits,
        check=check,
        system=SYSTEM,
        user=user,
        verify=verify_countdown,
        demonstrate=demonstrate,
        read=read,
    )
