"""pass@k."""

from __future__ import annotations

from math import comb

from rlvr.errors import RlvrError


def estimate(right: int, samples: int, k: int) -> float:
    """The chance that k completions drawn from the `samples` hold a right one, unbiased for pass@k.

    1 - C(n - c, k) / C(n, k), computed in whole numbers: arXiv 2107.03374, section 2.1. Raises RlvrError for a k that
    `samples` completions can't tell.
    """
    if not 1 <= k <= samples:
        raise RlvrError(f"pass@k: k = {k} is not possible; allowed: 1 to the number of samples ({samples})")
    draws = comb(samples, k)
    return (draws - comb(samples - right, k)) / draws
