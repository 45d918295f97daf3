"""Which arms are compared, what counts as evidence, what is refused, and what moved."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rlvr.errors import RlvrError
from rlvr.reporting import by_seed, comparable, comparisons, gains, layout, moved, pairs
from rlvr.reporting.results import Arm

CONFIG = {
    "arms": ["base", "sft", "sft/longer", *(f"grpo/{v}/seed{s}" for v in ("a", "b") for s in (0, 1)), "grpo/x/seed0"],
    "controls": {"sft/longer": "sft_longer", "grpo/x/seed0": "random_reward"},
    "starts": {"sft": "base", "sft/longer": "sft"},
}


CONFIG["starts"] |= {path: "sft" for path in CONFIG["arms"] if path.startswith("grpo")}


def scores(strict: list[bool], flexible: list[bool] | None = None, keys: list[str] | None = None) -> pd.DataFrame:
    keys = [f"k{i}" for i in range(len(strict))] if keys is None else keys
    return pd.DataFrame({"key": keys, "strict": strict, "flexible": strict if flexible is None else flexible})


def results(by_arm: dict[str, list[bool]], decodings: tuple[str, ...] = ("greedy",)) -> SimpleNamespace:
    """What `comparisons` reads of an experiment with one task; an arm that is not named has all wrong."""
    n = len(next(iter(by_arm.values())))
    found = {path: scores(by_arm.get(path, [False] * n)) for path in CONFIG["arms"]}
    return SimpleNamespace(
        arms=[Arm(path) for path in CONFIG["arms"]],
        tasks=["t"],
        decodings=list(decodings),
        controls=CONFIG["controls"],
        scores=lambda arm, task, decoding="greedy": found[arm.path],
    )


def test_the_pairs_are_those_that_answer_a_question():
    found = [(pair.first.path, pair.second.path) for pair in pairs.of(CONFIG)]
    assert found[:7] == [("base", path) for path in CONFIG["arms"][1:]]
    assert set(found[7:]) == {
        *(("sft", path) for path in CONFIG["arms"][2:]),
        ("grpo/a/seed0", "sft/longer"),
        ("grpo/a/seed0", "grpo/x/seed0"),
        ("grpo/a/seed0", "grpo/b/seed0"),
        ("grpo/a/seed1", "grpo/b/seed1"),
    }
    assert len(found) == len(set(found))


def test_a_start_without_warm_start_is_base_and_counts_once():
    config = {**CONFIG, "arms": ["base", "grpo/a/seed0"], "controls": {}, "starts": {"grpo/a/seed0": "base"}}
    assert [pair.slug for pair in pairs.of(config)] == ["base--grpo-a-seed0"]


def test_only_what_holds_after_the_correction_is_evidence():
    """Seven items gained have p = 0.016 alone, and no evidence among so many comparisons."""
    real, some = [True] * 60 + [False] * 40, [True] * 7 + [False] * 93
    table = comparisons.table(results({"grpo/a/seed0": real, "grpo/b/seed0": some}), CONFIG, {})
    by = table.set_index(["from", "to"])
    assert by.loc[("sft", "grpo/a/seed0"), "verdict"] == "evidence"
    row = by.loc[("sft", "grpo/b/seed0")]
    assert row["p"] == pytest.approx(2 / 2**7) and row["p"] < 0.05 < row["p_holm"] and row["verdict"] == "none"
    shown = gains.by_cell(table, CONFIG)
    assert shown["grpo/a/seed0/t/greedy"] == "+60.0 *" and shown["grpo/b/seed0/t/greedy"] == "+7.0"
    notes = gains.notes(table, CONFIG)
    assert any(
        note.startswith("control random_reward on t: no evidence of a gain over sft (+0.0 points, p = 1.000)")
        for note in notes
    )


def test_a_control_that_gains_is_called_one():
    table = comparisons.table(results({"grpo/x/seed0": [True] * 60 + [False] * 40}), CONFIG, {})
    assert any("control random_reward on t: a gain over sft (+60.0" in note for note in gains.notes(table, CONFIG))


@pytest.mark.parametrize("by_arm", [{}, {"base": [True] * 6}, {"base": []}])
def test_no_table_holds_a_nan(by_arm, tmp_path):
    """All ties, all right against all wrong, no item."""
    given = results({"sft": by_arm.get("base", [False] * 6)} | by_arm)
    table, seeds = comparisons.table(given, CONFIG, {}), by_seed.table(given)
    layout.write(table, comparisons.wide(table), tmp_path, "comparisons", "\n".join(gains.notes(table, CONFIG)))
    layout.write(seeds, by_seed.wide(seeds), tmp_path, "seeds")
    for file in tmp_path.iterdir():
        text = file.read_text()
        assert not any(bad in text for bad in ("nan", "NaN", "None", "inf", ",,")), f"{file.name}: {text}"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["k0", "k2", "k1"], "the same items in another order; the first that differs is row 1, 'k1' and 'k2'"),
        (["k0", "k1"], "3 and 2 completions; the first that differs is row 2, 'k2' and nothing"),
        (["k0", "z", "k2"], "3 and 3 completions; the first that differs is row 1, 'k1' and 'z'"),
    ],
)
def test_other_items_are_refused_with_the_first_that_differs(keys, said):
    with pytest.raises(RlvrError, match=said):
        comparable.require_same_items(["eval/base/t/greedy", "eval/sft/t/greedy"], [["k0", "k1", "k2"], keys])


OTHER = {f"{path}/t/greedy": "a" for path in CONFIG["arms"]} | {"base/t/greedy": "b"}
"""Protocols under which base has a prompt of its own."""


def test_another_protocol_is_never_evidence():
    table = comparisons.table(results({"sft": [True] * 50}), CONFIG, OTHER)
    over_base = table[table["from"] == "base"]
    assert set(over_base["verdict"]) == {"other protocol"} and over_base["p_holm"].isna().all()
    assert gains.by_cell(table, CONFIG)["sft/t/greedy"] == "+100.0 †"


@pytest.mark.parametrize("whose", ["training", "sft"])
def test_the_cross_cell_is_what_an_arm_of_another_protocol_is_held_against(whose):
    """Whoever's name the prompt goes by: equal ones are answered once."""
    cells = [{"arm": path, "task": "t", "decoding": "greedy", "prompt": "training"} for path in CONFIG["arms"][1:]]
    cells.append({"arm": "base", "task": "t", "decoding": f"greedy-as-{whose}", "prompt": whose})
    config = {**CONFIG, "cells": cells}
    table = comparisons.table(results({"sft": [True] * 50}), config, {**OTHER, f"base/t/greedy-as-{whose}": "a"})
    row = table[(table["from"] == f"base as {whose}") & (table["to"] == "sft")].iloc[0]
    assert row["verdict"] == "evidence"
    assert gains.by_cell(table, config)["sft/t/greedy"] == "+100.0 *"


def test_the_parts_of_a_difference_add_up():
    """For any verdicts in which strict implies flexible."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(1, 40))
        flexible = rng.random((2, n)) < rng.random()
        strict = flexible & (rng.random((2, n)) < rng.random())
        first, second = (scores(list(strict[i]), list(flexible[i])) for i in (0, 1))
        found = moved.counts(moved.split(first, second), n)
        assert found["difference"] == pytest.approx(strict[1].mean() - strict[0].mean(), abs=1e-6)
        assert found["format"] + found["answer"] == pytest.approx(found["difference"], abs=2e-6)
        assert found["gained_format"] + found["gained_answer"] == found["gained"] == (strict[1] & ~strict[0]).sum()
        assert found["lost_format"] + found["lost_answer"] == found["lost"] == (strict[0] & ~strict[1]).sum()


def test_an_answer_that_was_right_before_moved_by_its_format():
    first = scores([False, False, True, True], [True, False, True, True])
    second = scores([True, True, False, False], [True, True, True, False])
    found = moved.split(first, second)
    assert list(zip(found["change"], found["part"], strict=True)) == [
        ("gained", "format"),
        ("gained", "answer"),
        ("lost", "format"),
        ("lost", "answer"),
    ]


def test_a_page_of_what_moved_is_bounded_and_escaped(tmp_path):
    n = moved.SHOWN + 15
    text = "<script>alert(1)</script>"
    answers = pd.DataFrame({"prompt": [[{"role": "user", "content": text}]] * n, "completion": [text] * n})
    sides = {"base": scores([False] * n), "sft": scores([True] * n)}
    given = SimpleNamespace(
        tasks=["t"],
        scores=lambda arm, task: sides[arm.path].assign(reason=text),
        completions=lambda arm, task: answers,
    )
    pair = pairs.Pair(Arm("base"), Arm("sft"))
    summary = moved.write(given, [pair], tmp_path)
    page = (tmp_path / "base--sft.html").read_text()
    assert text not in page and page.count("&lt;script&gt;") == 5 * moved.SHOWN
    assert "25 of them are shown, spread evenly; 15 are left out" in page
    assert len(pd.read_csv(tmp_path / "base--sft.csv")) == n == summary["gained"][0]
