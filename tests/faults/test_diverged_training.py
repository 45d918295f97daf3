"""Training that diverges ends in one line, and what it saved before is sound."""

from __future__ import annotations

import pytest
import torch
from transformers import TrainerControl, TrainerState

from conftest import run_grpo
from rlvr.engines import models, training
from rlvr.errors import RlvrError
from rlvr.stages import export, sft


def run_sft(made, folder, **trainer):
    cut = made.cut["sft"]
    outputs = {name: folder / name for name in ("policy", "metrics")}
    sft.run(cut | {"trainer": cut["trainer"] | trainer}, base=made.base, data=[made.sft], **outputs)


FAST = {"learning_rate": 1e30, "lr_scheduler_type": "constant", "max_steps": 4, "save_steps": 1}


@pytest.mark.slow
@pytest.mark.parametrize("warm", [{}, {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 2}])
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_learning_rate_of_1e30_ends_in_one_line_and_no_diverged_checkpoint_is_sealed(made, tmp_path, stage, warm):
    """With a warm-up the first step has the rate 0, and its checkpoint is sound."""
    step = 2 if warm else 1
    line = (
        rf"^{stage}: after step {step} \(learning rate [15]e\+(30|29)[^)]*\) the weights are not usable \(.*lower the"
    )
    with pytest.raises(RlvrError, match=line) as caught:
        if stage == "sft":
            run_sft(made, tmp_path, **FAST | warm)
        else:
            run_grpo(made, tmp_path, rewards={"random": 1.0}, trainer=FAST | warm)
    assert "\n" not in str(caught.value) and not (tmp_path / "policy").exists()
    sealed = [path.parent.name for path in tmp_path.glob(".checkpoints/*/checkpoint-*/rlvr_seal.json")]
    assert sealed == (["checkpoint-1"] if warm else [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_diverged_weights_are_named_with_the_step_and_its_learning_rate(value):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    callback = training.Finite("grpo")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    state = TrainerState(global_step=7, log_history=[{"step": 6, "loss": 3.0, "grad_norm": 1e9, "reward": None}])
    event = {"args": None, "state": state, "control": TrainerControl()}
    callback.on_optimizer_step(**event, optimizer=optimizer)
    callback.on_step_end(**event, model=model)
    with torch.no_grad():
        model[1].weight[0, 1] = value
    with pytest.raises(
        RlvrError, match=r"^grpo: after step 7 \(learning rate 0\.5; the step before logged loss 3, grad_nor"
    ):
        callback.on_step_end(**event, model=model)
    model[1].requires_grad_(False)
    callback.on_step_end(**event, model=model)


@pytest.mark.parametrize(("value", "dtype"), [(70_000.0, "float16"), (float("nan"), "bfloat16")])
def test_weights_that_are_not_finite_as_they_are_stored_are_not_exported(made, tmp_path, value, dtype):
    model = models.load_model(made.base, torch.device("cpu"), torch.float32)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = value
    models.save_policy(model, models.load_tokenizer(made.base), tmp_path / "policy")
    paths = {"base": made.base, "policy": tmp_path / "policy", "weights": tmp_path / "weights"}
    with pytest.raises(RlvrError, match=rf"stored as {dtype}, its weights model\.layers\.0\.mlp\.up_proj\.weight are"):
        export.run({"dtype": dtype, "device": "cpu"}, **paths)
    assert not paths["weights"].exists()
