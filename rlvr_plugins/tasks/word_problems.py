"""Grade-school word problems made from templates, in the format of GSM8K.

Nothing is copied from GSM8K: only its answer format is used, where a calculation stands as ``<<3*4=12>>``
before its result and the last line is ``#### `` and the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable

NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo")
ITEMS = ("pens", "apples", "books", "cards", "shells", "stamps")

Problem = tuple[str, list[str], int]


def _step(subject: str, left: int, operator: str, right: int, ending: str) -> tuple[str, int]:
    """Return one line of a solution, its result marked as GSM8K marks it, and the result."""
    result = {"+": left + right, "-": left - right, "*": left * right}[operator]
    mark = f"<<{left}{operator}{right}={result}>>"
    return f"{subject} {left} {operator} {right} = {mark}{result} {ending}.", result


def _gain_and_lose(rng: random.Random, small: int, large: int) -> Problem:
    name, items = rng.choice(NAMES), rng.choice(ITEMS)
    have, more = rng.randint(2, large), rng.randint(2, large)
    fewer = rng.randint(2, min(large, have + more - 1))
    first, total = _step(f"{name} has", have, "+", more, items)
    second, left = _step(f"{name} keeps", total, "-", fewer, items)
    return (
        f"{name} has {have} {items}, buys {more} and loses {fewer}. How many {items} are left?",
        [first, second],
        left,
    )


def _boxes_and_loose(rng: random.Random, small: int, large: int) -> Problem:
    name, items = rng.choice(NAMES), rng.choice(ITEMS)
    boxes, each, loose = rng.randint(2, small), rng.randint(2, small), rng.randint(2, large)
    first, packed = _step("The boxes hold", boxes, "*", each, items)
    second, total = _step(f"{name} has", packed, "+", loose, items)
    question = f"{name} has {boxes} boxes of {each} {items} and {loose} loose {items}. How many {items} are there?"
    return question, [first, second], total


def _boxes_and_gift(rng: random.Random, small: int, large: int) -> Problem:
    name, items = rng.choice(NAMES), rng.choice(ITEMS)
    boxes, each = rng.randint(2, small), rng.randint(2, small)
    given = rng.randint(2, min(large, boxes * each - 1))
    first, packed = _step("The boxes hold", boxes, "*", each, items)
    second, left = _step(f"{name} keeps", packed, "-", given, items)
    question = f"{name} has {boxes} boxes of {each} {items} and gives {given} away. How many {items} are left?"
    return question, [first, second], left


def _more_than_a_friend(rng: random.Random, small: int, large: int) -> Problem:
    (name, friend), items = rng.sample(NAMES, 2), rng.choice(ITEMS)
    have, extra = rng.randint(2, large), rng.randint(2, large)
    first, other = _step(f"{friend} has", have, "+", extra, items)
    second, total = _step("Together they have", have, "+", other, items)
    question = (
        f"{name} has {have} {items}. {friend} has {extra} more than {name}. How many {items} do they have together?"
    )
    return question, [first, second], total


def _times_a_friend(rng: random.Random, small: int, large: int) -> Problem:
    (name, friend), items = rng.sample(NAMES, 2), rng.choice(ITEMS)
    have, times = rng.randint(2, small), rng.randint(2, small)
    first, other = _step(f"{friend} has", have, "*", times, items)
    second, total = _step("Together they have", have, "+", other, items)
    question = f"{name} has {have} {items}. {friend} has {times} times as many. How many {items} do they have together?"
    return question, [first, second], total


def _shopping(rng: random.Random, small: int, large: int) -> Problem:
    name, items = rng.choice(NAMES), rng.choice(ITEMS)
    count, price = rng.randint(2, small), rng.randint(2, small)
    purse = count * price + rng.randint(1, large)
    first, cost = _step(f"The {items} cost", count, "*", price, "dollars")
    second, left = _step(f"{name} keeps", purse, "-", cost, "dollars")
    question = (
        f"{name} has {purse} dollars and buys {count} {items} at {price} dollars each. How many dollars are left?"
    )
    return question, [first, second], left


def _three_days(rng: random.Random, small: int, large: int) -> Problem:
    name, items = rng.choice(NAMES), rng.choice(ITEMS)
    first_day, extra, times = rng.randint(2, small), rng.randint(2, small), rng.randint(2, 3)
    one, second_day = _step("On Tuesday it is", first_day, "+", extra, items)
    two, third_day = _step("On Wednesday it is", second_day, "*", times, items)
    three, total = _step("On the last two days it is", second_day, "+", third_day, items)
    question = (
        f"{name} sells {first_day} {items} on Monday, {extra} more on Tuesday than on Monday and {times} times as many "
        f"on Wednesday as on Tuesday. How many {items} does {name} sell on Tuesday and Wednesday?"
    )
    return question, [one, two, three], total


FAMILIES: tuple[Callable[[random.Random, int, int], Problem], ...] = (
    _gain_and_lose,
    _boxes_and_loose,
    _boxes_and_gift,
    _more_than_a_friend,
    _times_a_friend,
    _shopping,
    _three_days,
)


def generate(rng: random.Random, *, small: int = 6, large: int = 15) -> tuple[str, str]:
    """Draw one problem: its question and its answer in the format of GSM8K.

    ``small`` bounds the numbers that are multiplied, ``large`` those that are added or
    subtracted. Every answer is a positive integer.
    """
    if small < 3 or large < 3:
        raise ValueError(f"small and large must be at least 3, got {small} and {large}")
    question, steps, answer = rng.choice(FAMILIES)(rng, small, large)
    return question, "\n".join([*steps, f"#### {answer}"])
