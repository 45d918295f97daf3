"""The mean over the seeds of a variant, whose items are the same under every seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from rlvr.statistics import LEVEL, Interval
from rlvr.statistics.proportions import of_items


@dataclass(frozen=True)
class Seeds:
    """deviation: of the seeds' means, None of one seed. over: what the 95 % interval allows for."""

    seeds: int
    items: int
    mean: float | None
    deviation: float | None
    interval: Interval | None
    over: str


def summary(values: np.ndarray) -> Seeds:
    """values: a row a seed, a column an item, from 0 to 1.

    Of one seed: the interval over its items. Of several, and of at least two items: an interval for other seeds and
    other items. Its variance is that of the analysis of variance for two crossed random factors,
    (MS_seeds + MS_items - MS_rest) / (seeds × items): Searle, Casella and McCulloch, Variance Components (1992),
    ch. 4. Its critical value lies between that of Satterthwaite (Biometrics Bulletin 2, 1946), who allows too little
    for few seeds, and that of Cochran and Cox (Experimental Designs, 1957, § 4.14), who allow too much: the nearer to
    the latter, the more of the variance is that of the seeds. docs/statistics.md has its coverage.
    """
    seeds, items = values.shape
    if items == 0:
        return Seeds(seeds, 0, None, None, None, "nothing")
    means = values.mean(axis=1)
    mean = float(means.mean())
    if seeds == 1:
        return Seeds(1, items, mean, None, of_items(values[0]), "items")
    deviation = float(means.std(ddof=1))
    if items == 1:
        return Seeds(seeds, items, mean, deviation, None, "nothing")
    of_seeds, others = _variances(values)
    variance = of_seeds + others
    if variance < 1e-15:
        same = of_items(values[0]) if (values == values[0]).all() else None
        return Seeds(seeds, items, mean, deviation, same, "items" if same else "nothing")
    half = _critical(of_seeds, others, seeds, items) * variance**0.5
    return Seeds(seeds, items, mean, deviation, (max(mean - half, 0.0), min(mean + half, 1.0)), "items and seeds")


def _variances(values: np.ndarray) -> tuple[float, float]:
    """The parts of the mean's variance that the seeds and the items have; the first holds what neither explains."""
    seeds, items = values.shape
    mean, by_seed, by_item = values.mean(), values.mean(axis=1), values.mean(axis=0)
    ms_seeds = items * by_seed.var(ddof=1)
    ms_items = seeds * by_item.var(ddof=1)
    rest = values - by_seed[:, None] - by_item[None, :] + mean
    ms_rest = (rest**2).sum() / ((seeds - 1) * (items - 1))
    return float(ms_seeds / values.size), float(max(ms_items - ms_rest, 0.0) / values.size)


def _critical(of_seeds: float, others: float, seeds: int, items: int) -> float:
    freedoms = np.array([seeds - 1, items - 1])
    parts = np.array([of_seeds, others])
    shares = parts / parts.sum()
    satterthwaite = t.ppf(1 - LEVEL / 2, 1 / (shares**2 / freedoms).sum())
    cochran = (shares * t.ppf(1 - LEVEL / 2, freedoms)).sum()
    return float(shares[0] * cochran + shares[1] * satterthwaite)
