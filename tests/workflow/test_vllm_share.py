"""What vLLM gets of the GPU while GRPO trains beside it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlvr.engines import grpo
from rlvr.memory import published, sizes, vllm_share
from rlvr.memory.machine import GIB

QWEN3 = "Qwen/Qwen3-4B-Instruct-2507"
LORA = {"r": 32, "alpha": 64.0, "load_in_4bit": False}
QLORA = {**LORA, "load_in_4bit": True}
TRAINER = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 8,
    "num_generations": 4,
    "max_completion_length": 1024,
}
"""Of the preset on 24 GB."""
LENGTH = 1024 + 300
"""GSM8K's longest prompt has fewer than 300 tokens, its system prompt included."""


def share(gib: float, adapter=LORA, training="unsloth", length=LENGTH, model=QWEN3, **trainer) -> vllm_share.Share:
    config = published.config(model)
    return vllm_share.of(config, {**TRAINER, **trainer}, adapter, training, length, int(gib * GIB))


@pytest.mark.parametrize("model", json.loads(published.FILE.read_text()))
def test_sizes_are_those_of_the_models(model):
    config = published.config(model)
    known = sizes.of(config)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    built.tie_weights()
    assert known.weights == pytest.approx(sum(weights.numel() for weights in built.parameters()), rel=1e-3)
    linear = [m for n, m in built.named_modules() if isinstance(m, torch.nn.Linear) and not n.endswith("lm_head")]
    assert known.linear == sum(module.weight.numel() for module in linear)
    assert known.adapter(8) == sum(8 * (module.in_features + module.out_features) for module in linear)
    keys = built.model.layers[0].self_attn.k_proj.out_features
    assert known.cache(32) == 32 * len(built.model.layers) * keys * 2 * 2


def test_a_4b_model_in_16_bits_samples_a_whole_generation_on_24_gb():
    found = share(24)
    assert found.sequences == found.wanted == 32
    assert 0.55 <= found.share <= 0.7
    assert f"vLLM gets {found.share:g} of the GPU (by the estimate): 32 completions of 1,324 tokens" in found.line()


def test_the_share_of_before_holds_few_and_is_said_to():
    found = share(24, vllm_gpu_memory_utilization=0.4)
    assert found.sequences < 10 and found.share == 0.4 and not found.chosen
    few = share(24, vllm_gpu_memory_utilization=0.36)
    assert few.short and "a group has 4" in few.line() and "adapter.load_in_4bit: true" in few.line()


def test_unsloths_share_contains_the_weights_that_train_and_trls_a_copy():
    capacity, small = 80 * GIB, "Qwen/Qwen2.5-0.5B-Instruct"
    for training in ("unsloth", "transformers"):
        found = share(80, adapter=LORA, training=training)
        assert found.held == sizes.of(published.config(QWEN3)).bytes(False)
        assert found.share * capacity > found.held + 32 * sizes.of(published.config(QWEN3)).cache(LENGTH)
    shared, copied = (
        vllm_share.trained(sizes.of(published.config(small)), TRAINER, LORA, unsloth, LENGTH)
        for unsloth in (True, False)
    )
    assert (shared["weights"], copied["weights"]) == (0, 4 * sizes.of(published.config(small)).weights)
    assert share(16, adapter=QLORA).held < 0.4 * share(16).held


@pytest.mark.parametrize("gib", [8, 16, 24, 80])
@pytest.mark.parametrize("adapter", [LORA, QLORA], ids=["16 bits", "4 bits"])
def test_training_fits_beside_it_or_the_cache_is_at_its_least(gib, adapter):
    found, capacity = share(gib, adapter), gib * GIB
    needs = sum(vllm_share.trained(sizes.of(published.config(QWEN3)), TRAINER, adapter, True, LENGTH).values())
    assert 0 < found.share <= 0.95
    assert found.share * (capacity - vllm_share.CONTEXT) + needs <= capacity or found.sequences <= 1
    assert found.sequences <= found.wanted


def test_a_small_model_gets_no_less_than_is_usual_where_training_fits_beside_it():
    assert share(80, model="Qwen/Qwen2.5-0.5B-Instruct").share == vllm_share.USUAL
    assert share(24).share > vllm_share.USUAL


def test_the_cache_is_for_what_is_worked_on_at_once():
    """More is never in flight; and 256 would mean to Unsloth that nothing was asked."""
    many = share(80, per_device_train_batch_size=16, gradient_accumulation_steps=64)
    assert (many.wanted, many.at_once, many.sequences) == (1024, 255, 255)
    fewer = share(80, per_device_train_batch_size=16, gradient_accumulation_steps=32)
    assert many.share == fewer.share


def test_more_memory_holds_no_fewer():
    counts = [share(gib, length=2048).sequences for gib in (10, 12, 16, 20, 24, 32, 48, 80)]
    assert counts == sorted(counts)


def test_a_model_of_unknown_size_is_said_to_be_one():
    config = published.config(QWEN3)
    config.num_experts = 8
    found = vllm_share.of(config, TRAINER, LORA, "unsloth", LENGTH, 24 * GIB)
    assert found.share == vllm_share.USUAL and "not known for this model" in found.line()


def test_grpo_hands_the_share_to_its_engine_and_says_it(tmp_path, monkeypatch, capsys):
    published.config(QWEN3).save_pretrained(tmp_path)
    monkeypatch.setattr(grpo.machine, "capacity", lambda device: 24 * GIB)
    engine = SimpleNamespace(__name__="rlvr.engines.load_unsloth")
    given = grpo._vllm(tmp_path, {"adapter": LORA}, TRAINER, engine, LENGTH)
    assert given == {"vllm": share(24).share, "at_once": 32}
    assert f"grpo: {share(24).line()}" in capsys.readouterr().err
    fixed = grpo._vllm(tmp_path, {"adapter": LORA}, {**TRAINER, "vllm_gpu_memory_utilization": 0.5}, engine, LENGTH)
    assert fixed["vllm"] == 0.5


@pytest.mark.unsloth
def test_unsloth_takes_the_number_of_completions_that_we_ask_for():
    """Else it goes by a table of free memory: 8 up to 2 GB, 16 up to 4 GB, 32 up to 8 GB."""
    import importlib.util
    from pathlib import Path

    source = Path(importlib.util.find_spec("unsloth_zoo").origin).with_name("vllm_utils.py").read_text()
    assert "if explicit_max_num_seqs: approx_max_num_seqs = max(int(max_num_seqs), 1)" in source
    assert "gpu_memory_utilization * free_memory" in source
    llama = Path(importlib.util.find_spec("unsloth").origin).parent / "models" / "llama.py"
    assert "if allowed_arg not in load_vllm_kwargs and allowed_arg in kwargs:" in llama.read_text()
