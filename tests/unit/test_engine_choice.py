"""Which engine is taken, and which combinations are refused before any work."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
import torch

from conftest import MICRO
from rlvr import availability, config
from rlvr.engines import choice, refusals, unsloth_options
from rlvr.errors import RlvrError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LORA, QLORA = {"load_in_4bit": False}, {"load_in_4bit": True}


@pytest.fixture
def everything(monkeypatch):
    monkeypatch.setattr(choice, "installed", lambda part: True)


@pytest.mark.parametrize(
    ("adapter", "device", "obstacle", "expected"),
    [
        (LORA, CPU, None, "transformers"),
        (QLORA, CUDA, None, "unsloth"),
        (QLORA, CUDA, "another objective", "transformers"),
        (None, CUDA, None, "transformers"),
    ],
)
def test_training_goes_to_unsloth_for_an_adapter_on_a_gpu(everything, adapter, device, obstacle, expected):
    assert choice.training("auto", adapter, device, obstacle) == expected


def _variants(trainer: dict, dynamic: dict | None = None) -> dict:
    return {"plain": {"trainer": {}, "dynamic": None}, "other": {"trainer": trainer, "dynamic": dynamic}}


def test_an_experiment_that_unsloth_would_change_goes_without_it_as_a_whole():
    obstacle = refusals.unsloth_obstacle
    assert obstacle(_variants({}), True) is None
    assert obstacle(_variants({"beta": 0.1}), False) is None
    assert "beta 0.1 (variant 'other') would pull to the base" in obstacle(_variants({"beta": 0.1}), True)
    assert "grpo.dynamic (variant 'other')" in obstacle(_variants({}, {"max_rounds": 3}), False)
    assert "the adaptive entropy bonus (variant 'other')" in obstacle(_variants({"use_adaptive_entropy": True}), False)
    assert obstacle(_variants({"entropy_coef": 0.01}), False) is None, "tests/contracts: the same loss as TRL's"
    assert "bf16: false (variant 'other') would be switched on" in obstacle(_variants({"bf16": False}), False)
    assert "bf16: false (sft 'batch8')" in obstacle(_variants({}), True, {"sft": {}, "batch8": {"bf16": False}})
    assert "(variant 'other')" in obstacle(_variants({"bf16": False}), True, {"other": {}})
    assert obstacle(_variants({"bf16": False, "fp16": True}), False) is None


@pytest.mark.parametrize(("stage", "kind"), [("sft", "SFTConfig"), ("grpo", "GRPOConfig")])
def test_what_unsloth_is_given_are_trls_own_defaults(stage, kind):
    import trl

    defaults = {field.name: field.default for field in dataclasses.fields(getattr(trl, kind))}
    assert {name: defaults[name] for name in unsloth_options.TRL[stage]} == unsloth_options.TRL[stage]


def test_options_of_the_user_win_and_none_means_to_unsloth_what_it_means_to_trl():
    given = unsloth_options.as_trl("grpo", {"learning_rate": 1e-4, "epsilon": 0.1, "loss_type": "dr_grpo"})
    assert (given["learning_rate"], given["epsilon_high"], given["scale_rewards"]) == (1e-4, 0.1, None)
    assert unsloth_options.as_trl("grpo", {"epsilon_high": 0.28})["epsilon_high"] == 0.28
    assert "scale_rewards" not in unsloth_options.as_trl("grpo", {})


@pytest.mark.parametrize(
    ("trainer", "adapter", "device", "expected"),
    [
        ("transformers", LORA, CPU, "transformers"),
        ("transformers", LORA, CUDA, "transformers"),
        ("transformers", None, CUDA, "vllm_colocate"),
        ("transformers", QLORA, CUDA, "transformers"),
        ("unsloth", QLORA, CUDA, "vllm_colocate"),
    ],
)
def test_rollouts_go_to_vllm_where_it_is_safe(everything, trainer, adapter, device, expected):
    assert choice.rollouts("auto", trainer, adapter, device) == expected


def test_what_is_not_installed_is_not_chosen_and_not_accepted(monkeypatch):
    monkeypatch.setattr(availability, "missing", lambda part: [part])
    assert choice.training("auto", LORA, CUDA) == "transformers"
    assert choice.rollouts("auto", "transformers", LORA, CUDA) == "transformers"
    assert choice.generation("auto", CUDA) == "transformers"
    for ask in (
        lambda: choice.training("unsloth", LORA, CUDA),
        lambda: choice.training("auto", QLORA, CUDA),
        lambda: choice.generation("vllm", CPU),
        lambda: choice.rollouts("vllm_colocate", "transformers", LORA, CUDA),
    ):
        with pytest.raises(RlvrError, match="which is not installed; install the GPU set"):
            ask()


def test_an_explicit_pair_that_auto_led_to_is_refused_too(everything):
    with pytest.raises(RlvrError, match=r"engines\.rollouts: vllm_colocate with training: transformers and"):
        choice.rollouts("vllm_colocate", "transformers", QLORA, CUDA)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engines": {"training": "unsloth"}}, "engines.training: unsloth goes with an adapter only"),
        (
            {"engines": {"training": "transformers", "rollouts": "vllm_colocate"}, "adapter": {"load_in_4bit": True}},
            "engines.rollouts: vllm_colocate with training: transformers and adapter.load_in_4bit would round",
        ),
        (
            {"engines": {"rollouts": "vllm_colocate"}, "device": "cpu"},
            "engines.rollouts: vllm_colocate needs a GPU, TRL can't hand new weights to vLLM on a CPU",
        ),
        ({"engines": {"rollouts": "vllm_server"}}, "engines.server: is missing"),
        ({"engines": {"server": "http://a:1"}}, "engines.server: goes with rollouts: vllm_server only"),
        (
            {"engines": {"training": "unsloth", "rollouts": "vllm_server", "server": "http://a:1"}, "adapter": {}},
            "engines.rollouts: vllm_server goes without unsloth",
        ),
        (
            {"engines": {"training": "unsloth"}, "adapter": {}, "grpo": {**MICRO["grpo"], "dynamic": {}}},
            "engines.training: unsloth is not possible here: grpo.dynamic (variant 'dapo') is not possible with",
        ),
        (
            {"micro_batch": 4, "grpo": {**MICRO["grpo"], "trainer": {"entropy_coef": 0.01, "num_generations": 8}}},
            "micro_batch: 4 would change what the entropy bonus (variant 'dapo') computes",
        ),
        ({"engines": {"training": "axolotl"}}, "engines.training: \"axolotl\" is not possible; allowed: 'auto'"),
        ({"grpo": {**MICRO["grpo"], "trainer": {"use_vllm": True}}}, "trainer.use_vllm: can't be set here"),
    ],
)
def test_the_config_refuses_what_would_damage_results(tmp_path, changes, message):
    file = tmp_path / "experiment.yaml"
    file.write_text(json.dumps({**MICRO, **changes}))
    with pytest.raises(RlvrError, match=re.escape(message)):
        config.load([file])
