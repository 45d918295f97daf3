"""Two arms on the same items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar

from rlvr.statistics import LEVEL, Interval

RESAMPLES = 9999


@dataclass(frozen=True)
class Paired:
    """n: items. difference: of the means, second less first, None of no items. gained, lost: items that are more
    and less right under the second. interval: 95 % of the difference, None where all items are tied or all change
    alike."""

    n: int
    difference: float | None
    interval: Interval | None
    gained: int
    lost: int
    p: float


def compare(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compares two arms item by item; both hold a value from 0 to 1 an item, in the same order.

    Right and wrong: the exact McNemar test (statsmodels). Shares of several samples: the permutation test that it is a
    case of, drawn 9,999 times, so that its least p is 0.0001. All ties: p is 1.
    """
    change = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    n = len(change)
    if gained + lost == 0:
        return Paired(n, 0.0 if n else None, None, 0, 0, 1.0)
    p = exact(gained, lost) if np.isin(change, (-1.0, 0.0, 1.0)).all() else flipping(change)
    return Paired(n, float(change.mean()), bootstrap(change), gained, lost, p)


def exact(gained: int, lost: int) -> float:
    """Two-sided p of the exact McNemar test from the discordant counts."""
    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)


def bootstrap(change: np.ndarray) -> Interval | None:
    """A 95 % interval of the mean change, by a percentile bootstrap over items; None where all change alike.

    A sample of items drawn with replacement is a multinomial draw of how often each value occurs, which is what
    `scipy.stats.bootstrap` would compute item by item.
    """
    values, counts = np.unique(change, return_counts=True)
    if len(values) < 2:
        return None
    rng = np.random.default_rng(0)
    means = rng.multinomial(len(change), counts / len(change), size=RESAMPLES) @ values / len(change)
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def flipping(change: np.ndarray) -> float:
    """Two-sided p of the permutation test that flips the sign of each item's change at random.

    Items that change as much are drawn together, as the binomial number of them that gain: the distribution that
    `scipy.stats.permutation_test` draws item by item.
    """
    sizes, counts = np.unique(np.abs(change[change != 0]), return_counts=True)
    rng = np.random.default_rng(0)
    sums = (2 * rng.binomial(counts, 0.5, size=(RESAMPLES, len(counts))) - counts) @ sizes
    as_far = int((np.abs(sums) >= abs(change.sum()) - 1e-9).sum())
    return (as_far + 1) / (RESAMPLES + 1)
