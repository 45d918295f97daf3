"""A GRPO run goes on exactly only where its checkpoint lies between two samplings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from conftest import MICRO, ROOT
from rlvr import config, console, resuming, slices, trainer_options
from rlvr.errors import RlvrError
from rlvr.reporting import runs


def read(tmp_path: Path, variants: dict | None = None, **trainer) -> config.Config:
    content = copy.deepcopy(MICRO)
    content["grpo"]["trainer"].pop("save_steps", None)
    content["grpo"]["trainer"] |= {"max_steps": 100, **trainer}
    content["grpo"]["variants"] = variants or {"dapo": {}}
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return config.read([file])


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"save_steps": 25, "num_iterations": 2}, "25 is not possible, as completions are sampled every 2 steps"),
        ({"save_steps": 25, "num_iterations": 2}, "allowed: multiples of 2, such as 24 or 26"),
        ({"save_steps": 10, "steps_per_generation": 4}, "allowed: multiples of 4, such as 8 or 12"),
        ({"save_steps": 1, "generation_batch_size": 16}, "allowed: multiples of 2, such as 2"),
        (
            {"save_steps": 4, "steps_per_generation": 6, "gradient_accumulation_steps": 4},
            "allowed: multiples of 3, such as 3 or 6",
        ),
        ({"save_steps": 0.25, "num_iterations": 3}, "0.25 (25 steps) is not possible"),
        ({"save_steps": 500, "num_iterations": 3, "max_steps": -1}, "such as 498 or 501"),
    ],
)
def test_checkpoints_between_two_samplings_are_refused_with_what_fits(tmp_path, trainer, expected):
    with pytest.raises(RlvrError) as raised:
        read(tmp_path, **trainer)
    assert "x.yaml: grpo.trainer.save_steps: " in str(raised.value) and expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("trainer", "taken"),
    [({"num_iterations": 3, "max_steps": 1000}, 501), ({"num_iterations": 2, "max_steps": -1}, None)],
)
def test_where_none_is_given_the_next_above_the_default_is_taken(tmp_path, trainer, taken):
    cut = slices.of(read(tmp_path, **trainer))
    assert cut["grpo/dapo/seed0"]["trainer"].get("save_steps") == taken


def test_every_variant_is_looked_at(tmp_path):
    variants = {"dapo": {}, "twice": {"trainer": {"num_iterations": 2}}}
    with pytest.raises(RlvrError, match=r"grpo\.variants\.twice\.trainer\.save_steps: 5 is not possible, .* 4 or 6$"):
        read(tmp_path, variants, save_steps=5)


@pytest.mark.parametrize(
    "trainer",
    [
        {"save_steps": 24, "num_iterations": 2},
        {"save_steps": 3, "steps_per_generation": 6, "gradient_accumulation_steps": 4},
        {"save_steps": 1, "gradient_accumulation_steps": 8},
        {"save_steps": 7, "num_iterations": 2, "save_strategy": "no"},
        {"save_steps": 7, "num_iterations": 2, "save_strategy": "epoch"},
        {"num_iterations": 3},  # the only checkpoint is the last step
        {"save_steps": 0.25, "num_iterations": 3, "max_steps": -1},  # the data decides how many steps that is
    ],
)
def test_checkpoints_that_fit_are_let_through(tmp_path, trainer):
    read(tmp_path, **trainer)


def test_micro_batches_change_nothing_of_it(tmp_path):
    file = tmp_path / "x.yaml"
    content = copy.deepcopy(MICRO)
    content["grpo"]["trainer"] |= {"max_steps": 100, "save_steps": 4, "num_iterations": 2}
    for most in (None, 1, 3):
        file.write_text(yaml.safe_dump({**content, "micro_batch": most}), encoding="utf-8")
        trainer = slices.of(config.read([file]))["grpo/dapo/seed0"]["trainer"]
        accumulation = trainer_options.value("grpo", trainer, "gradient_accumulation_steps")
        assert resuming.exact(4, accumulation, resuming.every(trainer))
        assert not resuming.exact(3, accumulation, resuming.every(trainer))


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("presets/*.yaml")), ids=lambda file: file.stem)
def test_every_preset_goes_on_exactly(file):
    found = config.read([file])
    for name in found.grpo.variants:
        resuming.check(slices.grpo_variant(found, name)["trainer"], name)


def test_the_report_says_which_run_was_resumed_between_two_samplings():
    manifests = {
        "grpo/a/seed0/manifest.json": {"resumed": {"step": 7, "exact": False}},
        "grpo/b/seed0/manifest.json": {"resumed": {"step": 8, "exact": True}},
        "grpo/c/seed0/manifest.json": {"resumed": None},
        "sft/manifest.json": {},
    }
    arms = [name.removesuffix("/manifest.json") for name in manifests]
    [line] = runs.inexact(arms, manifests)
    assert line.startswith("grpo/a/seed0 was resumed at 7, not exact: ")


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.fixture(scope="module")
def train(made, tmp_path_factory) -> Callable:
    """Trains GRPO; with `killed`, is killed after that step first and goes on. Returns weights and what is recorded."""
    from rlvr.engines import checkpoints
    from rlvr.stages import grpo

    trainer = {
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 6,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "save_steps": 1,
        "gradient_checkpointing": False,
    }

    def run(data: Path, killed: int | None = None, **options) -> SimpleNamespace:
        folder = tmp_path_factory.mktemp("run")
        slice_ = {**made.cut["grpo/dapo/seed0"], "trainer": {**trainer, **options}, "rewards": {"random": 1.0}}
        files = {key: folder / f"{key}.parquet" for key in ("metrics", "completions", "evaluated")}

        def stage() -> dict:
            return grpo.run(slice_, base=made.base, data=[data], policy=folder / "policy", **files)

        def kill(self, args, state, control, **kwargs):
            if state.global_step == killed:
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            if killed is not None:
                patch.setattr(checkpoints.Sealer, "on_step_begin", kill, raising=False)
                with pytest.raises(Killed):
                    stage()
        facts = stage()
        [file] = (folder / "policy").glob("*.safetensors")
        return SimpleNamespace(weights=load_file(file), resumed=facts["resumed"])

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "rows", "steps"),
    [
        ({"num_iterations": 2}, None, {2: True, 3: False}),
        # An epoch of 6 micro-batches in steps of 4 and 2: the third step begins an epoch, and 3 x 4 is two samplings.
        ({"steps_per_generation": 6, "gradient_accumulation_steps": 4}, 14, {2: True, 3: False}),
    ],
    ids=["two iterations", "short last step"],
)
def test_what_is_recorded_is_what_happens_to_the_weights(made, train, tmp_path, monkeypatch, options, rows, steps):
    said = []
    monkeypatch.setattr(console, "say", said.append)
    data = made.train
    if rows:
        data = tmp_path / "train.parquet"
        pq.write_table(pq.read_table(made.train).slice(0, rows), data)
    whole = train(data, **options)
    assert whole.resumed is None
    for step, exact in steps.items():
        resumed = train(data, killed=step, **options)
        assert resumed.resumed == {"step": step, "exact": exact}
        same = all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
        assert same == exact, step
        assert f"grpo: goes on from checkpoint-{step}{'' if exact else ', not exact'}" in said


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 3])
def test_a_run_in_its_second_epoch_goes_on_with_the_prompts_that_come_next(made, train, tmp_path, step):
    data = tmp_path / "train.parquet"
    pq.write_table(pq.read_table(made.train).slice(0, 4), data)  # an epoch of 2 steps
    whole, resumed = train(data), train(data, killed=step)
    assert resumed.resumed == {"step": step, "exact": True}
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
