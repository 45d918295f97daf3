"""Countdown: reach a target with given numbers, each used exactly once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement, permutations, product
from math import comb
from typing import Any, Literal

from rlvr_plugins import Example, Splits, Task, hookimpl
from rlvr_plugins.tasks import sources
from rlvr_plugins.tasks.columns import chosen as columns_of
from rlvr_plugins.tasks.columns import integers
from rlvr_plugins.tasks.files import RowError
from rlvr_plugins.tasks.reach import reach
from rlvr_plugins.tasks.scalars import whole
from rlvr_plugins.verifiers.expressions import OPERATORS, verify_countdown

SYSTEM = (
    "Think step by step between <think> and </think>, "
    "then give only the final expression between <answer> and </answer>."
)
ENUMERABLE = 20_000
SIZES = range(2, 7)
HIGHEST = 1_000_000_000
REPOSITORY = "Jiayi-Pan/Countdown-Tasks-3to4"
REVISION = "408f70d177020686d34a56bba5952feb45aaaee4"
FILE = "data/train-00000-of-00001.parquet"
COLUMNS = {"numbers": "nums", "target": "target"}
KINDS = {"numbers": sources.INTEGERS, "target": sources.INTEGER, "id": sources.ID}


@dataclass(frozen=True)
class Options(sources.SourceOptions):
    """source: `generator`, `hub` (Jiayi-Pan/Countdown-Tasks-3to4) or `path` (files; without `eval_path` the
        held-out items are drawn from `train_path`).
    counts: how many numbers an item may have.
    low, high: range of the numbers, both included.
    operators: those allowed, out of + - * /; null: `+-` for generated items, else all.
    target_low, target_high: range of the target, both included.
    terse: share of demonstrations that give an answer at once, its numbers in any order; the others
        first sort the numbers.
    counts, low, high, target_low, target_high and terse go with `source: generator` only.
    The task's columns are `numbers` (or `nums`; a list of 2 to 6 integers above 0), `target` (an integer) and, where
        named, `id`.
    """

    source: Literal["generator", "hub", "path"] = "generator"
    repository: str = REPOSITORY
    revision: str = REVISION
    counts: tuple[int, ...] = (3,)
    low: int = 1
    high: int = 20
    operators: str | None = None
    target_low: int = 1
    target_high: int = 60
    terse: float = 0.0

    @property
    def signs(self) -> str:
        """The operators that are allowed."""
        return self.operators or ("+-" if self.source == "generator" else OPERATORS)

    def __post_init__(self) -> None:
        self.check_source(KINDS, required=("train_path",))
        for name in ("counts", "low", "high", "target_low", "target_high", "terse"):
            if self.source != "generator" and getattr(self, name) != getattr(Options, name):
                raise ValueError(f"{name}: goes with source: generator only")
        if not self.counts or not all(2 <= size <= 6 for size in self.counts):
            raise ValueError("counts must be one or more of 2, 3, 4, 5, 6")
        if not 1 <= self.low <= self.high <= 999:
            raise ValueError("low and high must satisfy 1 <= low <= high <= 999")
        if not set(self.signs) <= set(OPERATORS):
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
            for solution in _solutions(parts, options.signs):
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
            combined = _combine(left, right, rng.choice(options.signs))
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
    """Raises ValueError when there are not enough distinct items, a file is not there or a size is missing."""
    if options.source != "generator":
        if eval is None and options.eval_path is None:
            raise ValueError("eval: must be a number, as the held-out items are drawn from the training file")
        options.check_files()
        return
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


def splits(options: Options, train: int | None, eval: int | None, seed: int) -> Splits:
    """Reach a target with 2 to 6 numbers, each used once; from an own generator, the hub or a file."""
    rng = random.Random(f"countdown {seed}")
    if options.source != "generator":
        return _from_rows(options, train, eval, rng)
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
    return Splits(training, rows)


def _from_rows(options: Options, train: int | None, eval: int | None, rng: random.Random) -> Splits:
    path = options.train_path if options.source == "path" else options.hub_file(FILE)
    columns = columns_of(options.columns, COLUMNS, KINDS, COLUMNS)
    make = partial(_item, options.signs)
    if options.eval_path is None:
        return sources.one_file(path, columns, make, gold, options, train, eval, rng)
    named = options.eval_columns or {}
    held_out = {key: columns[key] for key in COLUMNS} | {
        key: column for key, column in columns_of(named, COLUMNS, KINDS, COLUMNS).items() if key in named
    }
    return sources.two_files(
        path, options.eval_path, columns, held_out, make, gold, options, train, eval, rng, keep_bad_golds=True
    )


def _item(operators: str, values: dict[str, Any]) -> Example:
    """The item of a row, with an expression that reaches its target, "" where there is none."""
    numbers, target = values["numbers"], values["target"]
    if len(numbers) not in SIZES or not all(0 < number <= HIGHEST for number in numbers):
        raise RowError("numbers that can't be used", f": {str(numbers)[:60]}; allowed: 2 to 6 integers above 0")
    fields = {"numbers": numbers, "target": target, "operators": operators}
    expression = reach(numbers, target, operators) or ""
    more = {"id": values["id"]} if "id" in values else {}
    return Example(_key(numbers, target), {**fields, "expression": expression, **more})


def _key(numbers: Sequence[int], target: int) -> str:
    return f"{','.join(map(str, sorted(numbers)))}={target}"


def gold(example: Example) -> str:
    fields = example.fields
    if fields.get("expression", "generated"):
        return ""
    numbers = ", ".join(map(str, fields["numbers"]))
    return f"{numbers} can't reach {fields['target']} with {' '.join(fields['operators'])}, each used once"


def _example(item: Item, options: Options, rng: random.Random, terse: float = 0.0) -> Example:
    numbers, target = item
    fields = {"numbers": rng.sample(numbers, len(numbers)), "target": target, "operators": options.signs}
    shown = {**fields, "terse": rng.sample(numbers, len(numbers))} if rng.random() < terse else fields
    return Example(_key(numbers, target), shown)


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
    expression = fields.get("expression")
    if expression is None:
        expression = solve(numbers, fields["target"], fields["operators"]).expression
    thought = "" if terse else f"{', '.join(map(str, numbers))}\n{expression} = {fields['target']}\n"
    return f"<think>\n{thought}</think>\n<answer>{expression}</answer>"


def read(row: dict[str, Any]) -> Example:
    """A row needs `numbers` (or `nums`) and `target`; without `operators` all four are allowed."""
    given = {"numbers": row.get("numbers", row.get(COLUMNS["numbers"])), "target": row.get("target")}
    for key, value in given.items():
        if value is None:
            raise ValueError(f"{key}: is missing; allowed: numbers (a list of integers) and target (an integer)")
    numbers, operators = given["numbers"], row.get("operators", OPERATORS)
    texts = not isinstance(numbers, list) or any(isinstance(number, str) for number in numbers)
    numbers = None if texts else integers(numbers)
    target = None if isinstance(given["target"], str) else whole(given["target"])
    if numbers is None:
        raise ValueError(f"numbers: {given['numbers']!r} is not possible; allowed: a list of integers")
    if target is None:
        raise ValueError(f"target: {given['target']!r} is not possible; allowed: an integer")
    if not isinstance(operators, str) or not operators or not set(operators) <= set(OPERATORS):
        raise ValueError(f"operators: {operators!r} is not possible; allowed: some of {OPERATORS}")
    return Example(_key(numbers, target), {"numbers": numbers, "target": target, "operators": operators})


@hookimpl
def rlvr_tasks():
    yield Task(
        "countdown",
        options=Options,
        splits=splits,
        check=check,
        files=sources.files,
        system=SYSTEM,
        user=user,
        verify=verify_countdown,
        demonstrate=demonstrate,
        gold=gold,
        read=read,
    )
