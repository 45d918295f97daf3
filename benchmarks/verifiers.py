"""Scores a second of the verifiers, beside Math-Verify and a plain regex on the same strings.

    python benchmarks/verifiers.py

The completions are of about 200 tokens (800 characters): four in five follow the protocol, one in five
states its answer elsewhere. One thread; Math-Verify needs `pip install "rlvr[math-verify]"`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

from rlvr_plugins import Example
from rlvr_plugins.verifiers.expressions import verify_countdown
from rlvr_plugins.verifiers.numbers import verify_number

SECONDS = 3.0
SENTENCES = (
    "First we look at what is given and write it down.",
    "She sells {a} eggs at ${b} each, which makes {a} * {b} = {c} dollars.",
    "That leaves {c} - {a} = {d} for the rest of the week.",
    "Let us check this step again before we go on.",
)
ANSWER = re.compile(r"<answer>\s*\$?(-?[\d,]+(?:\.\d+)?)\s*</answer>")


def thoughts(rng: random.Random, length: int = 750) -> str:
    text = ""
    while len(text) < length:
        a, b = rng.randint(2, 99), rng.randint(2, 99)
        text += rng.choice(SENTENCES).format(a=a, b=b, c=a * b, d=a * b - a) + " "
    return text


def numbers(rng: random.Random) -> tuple[str, Example]:
    gold = rng.randint(2, 5000)
    shown = rng.choice([str(gold), f"${gold:,}", f"{gold} dollars", str(gold + rng.randint(0, 1))])
    if rng.random() < 0.2:
        return f"{thoughts(rng)}\nThe answer is {shown}.", Example("k", {"answer": str(gold)})
    text = f"<reasoning>\n{thoughts(rng)}\n</reasoning>\n<answer>{shown}</answer>"
    return text, Example("k", {"answer": str(gold)})


def expressions(rng: random.Random) -> tuple[str, Example]:
    a, b, c = (rng.randint(1, 50) for _ in range(3))
    target = a + b * c
    shown = rng.choice([f"{a} + {b} * {c}", f"({b} × {c}) + {a} = {target}", f"{a} + {b} + {c}"])
    fields = {"numbers": [c, a, b], "target": target, "operators": "+-*/"}
    if rng.random() < 0.2:
        return f"{thoughts(rng)}\nThe answer is {shown}", Example("k", fields)
    return f"<think>\n{thoughts(rng)}\n</think>\n<answer>{shown}</answer>", Example("k", fields)


def plain_regex(completion: str, example: Example) -> bool:
    found = ANSWER.search(completion)
    return bool(found) and float(found[1].replace(",", "")) == float(example.fields["answer"])


def math_verify() -> Callable[[str, Example], bool] | None:
    try:
        from math_verify import parse, verify
    except ImportError:
        return None
    return lambda completion, example: bool(verify(parse(example.fields["answer"]), parse(completion)))


def rate(function: Callable, pairs: list[tuple[str, Example]]) -> float:
    """Calls a second, the best of three rounds."""
    rates = []
    for _ in range(3):
        done, begun = 0, time.process_time()
        while time.process_time() - begun < SECONDS / 3:
            for pair in pairs[: max(1, len(pairs) // 20)]:
                function(*pair)
                done += 1
        rates.append(done / (time.process_time() - begun))
    return max(rates)


def main() -> None:
    rng = random.Random(0)
    number_pairs = [numbers(rng) for _ in range(2000)]
    expression_pairs = [expressions(rng) for _ in range(2000)]
    length = sum(len(text) for text, _ in number_pairs) / len(number_pairs)
    print(f"completions of {length:.0f} characters on average")
    rates = {
        "numbers": rate(verify_number, number_pairs),
        "expressions": rate(verify_countdown, expression_pairs),
        "plain regex, numbers": rate(plain_regex, number_pairs),
    }
    other = math_verify()
    if other:
        rates["Math-Verify, numbers"] = rate(other, number_pairs)
    for name, value in rates.items():
        print(f"{name:22} {value:10,.0f} a second   {value / rates['numbers']:8.3f} of numbers")


if __name__ == "__main__":
    main()
