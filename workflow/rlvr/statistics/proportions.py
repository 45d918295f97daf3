"""Shares of items and their intervals."""

from __future__ import annotations

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from rlvr.statistics import LEVEL, Interval


def wilson(right: float, n: float) -> Interval | None:
    """Wilson's 95 % interval of a share (statsmodels); None of nothing. n: may be an effective number of items."""
    if n <= 0:
        return None
    low, high = proportion_confint(right, n, alpha=LEVEL, method="wilson")
    return float(max(low, 0.0)), float(min(high, 1.0))


def of_items(values: np.ndarray) -> Interval | None:
    """A 95 % interval of the mean over items, each with a value from 0 to 1, such as its estimate of pass@k.

    Wilson's for as many yes-or-no items as would spread as much: n p (1 - p) / s². The way of survey samples with
    unequal weights: Korn and Graubard, Survey Methodology 24 (1998). One sample an item makes it Wilson's itself.
    None of nothing, and of items that are all the same but neither 0 nor 1.
    """
    n = len(values)
    if n == 0:
        return None
    mean, variance = float(values.mean()), float(values.var())
    if mean in (0.0, 1.0):
        return wilson(mean * n, n)
    if variance < 1e-12:
        return None
    size = n * mean * (1 - mean) / variance
    return wilson(mean * size, size)
