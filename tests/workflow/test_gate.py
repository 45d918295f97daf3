"""The gate between export and evaluation: a sound merge passes, a broken one is named by its layer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_dag import changed
from test_stages import LORA, TRAINER, run_sft

from conftest import snakemake, write_config
from rlvr.errors import RlvrError
from rlvr.reporting import gate as shown
from rlvr.reporting.results import Arm, Results
from rlvr.sections import Gate
from rlvr.stages import export, gate

SLICE = {**Gate(prompts=4, max_completion_tokens=8).model_dump(), "device": "cpu"}
STEPS = {**TRAINER, "max_steps": 12, "learning_rate": 3e-2}


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory) -> SimpleNamespace:
    """A policy that is an adapter and one of all weights, each trained and exported."""
    folder = tmp_path_factory.mktemp("trained")
    adapter = run_sft(made, folder / "adapter", adapter=LORA, trainer=STEPS)
    whole = run_sft(made, folder / "whole", trainer=STEPS)
    return SimpleNamespace(
        base=made.base, data=made.eval, adapter=adapter, whole=whole, exported=exported(made.base, adapter, folder)
    )


def exported(base: Path, policy: Path, folder: Path) -> Path:
    export.run({"dtype": "bfloat16"}, base=base, policy=policy, weights=folder / "weights")
    return folder / "weights"


def held(trained, weights: Path, policy: Path | None = None, **changes) -> dict:
    measures = weights.parent / "gate.json"
    inputs = {"base": trained.base, "policy": policy or trained.adapter, "weights": weights, "data": [trained.data]}
    gate.run({**SLICE, **changes}, **inputs, measures=measures)
    return json.loads(measures.read_text())


def scaled(model: Path, folder: Path, factor: float, *names: str) -> Path:
    """A copy of a model or adapter with some of its tensors scaled."""
    shutil.copytree(model, folder)
    [file] = folder.glob("*.safetensors")
    tensors = load_file(file)
    for name in names:
        tensors[name] = (tensors[name] * factor).to(tensors[name].dtype)
    save_file(tensors, file, {"format": "pt"})
    return folder


def test_a_sound_merge_passes(trained):
    found = held(trained, trained.exported)
    assert found["passed"] and found["weights_differing"] == 0 and found["first_difference"] is None
    assert found["weights_held"] == len(load_file(trained.exported / "model.safetensors"))
    assert 0 < found["mean_kl"] < 1e-3 and found["tokens"] > 4


def test_a_layer_left_out_of_the_merge_is_named(trained, tmp_path):
    part = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"
    broken = scaled(trained.adapter, tmp_path / "policy", 0.0, part)
    weights = exported(trained.base, broken, tmp_path)
    with pytest.raises(RlvrError, match=r"weights: is not the model .*first to differ: model.layers.0.mlp.up_proj \("):
        held(trained, weights)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_merge_with_another_scale_is_measured_and_refused(trained, tmp_path, factor):
    policy = Path(shutil.copytree(trained.adapter, tmp_path / "policy"))
    file = policy / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"lora_alpha": factor * LORA["alpha"]}))
    weights = exported(trained.base, policy, tmp_path)
    found = held(trained, weights, mode="warn")
    assert not found["passed"] and found["weights_differing"] == 7
    most = found["mean_kl"] / 2
    said = (
        rf"mean KL .*; allowed: {most:g} or less \(gate.mean_kl\); first to differ: model.layers.0.self_attn.q_proj \("
    )
    (tmp_path / "gate.json").unlink()
    with pytest.raises(RlvrError, match=said):
        held(trained, weights, mean_kl=most)
    assert not (tmp_path / "gate.json").exists()


@pytest.mark.parametrize("nudged", ["base", "export"])
def test_one_matrix_nudged_by_one_per_cent_is_named(trained, tmp_path, nudged):
    name = "model.layers.0.self_attn.v_proj.weight"
    if nudged == "base":
        weights = exported(scaled(trained.base, tmp_path / "base", 1.01, name), trained.adapter, tmp_path)
    else:
        weights = scaled(trained.exported, tmp_path / "weights", 1.01, name)
    with pytest.raises(RlvrError, match=r"1 of \d+ weights .*; allowed: 0; first to differ: \S+0.self_attn.v_proj \("):
        held(trained, weights)


def test_a_model_of_all_weights_is_held_too(trained, tmp_path):
    weights = exported(trained.base, trained.whole, tmp_path)
    assert held(trained, weights, policy=trained.whole)["passed"]
    nudged = scaled(weights, tmp_path / "nudged" / "weights", 1.01, "model.layers.0.mlp.down_proj.weight")
    with pytest.raises(RlvrError, match=r"first to differ: model.layers.0.mlp.down_proj"):
        held(trained, nudged, policy=trained.whole)


def test_weights_that_are_not_numbers_do_not_pass(trained, tmp_path):
    weights = scaled(trained.exported, tmp_path / "weights", torch.nan, "model.norm.weight")
    with pytest.raises(RlvrError, match=r"mean KL .*first to differ: model.norm"):
        held(trained, weights)


def test_off_says_that_nothing_was_checked(trained, tmp_path):
    measures = tmp_path / "gate.json"
    files = {"base": tmp_path, "policy": tmp_path, "weights": tmp_path, "data": []}
    gate.run({**SLICE, "mode": "off"}, **files, measures=measures)
    assert json.loads(measures.read_text()) == {"checked": False, "passed": None}


def test_the_table_has_a_row_for_each_arm_that_was_held(tmp_path):
    results = Results(tmp_path, [Arm("base"), Arm("sft"), Arm("grpo/a/seed0")], [], {})
    assert shown.table(results) is None
    whole = {"prompts": 4, "tokens": 32, "mean_kl": 2.5e-7, "max_kl": None, "agreement": 1.0, "passed": False}
    whole |= {"max_logit_difference": 0.014, "weights_held": 35, "weights_differing": 1, "checked": True}
    for arm, found in (
        ("sft", whole | {"first_difference": "model.norm (1.00% of its norm, 99.0% of its numbers)"}),
        ("grpo/a/seed0", {"checked": False, "passed": None}),
    ):
        folder = tmp_path / "model" / arm / "gate"
        folder.mkdir(parents=True)
        (folder / "gate.json").write_text(json.dumps(found))
    first, second = shown.table(results).to_dict("records")
    assert (first["arm"], first["mean KL"], first["max KL"], first["passed"]) == (
        "sft",
        "2.5e-07",
        "not a number",
        "no",
    )
    assert first["passed"] == "no" and first["weights that differ"].startswith("1 of 35, first model.norm (")
    assert (second["arm"], second["mean KL"], second["passed"]) == ("grpo/a/seed0", "", "not checked")


@pytest.mark.slow
@pytest.mark.usefixtures("preloaded")
def test_a_model_that_does_not_pass_is_not_evaluated(after_run):
    weights = after_run / "results/micro/model/sft/weights"
    completions = "results/micro/eval/sft/countdown/greedy/completions.parquet"
    write_config(after_run, changed(gate={"mode": "refuse"}))
    snakemake(after_run, "results/micro/model/sft/gate/gate.json")
    assert json.loads((weights.parent / "gate" / "gate.json").read_text())["passed"]
    (after_run / completions).unlink()
    write_config(after_run, changed(gate={"mode": "refuse", "max_logit_difference": 1e-9}))
    result = snakemake(after_run, completions, check=False)
    assert result.returncode and f"{weights.relative_to(after_run)}: is not the model that was trained" in result.stdout
    assert "(gate.max_logit_difference)" in result.stdout and not (after_run / completions).exists()
