"""An option that is left out means to every part of the workflow what it means to TRL."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from trl import GRPOConfig, SFTConfig

from conftest import MICRO
from rlvr import config as experiments
from rlvr import slices, trainer_options
from rlvr.errors import RlvrError
from rlvr.memory import advice, estimate, probe, sampling, shapes

CLASSES = {"sft": SFTConfig, "grpo": GRPOConfig}
EVALUATE = {"every_steps": 1, "items": 2, "samples": 2, "pass_at": [1]}


def load(tmp_path: Path, trainer: dict, **grpo) -> experiments.Config:
    file = tmp_path / "experiment.yaml"
    section = {"rewards": {"correctness": 1.0}, "trainer": trainer, **grpo}
    file.write_text(yaml.safe_dump({**MICRO, "grpo": section}))
    return experiments.load([file])


def test_completions_without_a_limit_of_their_own_are_as_long_everywhere(tmp_path, monkeypatch):
    trls = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False).max_completion_length
    cut = slices.of(load(tmp_path, {"num_generations": 4}, evaluate=EVALUATE))
    trained = cut["grpo/grpo/seed0"]
    assert trained["evaluate"]["max_completion_tokens"] == trls
    counted = []
    monkeypatch.setattr(estimate, "_training", lambda *given: counted.extend(given) or {"weights": 1})
    settings, lengths = {**sampling.resolved(cut["preflight"], "cpu"), "memory": 2**30}, shapes.Lengths(30, 60, "given")
    model = type("Model", (), {"vocab_size": 400})
    estimate._grpo("grpo", cut["preflight"]["grpo"]["grpo"], settings, model, lengths, "cpu", 0)
    [step] = [part for part in counted if isinstance(part, estimate.steps.Training)]
    [sampled] = [part for part in counted if isinstance(part, estimate.steps.Sampling)]
    assert (step.scored, step.length, sampled.completion) == (trls, 30 + trls, trls)
    probed = probe.shortened("grpo", {**trained, "engines": {"rollouts": "transformers"}})
    assert json.dumps(probed["trainer"]["generation_kwargs"]) == json.dumps({"min_new_tokens": trls})
    [shorter] = [text for text, _ in advice.changes(settings, "grpo/grpo", "cpu") if "completion" in text]
    assert shorter == f"grpo.trainer.max_completion_length: {trls // 2}"


@pytest.mark.parametrize("stage", CLASSES)
def test_the_defaults_are_those_of_trls_classes(stage):
    made = {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(CLASSES[stage])
    }
    assert {name: trainer_options.default(stage, name) for name in made} == made


def test_a_batch_and_its_groups_are_counted_as_trl_does(tmp_path):
    for options in ({}, {"gradient_accumulation_steps": 3}, {"steps_per_generation": 2}, {"generation_batch_size": 32}):
        trls = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **options)
        assert trainer_options.generated_at_once(options) == trls.generation_batch_size
        assert probe.prompts("grpo", options) == trls.generation_batch_size // trls.num_generations
        assert trainer_options.step_rows("grpo", options) == trls.train_batch_size * trls.gradient_accumulation_steps


@pytest.mark.parametrize("name", ["num_generations", "max_completion_length"])
def test_null_where_trl_would_fail_on_it_is_one_line(tmp_path, name):
    with pytest.raises(RlvrError, match=f"grpo.trainer.{name}: None is not possible; allowed: integer$"):
        load(tmp_path, {name: None})
