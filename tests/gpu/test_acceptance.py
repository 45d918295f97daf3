"""The acceptance script, part by part: on a CUDA device in full, on a CPU with the same engines at a tiny size.

python -m pytest -m gpu tests/gpu                   # with a GPU
python -m pytest -m "unsloth or vllm" tests/gpu     # without one, after `make engines`
"""

from __future__ import annotations

import json
from pathlib import Path

import acceptance
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from rlvr import availability

MISSING = [package for part in ("unsloth", "vllm", "4-bit", "smollm2") for package in availability.missing(part)]
pytestmark = [pytest.mark.gpu] if acceptance.GPU else [pytest.mark.unsloth, pytest.mark.vllm]
SMOLLM2 = [name for name in acceptance.PARTS if name != "tiny"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("acceptance")


@pytest.fixture(scope="module")
def trained() -> dict[str, dict]:
    """What TRL's arguments came to, by part."""
    return {}


@pytest.fixture(scope="module", params=SMOLLM2)
def part(request, folder) -> tuple[str, dict, Path]:
    """A part that ran: its name, what it measured, its results."""
    if MISSING:
        pytest.skip(f"needs {', '.join(MISSING)}; `make engines` installs them")
    measured = acceptance.run_part(request.param, folder)
    return request.param, measured, folder / request.param / "results" / request.param


def test_the_embedded_default_runs_and_on_a_gpu_learns(folder):
    measured = acceptance.run_part("tiny", folder)
    print(json.dumps(measured["pass_at_1"]))
    assert set(measured["pass_at_1"]) == {"base", "sft", "grpo-dapo-seed0"}
    if acceptance.GPU:
        strict = {arm: scores["countdown"]["strict"] for arm, scores in measured["pass_at_1"].items()}
        assert strict["base"] == 0
        assert strict["grpo-dapo-seed0"] >= max(0.60, strict["sft"] + 0.20)


def test_the_engines_are_those_asked_for_and_everything_is_measured(part):
    name, measured, _ = part
    training = "unsloth" if name == "unsloth" else "transformers"
    for stage in ("sft", "grpo"):
        facts = measured["training"][stage]
        assert facts["engines"]["training"] == training
        assert facts["tokens"] > 0 and facts["tokens_per_second"] > 0 and facts["peak_memory_bytes"] > 0
        assert bool(facts["peak_device_memory_bytes"]) == acceptance.GPU
    assert {row["arm"] for row in measured["generation"]} == {"base", "sft", "grpo/grpo/seed0"}
    assert all(row["tokens_per_second"] > 0 for row in measured["generation"])
    phases = measured["training"]["grpo"]["phases"]
    assert phases["sampled_tokens_per_second"] > 0 and phases["trained_tokens_per_second"] > 0
    assert measured["parameters"] > 100e6


def test_both_end_tokens_of_the_base_come_through_training_and_export(part):
    _, measured, results = part
    base = results / "model/base/weights"
    configured = json.loads((base / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    assert isinstance(configured, int), "only the generation config has both"
    assert set(measured["end_tokens"]) == {"base", "sft", "grpo/grpo/seed0"}
    assert all(len(ends) == 2 and configured in ends for ends in measured["end_tokens"].values())
    for manifest in (results / "sft/manifest.json", results / "grpo/grpo/seed0/manifest.json"):
        [protocol] = json.loads(manifest.read_text(encoding="utf-8"))["protocol"].values()
        assert len(protocol["end_tokens"]) == 2


def test_every_engine_trains_with_the_same_arguments(part, trained):
    name, measured, _ = part
    trained[name] = {stage: facts["arguments"] for stage, facts in measured["training"].items()}
    first = next(iter(trained.values()))
    assert trained[name] == first


def test_both_stages_moved_the_adapter(part):
    _, _, results = part
    warm, trained = (
        load_file(results / stage / "policy/adapter_model.safetensors") for stage in ("sft", "grpo/grpo/seed0")
    )
    assert warm.keys() == trained.keys()
    assert any(weights.abs().max() > 0 for name, weights in warm.items() if "lora_B" in name)
    assert any(not torch.equal(warm[name], trained[name]) for name in warm)
    assert all(weights.dtype == torch.float32 and weights.isfinite().all() for weights in trained.values())
    assert max(pq.read_table(results / "grpo/grpo/seed0/metrics.parquet")["reward_std"].to_pylist()) > 0


def test_the_export_is_the_16_bit_base_with_the_adapter(part):
    _, _, results = part
    stored, base = (
        load_file(results / f"model/{arm}/weights/model.safetensors") for arm in ("grpo/grpo/seed0", "base")
    )
    assert stored.keys() == base.keys()
    assert {weights.dtype for weights in stored.values()} == {torch.bfloat16}
    moved = {name for name in base if not torch.equal(stored[name], base[name])}
    assert moved and all("proj" in name for name in moved), "embeddings and norms are the base's own, not 4-bit ones"


def test_vllm_and_transformers_give_the_same_answers(part, folder):
    name, _, _ = part
    found = acceptance.agreement(name, folder)
    print(f"{name}: {json.dumps(found)}")
    assert found["items"] == acceptance.ITEMS
    assert found["same_answers"] >= 0.95 * found["items"]
    assert all(margin < 0.5 for margin in found["margins"]), "where they differ the model was undecided"
