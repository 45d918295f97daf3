"""What is particular to training under Unsloth."""

from __future__ import annotations

import functools
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_stages import GRPO, LORA

from rlvr.engines import grpo, load_transformers, loading, models, rollouts

CPU = torch.device("cpu")


@pytest.mark.unsloth
def test_the_adapter_that_vllm_is_handed_lies_in_the_scratch_folder_not_in_the_working_directory(
    made, tmp_path, monkeypatch
):
    load_unsloth = loading.engine("unsloth")
    from unsloth_zoo import vllm_utils

    monkeypatch.setattr(vllm_utils, "LORA_REQUEST_ID", 1, raising=False)  # as set where Unsloth has patched vLLM
    scratch, working = tmp_path / "scratch", tmp_path / "working"
    scratch.mkdir(), working.mkdir()
    monkeypatch.chdir(working)
    config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(models.load_model(made.base, CPU, torch.float32), config)
    model.load_lora = functools.partial(vllm_utils.load_lora, model)
    load_unsloth._keep_loras_in(scratch, model)
    try:
        model.load_lora("vllm_gen_lora", load_tensors=True)
    except TypeError as error:  # vLLM's request takes tensors only where Unsloth has patched vLLM, on a GPU
        assert "lora_tensors" in str(error)
    assert list(working.iterdir()) == []
    assert json.loads((scratch / "vllm_gen_lora" / "adapter_config.json").read_text())["r"] == 2


@pytest.mark.parametrize(("merges", "rounding"), [(True, True), (False, False)])
def test_a_base_that_no_merge_touches_may_not_differ_by_a_bit(made, tmp_path, monkeypatch, merges, rounding):
    """vLLM samples under both engines; only transformers hands it weights by merging the adapter into the base."""
    allowed = []

    class Frozen(grpo.Frozen):
        def __init__(self, model, base, synced=False):
            allowed.append(synced)
            super().__init__(model, base, synced)

    monkeypatch.setattr(grpo, "Frozen", Frozen)
    monkeypatch.setattr(grpo, "_vllm", lambda *given: {})
    monkeypatch.setattr(rollouts, "arguments", lambda name, server: {"use_vllm": False})
    monkeypatch.setattr(load_transformers, "MERGES_TO_SYNC", merges)
    files = {name: tmp_path / name for name in ("policy", "metrics", "completions", "evaluated")}
    files |= {"base": made.base, "data": [made.train], "held_out": [], "sft": None, "tracking": None}
    grpo.train({**GRPO, "adapter": LORA}, load_transformers, "vllm_colocate", CPU, **files)
    assert allowed == [rounding]
