from __future__ import annotations

import pandas as pd
import pytest

from rlvr.reporting import accuracy, curves, page, stages
from rlvr.reporting.results import Arm


def scores(right: int, n: int, flexible: int) -> pd.DataFrame:
    return pd.DataFrame({"strict": [i < right for i in range(n)], "flexible": [i < flexible for i in range(n)]})


def test_a_row_holds_fractions_and_wilsons_interval():
    row = accuracy._row(Arm("grpo/dapo/seed3"), "countdown", scores(50, 100, 60))
    assert (row["arm"], row["variant"], row["seed"]) == ("grpo", "dapo", 3)
    assert (row["n"], row["strict"], row["flexible"]) == (100, 0.5, 0.6)
    # Closed form of Wilson's interval for p = 1/2, n = 100, z = 1.959964.
    assert row["strict_low"] == pytest.approx(0.403832, abs=1e-6)
    assert row["strict_high"] == pytest.approx(0.596168, abs=1e-6)


def test_nothing_right_has_an_interval_above_nothing():
    row = accuracy._row(Arm("base"), "countdown", scores(0, 500, 0))
    assert row["strict_low"] == 0 and 0.007 < row["strict_high"] < 0.008


def test_each_task_gets_its_own_columns():
    rows = [accuracy._row(Arm(arm), task, scores(1, 2, 2)) for arm in ("base", "grpo/a/seed0") for task in ("x", "y")]
    tidy = pd.DataFrame(rows).astype({"seed": "Int64"})
    wide = accuracy.wide(tidy)
    assert len(wide) == 2
    assert {"x strict %", "x flexible %", "y strict %", "y flexible %", "y n"} <= set(wide.columns)
    assert list(wide["seed"]) == ["", "0"]


def test_text_from_a_model_is_escaped():
    shown = {
        "prompt": "<b>", "completion": "<script>alert(1)</script>", "strict": False, "flexible": False,
        "reason": "<i>", "tokens": 3, "finish": "stop",
    }  # fmt: skip
    text = page.render("samples", title="<x>", samples={"t": [shown]})
    for part in ("<script>alert", "<b>", "<i>", "<x>"):
        assert part not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_run_that_logged_nothing_still_gets_its_figures(tmp_path):
    curves._draw(pd.DataFrame({"step": []}), curves.PANELS["sft"], "sft", tmp_path / "sft")
    assert (tmp_path / "sft.png").is_file() and (tmp_path / "sft.svg").is_file()


def test_stages_are_summed_with_their_share_of_starting():
    frame = pd.DataFrame(
        {
            "stage": ["sft", "score", "score"],
            "seconds": [8.0, 1.0, 1.0],
            "starting": [2.0, 0.5, 0.5],
            "peak memory MiB": [900, 100, 120],
        }
    )
    table = stages.by_stage(frame)
    assert list(table["stage"]) == ["sft", "score", "all"]
    assert list(table["importing and starting"]) == ["2.0 s (25 %)", "1.0 s (50 %)", "3.0 s (30 %)"]
    assert list(table["peak memory"]) == ["900 MiB", "120 MiB", "900 MiB"]
