"""A frozen base that moves while an adapter trains ends the run; what did not move is on record."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_stages import GRPO, LORA, SFT, run_grpo, run_sft

from rlvr.engines import checkpoints, loading, models
from rlvr.engines.frozen import Frozen
from rlvr.errors import RlvrError
from rlvr.stages import sft

CPU = torch.device("cpu")


def adapted(base: Path) -> torch.nn.Module:
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(models.load_model(base, CPU, torch.float32), config)


def nudge(model: torch.nn.Module, part: str, factor: float = 1.01) -> None:
    [weights] = [each for name, each in model.named_parameters() if part in name and not each.requires_grad]
    weights.data.mul_(factor)


@pytest.fixture
def nudged(monkeypatch):
    """One frozen matrix grows by 1 % at the second step of any training."""

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step == 1:
            nudge(model, "layers.0.mlp.up_proj.base_layer.weight")

    monkeypatch.setattr(checkpoints.Sealer, "on_step_begin", on_step_begin)


def grpo(made, folder: Path, **changes) -> Path:
    return run_grpo(made, folder, None, **changes)


@pytest.mark.parametrize("run", [run_sft, pytest.param(grpo, marks=pytest.mark.slow)])
def test_a_base_that_moves_while_training_is_named_and_nothing_is_saved(made, tmp_path, nudged, run):
    stage = SFT if run is run_sft else GRPO
    options = {**stage["trainer"], "max_steps": 3, "save_steps": 1}
    with pytest.raises(RlvrError, match=r"layers.0.mlp.up_proj.base_layer.weight is frozen, but training changed it"):
        run(made, tmp_path, adapter=LORA, trainer=options)
    assert not (tmp_path / "policy").exists()
    sealed = [seal.parent.name for seal in tmp_path.rglob(checkpoints.SEAL)]
    assert sealed == ["checkpoint-1"], "no run goes on from what came after"


def test_the_manifest_says_that_the_base_did_not_move(made, tmp_path):
    files = {"policy": tmp_path / "policy", "metrics": tmp_path / "metrics.parquet"}
    facts = sft.run({**SFT, "adapter": LORA}, base=made.base, data=[made.sft], **files)["base_weights"]
    assert facts["frozen"] == 13 and facts["before"] == facts["after"]


def test_files_of_the_base_that_change_under_a_training_of_all_weights_are_named(made, tmp_path):
    model = models.load_model(made.base, CPU, torch.float32)
    (tmp_path / "model.safetensors").write_bytes(b"before")
    frozen = Frozen(model, tmp_path)
    facts = frozen.check()
    assert facts["frozen"] == 0 and facts["before"] == facts["after"]
    (tmp_path / "model.safetensors").write_bytes(b"after")
    with pytest.raises(RlvrError, match=r"model.safetensors is frozen, but training changed it"):
        frozen.check()


def test_an_adapter_merged_and_taken_out_again_moves_last_digits_only(made):
    """What TRL does to hand weights to vLLM."""
    torch.manual_seed(0)
    model = adapted(made.base)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.1)
    exact, rounded = Frozen(model, made.base), Frozen(model, made.base, synced=True)
    model.merge_adapter()
    model.unmerge_adapter()
    found = rounded.check()
    assert found["before"] != found["after"]
    with pytest.raises(RlvrError, match="is frozen"):
        exact.check()
    nudge(model, "layers.0.self_attn.q_proj.base_layer.weight", 1.002)
    with pytest.raises(RlvrError, match=r"q_proj.base_layer.weight is frozen, .* by 0.20% of its norm; allowed: 0.1%"):
        rounded.check()


@pytest.mark.unsloth
@pytest.mark.parametrize("part", ["packed weights", "quantisation state"])
def test_a_base_in_4_bits_that_moves_is_named(made, part):
    request = loading.Request(made.base, None, {**LORA, "load_in_4bit": True}, CPU, 64, 0)
    model, config = loading.engine("transformers").load(request)
    frozen = Frozen(get_peft_model(model, config), made.base)
    frozen.check()
    [weights] = [each for name, each in model.named_parameters() if "0.mlp.up_proj.base_layer.weight" in name]
    if part == "packed weights":
        weights.data[0] += 1
    else:
        weights.quant_state.code *= 1.01
    with pytest.raises(RlvrError, match=r"mlp.up_proj.base_layer.weight is frozen, but training changed it"):
        frozen.check()
