"""Controls: what they are made of, that they share what is there, and that they run."""

from __future__ import annotations

import json
from collections import Counter

import pandas as pd
import pytest
from test_dag import planned

from conftest import MICRO, snakemake, write_config
from rlvr import comparison, config, controls, slices
from rlvr.errors import RlvrError
from rlvr.reporting import pairs

ALL = ["random_reward", "format_only", "sft_longer"]


def load(tmp_path, **changes) -> config.Config:
    file = tmp_path / "experiment.yaml"
    file.write_text(json.dumps({**MICRO, **changes}))
    return config.load([file])


def test_a_control_is_the_first_variant_with_another_reward(tmp_path):
    variants = {"dapo": {"trainer": {"learning_rate": 1e-4}}, "dr_grpo": {"trainer": {"loss_type": "dr_grpo"}}}
    loaded = load(tmp_path, controls=ALL, grpo={**MICRO["grpo"], "variants": variants})
    cut = slices.of(loaded)
    for name, reward in controls.REWARDS.items():
        real, control = cut["grpo/dapo/seed0"], cut[f"grpo/{name}/seed0"]
        assert (
            real["max_zero_variance_steps"] == 100
        )  # to which a control may well come: it learns its reward, or nothing
        assert control == {**real, "rewards": reward, "max_zero_variance_steps": None}


def test_controls_run_under_the_first_seed_only(tmp_path):
    loaded = load(tmp_path, controls=ALL, seeds=[3, 4])
    assert comparison.arms(loaded) == [
        *("base", "sft", "sft/longer"),
        *("grpo/dapo/seed3", "grpo/dapo/seed4", "grpo/dr_grpo/seed3", "grpo/dr_grpo/seed4"),
        *("grpo/random_reward/seed3", "grpo/format_only/seed3"),
    ]
    named = {"sft/longer": "sft_longer", "grpo/random_reward/seed3": "random_reward"}
    assert slices.of(loaded)["report"]["controls"] == {**named, "grpo/format_only/seed3": "format_only"}


def test_a_longer_sft_takes_as_many_rows_as_grpo_samples(tmp_path):
    cut = slices.of(load(tmp_path, controls=["sft_longer"]))
    grpo, longer = cut["grpo/dapo/seed0"]["trainer"], cut["sft/longer"]["trainer"]
    assert longer["max_steps"] * longer["per_device_train_batch_size"] == 2 * grpo["per_device_train_batch_size"]
    assert {**longer, "max_steps": 3} == cut["sft"]["trainer"]


def test_a_longer_sft_goes_on_from_where_the_first_variant_starts_and_is_held_against_it(tmp_path):
    """Whatever the order of names: the slice is written with its keys sorted."""
    trainer = MICRO["sft"]["trainer"]
    sft = {"trainer": trainer, "variants": {"a": {}, "b": {"trainer": {"learning_rate": 1e-3}}}}
    variants = {"zeta": {"start": "b"}, "alpha": {"start": "a"}}
    loaded = load(tmp_path, controls=["sft_longer"], sft=sft, grpo={**MICRO["grpo"], "variants": variants})
    cut = slices.of(loaded)
    assert cut["sft/longer"]["trainer"]["learning_rate"] == 1e-3
    report = json.loads(json.dumps(cut["report"], sort_keys=True))
    found = [(pair.first.path, pair.second.path) for pair in pairs.of(report)]
    assert ("sft/b", "sft/longer") in found and ("sft/a", "sft/longer") not in found


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"controls": ["placebo"]}, "controls[0]: \"placebo\" is not possible; allowed: 'random_reward'"),
        ({"controls": ["random_reward", "random_reward"]}, "controls: each control once"),
        ({"controls": ["sft_longer"], "sft": None}, "controls: sft_longer goes with sft only, which is null"),
        (
            {"controls": ["random_reward"], "grpo": {**MICRO["grpo"], "variants": {"random_reward": {}}}},
            "grpo.variants.random_reward: is the name of a control; allowed: another name",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, changes, line):
    with pytest.raises(RlvrError) as raised:
        load(tmp_path, **changes)
    assert line in str(raised.value) and "\n" not in str(raised.value)


def test_seeds_and_controls_cost_no_second_warm_start(checkout):
    write_config(checkout, {**MICRO, "seeds": [0, 1, 2], "controls": ["random_reward", "format_only"]})
    jobs = Counter(planned(checkout))
    assert jobs["sft"] == jobs["base"] == jobs["data"] == 1
    assert jobs["grpo"] == 2 * 3 + 2


@pytest.mark.slow
@pytest.mark.usefixtures("preloaded")
def test_all_controls_run_and_stand_in_the_table(after_run):
    """About a minute: three more policies on top of a finished run."""
    before = (after_run / "results/micro/sft/manifest.json").read_bytes()
    write_config(after_run, {**MICRO, "controls": ALL})
    snakemake(after_run)
    assert (after_run / "results/micro/sft/manifest.json").read_bytes() == before
    table = pd.read_csv(after_run / "results/micro/report/pass_at_1.csv", keep_default_na=False)
    assert len(table) == 4 + len(ALL)
    longer = json.loads((after_run / "results/micro/sft/longer/manifest.json").read_text())
    assert any(path.endswith("sft/policy") for path in longer["inputs"])
    assert planned(after_run) == {}
