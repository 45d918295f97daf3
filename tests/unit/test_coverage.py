"""How often the 95 % intervals hold the truth, over 10,000 simulated tables each; `python tests/unit/test_coverage.py`
prints the table of docs/statistics.md."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from rlvr.pass_at import estimate
from rlvr.statistics import paired, proportions, seeds

pytestmark = pytest.mark.slow

TABLES, ITEMS = 10_000, 500
SAMPLES = 8


def covered(interval: tuple[float, float] | None, truth: float) -> bool:
    return interval is not None and interval[0] - 1e-12 <= truth <= interval[1] + 1e-12


def wilson() -> float:
    """Shares from 2 to 98 %."""
    rng = np.random.default_rng(1)
    shares = rng.uniform(0.02, 0.98, TABLES)
    right = rng.binomial(ITEMS, shares)
    return float(np.mean([covered(proportions.wilson(k, ITEMS), p) for k, p in zip(right, shares, strict=True)]))


def paired_bootstrap() -> float:
    """From 4 to 50 % of the items discordant, gains of any share of them."""
    rng = np.random.default_rng(2)
    hits = 0
    for discordant, gained in zip(rng.uniform(0.04, 0.5, TABLES), rng.uniform(0.0, 1.0, TABLES), strict=True):
        up, down = discordant * gained, discordant * (1 - gained)
        counts = rng.multinomial(ITEMS, [up, down, 1 - discordant])
        hits += covered(paired.bootstrap(np.repeat([1.0, -1.0, 0.0], counts)), up - down)
    return hits / TABLES


def pass_at(k: int) -> Callable[[], float]:
    def simulated() -> float:
        """Items with chances from a beta distribution, whose shapes are 0.2 to 2, answered eight times."""
        rng = np.random.default_rng(3)
        by_count = np.array([estimate(count, SAMPLES, k) for count in range(SAMPLES + 1)])
        hits = 0
        for a, b in rng.uniform(0.2, 2.0, (TABLES, 2)):
            counts = rng.binomial(SAMPLES, rng.beta(a, b, ITEMS))
            missed = np.prod([(b + i) / (a + b + i) for i in range(k)])
            hits += covered(proportions.of_items(by_count[counts]), 1 - missed)
        return hits / TABLES

    return simulated


def over_seeds(count: int, deviation: float) -> Callable[[], float]:
    def simulated() -> float:
        """Accuracies around 30 to 80 %, seeds normally around them, items of spread difficulty."""
        rng = np.random.default_rng(4)
        hits = 0
        for accuracy in rng.uniform(0.3, 0.8, TABLES):
            hardness = 1.5 * rng.standard_normal(ITEMS, dtype=np.float32)
            shares = accuracy + deviation * rng.standard_normal((count, 1))
            threshold = norm_ppf(shares) * (1 + 1.5**2) ** 0.5
            answers = rng.standard_normal((count, ITEMS), dtype=np.float32) < threshold - hardness
            hits += covered(seeds.summary(answers.astype(float)).interval, accuracy)
        return hits / TABLES

    return simulated


def norm_ppf(shares: np.ndarray) -> np.ndarray:
    return norm.ppf(np.clip(shares, 0.001, 0.999)).astype(np.float32)


CASES = {
    "Wilson": wilson,
    "paired bootstrap": paired_bootstrap,
    "pass@1 of 8": pass_at(1),
    "pass@4 of 8": pass_at(4),
    "pass@8 of 8": pass_at(8),
    **{
        f"{count} seeds, {100 * deviation:g} points apart": over_seeds(count, deviation)
        for count in (3, 5)
        for deviation in (0.0, 0.02, 0.04)
    },
}


@pytest.mark.parametrize("case", CASES)
def test_an_interval_of_95_per_cent_holds_the_truth_as_often(case):
    assert CASES[case]() == pytest.approx(0.95, abs=0.01)


FAR = {
    f"{count} seeds, {100 * deviation:g} points apart": over_seeds(count, deviation)
    for count, deviation in ((3, 0.08), (5, 0.08), (2, 0.0), (2, 0.02), (2, 0.08))
}
"""Where fewer seeds, or seeds further apart, than the tests demand leave an interval."""

if __name__ == "__main__":
    for name, simulated in {**CASES, **FAR}.items():
        print(f"{name:30} {100 * simulated():.1f} %", flush=True)
