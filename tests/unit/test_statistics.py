"""Against scipy, statsmodels and published examples; how often the intervals hold: tests/workflow/test_coverage.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from rlvr.errors import RlvrError
from rlvr.pass_at import estimate
from rlvr.statistics import correction, paired, power, proportions, seeds


def flags(*counts: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two arms from (how many items, right under the first, right under the second)."""
    return tuple(np.concatenate([np.full(n, side[i]) for n, *side in counts]) for i in (0, 1))


def test_wilsons_interval_is_scipys():
    for right, n in ((0, 500), (37, 120), (499, 500)):
        known = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert proportions.wilson(right, n) == pytest.approx((known.low, known.high), abs=1e-12)
    assert proportions.wilson(0, 0) is None


def test_mcnemar_of_a_textbook():
    """Approval of a prime minister in two surveys of 1,600: Agresti, Categorical Data Analysis (2002), table 10.1,
    where z² is 17.36 and the 95 % interval of the change -0.059 to -0.021."""
    first, second = flags((794, 1, 1), (150, 1, 0), (86, 0, 1), (570, 0, 0))
    found = paired.compare(first, second)
    assert (found.n, found.gained, found.lost) == (1600, 86, 150)
    assert found.difference == pytest.approx(-0.04)
    assert found.interval == pytest.approx((-0.059, -0.021), abs=0.001)
    approximate = mcnemar([[794, 150], [86, 570]], exact=False, correction=False)
    assert approximate.statistic == pytest.approx(17.36, abs=0.01)
    assert found.p == pytest.approx(stats.binomtest(86, 236).pvalue, rel=1e-9)
    assert found.p == pytest.approx(3.7e-5, rel=0.02)


def test_the_paired_interval_is_scipys_bootstrap():
    first, second = flags((40, 1, 0), (70, 0, 1), (390, 1, 1))
    known = stats.bootstrap((second - first,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert paired.compare(first, second).interval == pytest.approx(known.confidence_interval, abs=0.003)


def test_shares_of_samples_are_tested_as_right_and_wrong_are():
    """The p of items that moved by one half is McNemar's for as many that moved wholly."""
    first, second = flags((30, 1, 0), (52, 0, 1), (100, 0, 0))
    assert paired.compare(first / 2, second / 2).p == pytest.approx(paired.exact(52, 30), abs=0.006)


def test_the_permutation_test_is_scipys():
    rng = np.random.default_rng(0)
    change = (rng.binomial(4, 0.55, 120) - rng.binomial(4, 0.5, 120)) / 4
    known = stats.permutation_test(
        (change,), np.sum, permutation_type="samples", vectorized=True, rng=np.random.default_rng(1)
    )
    assert paired.flipping(change) == pytest.approx(known.pvalue, abs=0.015)
    assert paired.flipping(np.array([0.5, 0.5, 0.25, 0.0])) == pytest.approx(2 / 2**3, abs=0.02), "3 items, all gained"


def test_ties_and_nothing_are_no_numbers():
    same = paired.compare(np.ones(5), np.ones(5))
    assert (same.difference, same.interval, same.p) == (0.0, None, 1.0)
    nothing = paired.compare(np.array([]), np.array([]))
    assert (nothing.difference, nothing.interval, nothing.p) == (None, None, 1.0)


def test_the_estimate_of_pass_at_k_is_that_of_its_paper():
    def published(n: int, c: int, k: int) -> float:
        """Chen et al., arXiv 2107.03374, figure 3."""
        return 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))

    for n, c, k in ((200, 3, 1), (200, 3, 100), (10, 9, 2), (8, 0, 8), (8, 8, 1)):
        assert estimate(c, n, k) == pytest.approx(published(n, c, k), abs=1e-12)


def test_a_k_above_the_samples_is_refused_in_a_line():
    with pytest.raises(RlvrError, match=r"k = 9 is not possible; allowed: 1 to the number of samples \(8\)"):
        estimate(3, 8, 9)


def test_an_interval_over_items_of_one_sample_is_wilsons():
    values = np.repeat([0.0, 1.0], [30, 70])
    assert proportions.of_items(values) == pytest.approx(proportions.wilson(70, 100))
    assert proportions.of_items(np.zeros(50)) == proportions.wilson(0, 50)
    assert proportions.of_items(np.full(50, 0.5)) is None
    assert proportions.of_items(np.array([])) is None


def test_an_interval_over_items_is_the_bootstraps_where_there_are_many():
    values = np.random.default_rng(0).binomial(8, 0.3, 2000) / 8
    known = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert proportions.of_items(values) == pytest.approx((known.low, known.high), abs=0.001)


def test_one_seed_has_no_deviation_and_the_interval_of_its_items():
    values = np.repeat([0.0, 1.0], [30, 70])
    found = seeds.summary(values[None])
    assert (found.deviation, found.over, found.interval) == (None, "items", proportions.wilson(70, 100))
    assert seeds.summary(np.empty((3, 0))).mean is None


def test_seeds_that_agree_on_each_item_tell_what_one_does():
    values = np.repeat([0.0, 1.0], [300, 700])
    several, one = seeds.summary(np.tile(values, (3, 1))), seeds.summary(values[None])
    assert several.deviation == pytest.approx(0, abs=1e-12)
    assert several.interval == pytest.approx(one.interval, abs=0.002)
    assert seeds.summary(np.ones((3, 100))).interval == proportions.wilson(100, 100)


def test_the_variance_over_seeds_is_that_of_a_fitted_model():
    """Mean squares of the two-way analysis of variance of statsmodels."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values = np.random.default_rng(0).random((3, 12))
    long = pd.DataFrame(values).melt(ignore_index=False).reset_index(names="seed")
    squares = anova_lm(ols("value ~ C(seed) + C(variable)", long).fit())["mean_sq"]
    of_seeds, others = seeds._variances(values)
    assert of_seeds == pytest.approx(squares["C(seed)"] / 36)
    assert others == pytest.approx((squares["C(variable)"] - squares["Residual"]) / 36)


def test_seeds_far_apart_make_the_interval_wide():
    near = np.repeat([[0, 1], [0, 1], [0, 1]], 200, axis=1).astype(float)
    far = near.copy()
    far[0, :60], far[1, -60:] = 1, 0
    wide, narrow = (high - low for low, high in (seeds.summary(values).interval for values in (far, near)))
    assert wide > 2 * narrow
    assert seeds.summary(far).over == "items and seeds"


def test_the_smallest_difference_is_found_as_often_as_it_says():
    n, discordant = 500, 0.2
    least = power.smallest_difference(n, discordant)
    gained, lost = (discordant + least) / 2, (discordant - least) / 2
    tables = np.random.default_rng(0).multinomial(n, [gained, lost, 1 - discordant], size=4000)
    found = np.mean([paired.exact(int(a), int(b)) < 0.05 for a, b, _ in tables])
    assert 0.76 < found < 0.82, "the exact test is a little below the formula's 80 %"


def test_what_can_not_be_shown_is_not_estimable():
    assert power.smallest_difference(0, 0.5) is None
    assert power.smallest_difference(500, 0.0) is None
    assert power.smallest_difference(500, 0.01) is None, "5 items are too few for p < 0.05"


def test_holms_correction_is_statsmodels():
    p = [0.01, 0.04, 0.03, 0.5]
    assert correction.holm(p) == list(multipletests(p, method="holm")[1]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert correction.holm([]) == []
