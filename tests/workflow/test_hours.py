"""How long a run takes, by arithmetic, and what it says where it does not know."""

from __future__ import annotations

import pytest
import yaml

from conftest import MICRO, ROOT
from rlvr import config as experiments
from rlvr import slices, yaml_files
from rlvr.cli import main
from rlvr.engines import choice
from rlvr.memory import devices, estimate, hours, published, sampling, shapes, sizes, vllm_share
from rlvr.memory.machine import GIB
from rlvr.trainer_options import value


def clock(monkeypatch, preset: str, tier: int, rows: dict | None = None, **sections) -> hours.Clock:
    """Of a preset on the GPU that stands for a tier, the GPU set installed."""
    monkeypatch.setattr(choice, "installed", lambda part: True)
    raw: dict = {}
    for file in (f"presets/{preset}.yaml", f"memory/{tier}gb.yaml"):
        raw = yaml_files.merge(raw, yaml_files.load_mapping(ROOT / "config" / file))
    loaded = experiments.Config.model_validate(yaml_files.merge(raw, sections))
    cut = slices.of(loaded)
    settings = sampling.resolved(cut["preflight"], "cuda")
    model, prompt = published.config(loaded.base.model), shapes.assumed(settings["lengths"]).prompt
    shares = {
        name: vllm_share.of(
            model,
            trainer,
            settings["adapter"],
            settings["trains"],
            prompt + value("grpo", trainer, "max_completion_length"),
            tier * GIB,
        )
        for name, trainer in settings["grpo"].items()
        if trainer["use_vllm"]
    }
    return hours.Clock(settings, cut["hours"], sizes.of(model), devices.of_memory(tier), shares, prompt, rows)


def total(found: list[hours.Hours]) -> float:
    return sum(each.hours for each in found)


@pytest.mark.parametrize(
    ("preset", "tier", "low", "high"),
    [
        ("qwen2.5-3b-instruct-gsm8k", 24, 12, 15),
        ("qwen2.5-3b-instruct-gsm8k", 80, 6, 8),
        ("qwen3-4b-instruct-gsm8k", 24, 35, 35),
        ("qwen3-4b-instruct-gsm8k", 80, 11, 11),
        ("qwen2.5-3b-countdown", 24, 60, 60),
        ("qwen2.5-3b-countdown", 80, 14, 14),
    ],
)
def test_presets_take_what_another_count_of_them_came_to_within_a_factor_of_2(monkeypatch, preset, tier, low, high):
    assert low / 2 <= total(clock(monkeypatch, preset, tier).stages()) <= 2 * high


def test_more_work_takes_longer_and_a_faster_card_less(monkeypatch):
    preset = "qwen2.5-3b-instruct-gsm8k"
    plain = clock(monkeypatch, preset, 24).stages()
    trainers = {"max_steps": 100}, {"max_completion_length": 2048}, {"num_train_epochs": 2}, {"beta": 0.1}
    short, long, twice, kl = (
        total(clock(monkeypatch, preset, 24, grpo={"trainer": trainer}).stages()) for trainer in trainers
    )
    assert short < total(plain) < min(long, twice, kl)
    assert total(clock(monkeypatch, preset, 80).stages()) < total(plain)
    seeds = clock(monkeypatch, preset, 24, seeds=[0, 1, 2]).stages()
    assert [(each.runs, each.steps) for each in seeds if each.stage == "grpo/grpo"] == [(3, 1869)]
    assert total(seeds) > 2.5 * total(plain)


def test_without_vllm_sampling_takes_longer(monkeypatch):
    engines = {"rollouts": "transformers", "generation": "transformers"}
    slow, fast = (
        total(clock(monkeypatch, "qwen2.5-3b-instruct-gsm8k", 24, **sections).stages())
        for sections in ({"engines": engines}, {})
    )
    assert slow > 1.5 * fast


def test_a_filter_that_samples_and_pass_at_k_while_training_are_counted(monkeypatch):
    preset, rate = "qwen2.5-3b-instruct-gsm8k", {"pass_rate": {"samples": 4, "max_completion_tokens": 256}}
    sampled = clock(monkeypatch, preset, 24, filters=[{"tokens": {"max_prompt": 1024}}, rate]).stages()
    assert [each.stage for each in sampled] == ["rollouts", "grpo/grpo", "evaluation"]
    assert 0 < sampled[0].hours < 2
    evaluate = {"every_steps": 100, "items": 64, "samples": 8, "pass_at": [1]}
    watched = clock(monkeypatch, preset, 24, grpo={"evaluate": evaluate}).stages()
    assert total(watched) > total(clock(monkeypatch, preset, 24).stages())


def test_rows_that_are_there_are_counted_and_others_said_to_be_unknown(monkeypatch):
    few = {"tasks": {"gsm8k": {"train": 100}}}
    known = clock(monkeypatch, "qwen2.5-3b-instruct-gsm8k", 24, rows={"train": 400}).stages()
    assert [each.steps for each in known if each.stage == "grpo/grpo"] == [100]
    asked = clock(monkeypatch, "qwen2.5-3b-instruct-gsm8k", 24, **few).stages()
    assert [each.steps for each in asked if each.stage == "grpo/grpo"] == [25]
    monkeypatch.setattr(hours, "KNOWN_ROWS", {})
    [grpo, *_] = clock(monkeypatch, "qwen2.5-3b-instruct-gsm8k", 24).stages()
    assert grpo.each is None and "not known before its rows are there" in str(grpo)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4060 Ti", "RTX 4060 Ti"),
        ("rtx 4060ti", "RTX 4060 Ti"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA A2", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("GeForce GTX 1080", None),
    ],
)
def test_a_gpu_is_known_by_its_drivers_name(text, name):
    found = devices.named(text)
    assert (found and found.name) == name


def test_every_gpu_has_a_source_and_numbers_in_their_order():
    for device in devices.DEVICES:
        assert device.source and 30 <= device.tera <= 1000 and 200 <= device.bandwidth <= 5000
        assert devices.named(device.name) is device
    assert all(devices.of_memory(size).memory == size for size in devices.OF_TIER)


def test_preflight_prints_hours_of_the_card_that_is_asked_about(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "of", lambda *_, **__: [estimate.Estimate("evaluation", {"weights": 2**20})])
    engines = {"training": "transformers", "rollouts": "transformers", "generation": "transformers"}
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({**MICRO, "engines": engines}))
    for arguments, said in {
        ("--device", "rtx 4090"): "time on one RTX 4090 by arithmetic, good for a factor of 2 either way",
        ("--memory", "80GB"): "time on one H100 by arithmetic",
        ("--memory", "11GB"): "time: no numbers of a GPU with 11 GB; `rlvr preflight --device NAME` takes RTX 4060,",
    }.items():
        main(["preflight", "--configfile", str(file), *arguments])
        assert said in capsys.readouterr().out
    assert main(["preflight", "--configfile", str(file), "--device", "Voodoo 2"]) == 1
    assert "--device: 'Voodoo 2' is not possible; allowed: RTX 4060, " in capsys.readouterr().err
