"""Second opinions on answers, by scorers of others; each runs in a worker process.

Optional: `pip install -e ".[math-verify]"`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlvr_plugins.types import Limits
from rlvr_plugins.verifiers.tags import read_tags

LIMITS = Limits(sample_seconds=15.0, batch_seconds=86_400.0, memory_mib=2048)
TAIL = 10_000


def _math_verify() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Hugging Face's Math-Verify on the last answer element, or on the end of a response without one."""
    from math_verify import parse, verify

    def answer(item: dict[str, Any]) -> dict[str, Any]:
        tagged = read_tags(item["completion"])
        text = tagged.response[-TAIL:] if tagged.answer is None else tagged.answer[:TAIL]
        try:
            return {"right": bool(verify(parse(item["answer"]), parse(text)))}
        except Exception:
            return {"right": None}

    return answer


SCORERS = {"math_verify": _math_verify}


def load(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function from `{"completion": …, "answer": …}` to `{"right": …}`, None where the scorer failed.

    Raises ImportError where it is not installed.
    """
    return SCORERS[name]()
