from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from rlvr.reporting import accuracy, pass_at_k
from rlvr.reporting.results import Arm


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
    assert pass_at_k.interval(np.array(items)) == pytest.approx((low, high), abs=1e-3)


def test_the_interval_is_over_items_not_over_samples():
    rng = np.random.default_rng(1)
    items = rng.integers(0, 2, 400).astype(float)
    low, high = pass_at_k.interval(items)
    assert low < items.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * items.std() / 20, rel=0.1)


def test_a_row_for_each_k_and_columns_for_people():
    strict = [True, False, False, False] + [False] * 4
    scores = pd.DataFrame({"strict": strict, "flexible": [True] * 8})
    rows = pass_at_k._rows(Arm("sft/big"), "x", scores, {"samples": 4, "pass_at": [4, 1]})
    assert [(row["k"], row["strict"], row["flexible"], row["items"]) for row in rows] == [
        (1, 0.125, 1.0, 2),
        (4, 0.5, 1.0, 2),
    ]
    wide = pass_at_k.wide(pd.DataFrame(rows))
    assert wide["x pass@4 strict %"][0] == "50.0" and wide["x n"][0] == "2 × 4"
    assert (wide["arm"][0], wide["variant"][0], wide["seed"][0]) == ("sft", "big", "")


def test_the_table_is_written_for_programs_people_and_papers(tmp_path):
    scores = pd.DataFrame({"strict": [True, False], "flexible": [True, True]})
    tidy = pd.DataFrame(pass_at_k._rows(Arm("base"), "x", scores, {"samples": 2, "pass_at": [1, 2]}))
    accuracy.write(tidy, pass_at_k.wide(tidy), tmp_path, name="pass_at_k", note="A note.")
    assert len(pd.read_csv(tmp_path / "pass_at_k.csv")) == 2
    assert (tmp_path / "pass_at_k.md").read_text().endswith("A note.\n")
    assert r"$\times$" in (tmp_path / "pass_at_k.tex").read_text()
