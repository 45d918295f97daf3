from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rlvr.reporting import accuracy, curves, page, stages
from rlvr.reporting.results import Arm, Results


def row(right: int, n: int, flexible: int, cut: int = 0) -> dict:
    scores = pd.DataFrame(
        {
            "strict": [i < right for i in range(n)],
            "flexible": [i < flexible for i in range(n)],
            "status": ["right" if i < right else "wrong_format" if i < flexible else "missing" for i in range(n)],
        }
    )
    completions = pd.DataFrame({"finish": ["length" if i < cut else "stop" for i in range(n)]})
    return accuracy._row(scores, completions)


def test_a_row_holds_fractions_and_wilsons_interval():
    found = row(50, 100, 60, cut=7)
    assert (found["n"], found["strict"], found["flexible"]) == (100, 0.5, 0.6)
    assert (found["truncated"], found["no_answer"]) == (0.07, 0.4)
    # Closed form of Wilson's interval for p = 1/2, n = 100, z = 1.959964.
    assert found["strict_low"] == pytest.approx(0.403832, abs=1e-6)
    assert found["strict_high"] == pytest.approx(0.596168, abs=1e-6)


def test_nothing_right_has_an_interval_above_nothing():
    found = row(0, 500, 0)
    assert found["strict_low"] == 0 and 0.007 < found["strict_high"] < 0.008


def test_no_items_are_not_estimable():
    tidy = pd.DataFrame(
        [{"arm": "base", "variant": "", "seed": pd.NA, "task": "x", "cell": "base/x/greedy", **row(0, 0, 0)}]
    )
    wide = accuracy.wide(tidy, {})
    assert wide["strict %"][0] == wide["95 % interval"][0] == wide["truncated %"][0] == "not estimable"


def test_each_task_gets_its_own_rows():
    arms = {
        "base": {"arm": "base", "variant": "", "seed": None},
        "grpo/a/seed0": {"arm": "grpo", "variant": "a", "seed": 0},
    }
    rows = [
        {**label, "task": task, "cell": f"{path}/{task}/greedy", **row(1, 2, 2)}
        for path, label in arms.items()
        for task in ("x", "y")
    ]
    wide = accuracy.wide(pd.DataFrame(rows).astype({"seed": "Int64"}), {"grpo/a/seed0/y/greedy": "+50.0 *"})
    assert list(wide["task"]) == ["x", "x", "y", "y"]
    assert list(wide["seed"]) == ["", "0", "", "0"]
    assert list(wide["gain over start"]) == ["", "", "", "+50.0 *"]


def test_controls_are_named_in_the_tables():
    results = Results(Path("x"), [], [], {}, controls={"grpo/r/seed0": "random_reward", "sft/longer": "sft_longer"})
    assert results.label(Arm("grpo/r/seed0")) == {"arm": "control", "variant": "random_reward", "seed": 0}
    assert results.label(Arm("sft/longer")) == {"arm": "control", "variant": "sft_longer", "seed": None}
    assert results.label(Arm("sft/big")) == {"arm": "sft", "variant": "big", "seed": None}


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
