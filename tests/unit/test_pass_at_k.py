from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from rlvr.errors import RlvrError
from rlvr.reporting import layout, pass_at_k
from rlvr.statistics import proportions


@pytest.mark.parametrize(("right", "samples"), [(0, 6), (1, 6), (3, 6), (6, 6)])
def test_the_estimate_is_the_share_of_draws_with_a_right_one(right, samples):
    flags = [i < right for i in range(samples)]
    for k in range(1, samples + 1):
        draws = [any(draw) for draw in itertools.combinations(flags, k)]
        assert pass_at_k.estimate(right, samples, k) == pytest.approx(sum(draws) / len(draws), abs=1e-15)


def test_the_estimate_is_unbiased():
    """Its mean over all outcomes of 5 draws at p = 0.3 is 1 - 0.7 ** k, where 1 - (1 - c / n) ** k is too low."""
    p, n = 0.3, 5
    for k in (1, 2, 5):
        outcomes = itertools.product((True, False), repeat=n)
        mean = sum(
            np.prod([p if flag else 1 - p for flag in flags]) * pass_at_k.estimate(sum(flags), n, k)
            for flags in outcomes
        )
        assert mean == pytest.approx(1 - (1 - p) ** k)


def test_large_numbers_of_samples_stay_exact():
    assert 0 < pass_at_k.estimate(1, 10_000, 5_000) < 1
    assert pass_at_k.estimate(1, 10_000, 5_000) == 0.5


@pytest.mark.parametrize(("items", "low", "high"), [([0.0] * 50, 0.0, 0.0714), ([1.0] * 50, 0.9286, 1.0)])
def test_items_without_spread_get_an_interval_that_says_how_few_they_are(items, low, high):
    assert proportions.of_items(np.array(items)) == pytest.approx((low, high), abs=1e-3)


def test_the_interval_is_over_items_not_over_samples():
    rng = np.random.default_rng(1)
    items = rng.integers(0, 2, 400).astype(float)
    low, high = proportions.of_items(items)
    assert low < items.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * items.std() / 20, rel=0.1)


def cell(strict: list[bool], flexible: list[bool], samples: int, pass_at: list[int], **label) -> pd.DataFrame:
    rows = pass_at_k.of_cell(
        pd.DataFrame({"strict": strict, "flexible": flexible}), {"samples": samples, "pass_at": pass_at}
    )
    return pd.DataFrame([{"arm": "sft", "variant": "big", "seed": pd.NA, "task": "x", **label, **row} for row in rows])


def test_a_row_for_each_k_and_columns_for_people():
    tidy = cell([True, False, False, False] + [False] * 4, [True] * 8, 4, [4, 1])
    found = tidy[["k", "strict", "flexible", "items"]].itertuples(index=False, name=None)
    assert list(found) == [(1, 0.125, 1.0, 2), (4, 0.5, 1.0, 2)]
    wide = pass_at_k.wide(tidy)
    assert wide["pass@4 strict %"][0] == "50.0" and wide["n"][0] == "2 × 4"
    assert (wide["arm"][0], wide["variant"][0], wide["seed"][0], wide["task"][0]) == ("sft", "big", "", "x")


def test_no_items_and_items_that_are_all_alike_are_not_estimable():
    assert pass_at_k.wide(cell([], [], 2, [1]))["pass@1 strict %"][0] == "not estimable"
    alike = pass_at_k.wide(cell([True, False] * 3, [True] * 6, 2, [1]))
    assert (alike["pass@1 strict %"][0], alike["pass@1 95 % interval"][0]) == ("50.0", "not estimable")


def test_a_k_above_the_samples_or_a_sample_too_few_is_refused():
    with pytest.raises(RlvrError, match="k = 3 is not possible"):
        cell([True, False], [True, True], 2, [3])
    with pytest.raises(RlvrError, match="3 completions are not possible for 2 an item"):
        cell([True] * 3, [True] * 3, 2, [1])


def test_the_table_is_written_for_programs_people_and_papers(tmp_path):
    tidy = cell([True, False], [True, True], 2, [1, 2])
    layout.write(tidy, pass_at_k.wide(tidy), tmp_path, "pass_at_k", "A note.")
    assert len(pd.read_csv(tmp_path / "pass_at_k.csv")) == 2
    assert (tmp_path / "pass_at_k.md").read_text().endswith("A note.\n")
    assert r"$\times$" in (tmp_path / "pass_at_k.tex").read_text()
