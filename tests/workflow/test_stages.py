"""The stages themselves on a tiny model: adapters, resuming, padding, devices, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rlvr import provenance, tables, unfinished
from rlvr.engines import checkpoints, device, generation, models
from rlvr.engines.decoding import Decoding, Sampled
from rlvr.errors import RlvrError
from rlvr.stages import export, generate, grpo, score, sft

TRAINER = {"per_device_train_batch_size": 8, "gradient_checkpointing": False, "learning_rate": 1e-2}
SFT = {"trainer": {**TRAINER, "max_steps": 4, "save_steps": 2}, "adapter": None, "device": "cpu", "seed": 0}
SFT["engines"] = {"training": "auto", "obstacle": None}
GRPO = {
    **SFT,
    "trainer": {**TRAINER, "max_steps": 2, "num_generations": 4, "max_completion_length": 6},
    "rewards": {"correctness": 1.0, "format": 0.1},
    "dynamic": None,
    "max_failures": 0.1,
    "max_logp_difference": 0.5,
    "max_zero_variance_steps": 100,
    "keep_completions": None,
    "evaluate": None,
    "order": "shuffled",
    "engines": {"training": "auto", "rollouts": "auto", "server": None, "obstacle": None},
}
LORA = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear", "load_in_4bit": False}


def run_sft(made, folder: Path, tracking: Path | None = None, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {"policy": folder / "policy", "metrics": folder / "metrics.parquet", "tracking": tracking}
    sft.run({**SFT, **changes}, base=made.base, data=[made.sft], **files)
    return folder / "policy"


def run_grpo(made, folder: Path, start: Path | None, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {"policy": folder / "policy", "metrics": folder / "m.parquet", "completions": folder / "c.parquet"}
    outputs["evaluated"] = folder / "e.parquet"
    grpo.run({**GRPO, **changes}, base=made.base, sft=start, data=[made.train], held_out=[made.eval], **outputs)
    return folder / "policy"


def weights_of(policy: Path) -> dict[str, torch.Tensor]:
    [file] = policy.glob("*.safetensors")
    return load_file(file)


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("beta", [0.0, 0.1], ids=["no KL", "KL"])
def test_one_adapter_goes_through_sft_and_grpo_and_is_merged(made, tmp_path, beta):
    warm = run_sft(made, tmp_path / "sft", adapter=LORA)
    trained = run_grpo(
        made, tmp_path / "grpo", warm, adapter=LORA, trainer={**GRPO["trainer"], "beta": beta, "learning_rate": 0.1}
    )
    for policy in (warm, trained):
        assert models.is_adapter(policy)
        assert not list(policy.glob("model*.safetensors")), "an adapter holds no base weights"
    assert sorted(path.name for path in trained.iterdir() if path.is_dir()) == [], "no reference adapter is stored"
    assert weights_of(warm).keys() == weights_of(trained).keys()

    merged = tmp_path / "model" / "weights"
    slice_ = {"dtype": "bfloat16", "device": "cpu", "base": {"model": "tiny", "revision": None}}
    export.run(slice_, base=made.base, policy=warm, weights=merged)
    from peft import PeftModel

    tokens = torch.tensor([[5, 6, 7, 8, 9]])
    adapted = PeftModel.from_pretrained(models.load_model(made.base, torch.device("cpu"), torch.float32), warm)
    plain = models.load_model(made.base, torch.device("cpu"), torch.float32)
    stored = models.load_model(merged, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        expected, got, without = (model(tokens).logits for model in (adapted, stored, plain))
    assert (expected - got).abs().max() < 0.05 * (expected - without).abs().max()


def test_full_training_goes_on_from_the_sft_weights(made, tmp_path):
    warm = run_sft(made, tmp_path / "sft")
    trained = run_grpo(made, tmp_path / "grpo", warm, trainer={**GRPO["trainer"], "learning_rate": 1e-12})
    first, second = weights_of(warm), weights_of(trained)
    assert all(torch.allclose(first[key], second[key], atol=1e-6) for key in first)
    assert not equal(first, weights_of(made.base))


def test_grpo_starts_from_the_base_without_a_warm_start(made, tmp_path):
    trained = run_grpo(made, tmp_path / "grpo", None, trainer={**GRPO["trainer"], "learning_rate": 1e-12})
    first, second = weights_of(made.base), weights_of(trained)
    assert all(torch.allclose(first[key], second[key], atol=1e-6) for key in first)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(made, tmp_path, monkeypatch, stage):
    changes = {"trainer": {**(SFT if stage == "sft" else GRPO)["trainer"], "max_steps": 4, "save_steps": 2}}
    if stage == "grpo":
        changes["rewards"] = {"random": 1.0}  # the others would not move a model that is never right
    run = run_sft if stage == "sft" else lambda m, folder, **c: run_grpo(m, folder, None, **c)
    whole = weights_of(run(made, tmp_path / "whole", **changes))

    def kill(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints.Sealer, "on_step_begin", kill)
        run(made, tmp_path / "killed", **changes)
    assert not (tmp_path / "killed" / "policy").exists()
    assert list((tmp_path / "killed").rglob(checkpoints.SEAL))
    assert equal(weights_of(run(made, tmp_path / "killed", **changes)), whole)
    name = "metrics.parquet" if stage == "sft" else "m.parquet"
    metrics = [pd.read_parquet(tmp_path / folder / name) for folder in ("whole", "killed")]
    timed = ["step_time", "sampling_time"]
    pd.testing.assert_frame_equal(*(each.drop(columns=timed, errors="ignore") for each in metrics), check_exact=True)
    if stage == "grpo":
        rows = [tables.read(tmp_path / folder / "c.parquet") for folder in ("whole", "killed")]
        assert rows[0] == rows[1], "what was sampled before the kill is kept"


def test_a_checkpoint_of_another_config_is_not_used(made, tmp_path):
    runs = [("sft", SFT), ("sft", {**SFT, "seed": 1}), ("grpo", SFT)]
    keys = [checkpoints.key(stage, config=config) for stage, config in runs]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("damage", ["optimizer.pt", "rng_state.pth", checkpoints.SEAL])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage):
    for step in (2, 4):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        for name in ("optimizer.pt", "rng_state.pth"):
            (checkpoint / name).write_bytes(b"x")
        checkpoints.Sealer().on_save(SimpleNamespace(output_dir=tmp_path), SimpleNamespace(global_step=step), None)
    assert checkpoints.latest(tmp_path).name == "checkpoint-4"
    (tmp_path / "checkpoint-4" / damage).unlink()
    assert checkpoints.latest(tmp_path).name == "checkpoint-2"


def test_two_runs_do_not_train_in_one_place(tmp_path):
    with (
        unfinished.kept(tmp_path / "policy", "key"),
        pytest.raises(RlvrError, match="another process is training here"),
        unfinished.kept(tmp_path / "policy", "key"),
    ):
        pass


def test_a_batch_gives_what_single_prompts_give(made, tmp_path):
    model = run_sft(made, tmp_path / "sft", trainer={**TRAINER, "max_steps": 60})
    prompts = [row["prompt"] for row in tables.read(made.eval)]
    prompts[3] = [{"role": "user", "content": "A much longer prompt than the others. " * 3}]
    cpu = torch.device("cpu")
    batched = generation.generate("transformers", model, prompts, cpu, Decoding(8, batch_size=5), 0, title="")[0]
    single = generation.generate("transformers", model, prompts, cpu, Decoding(8, batch_size=1), 0, title="")[0]
    assert batched == single
    assert len({found[0]["completion"] for found in batched}) > 1


def test_samples_are_drawn_by_the_seed_under_the_arms_own_prompt_and_each_is_judged(made, tmp_path):
    own = {"task": "countdown", "system_prompt": "Add.", "user_prompt": None}
    base = {"max_completion_tokens": 6, "batch_size": 6, "engine": "transformers", "device": "cpu"}
    sampled = {"samples": 3, "temperature": 1.0, "top_p": 1.0, "seed": 0}
    found = []
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        config = {**base, "prompt": own, "sampled": {**sampled, "seed": seed}}
        completions = tmp_path / f"{name}.parquet"
        generate.run(config, model=made.base, data=made.eval, completions=completions)
        found.append(tables.read(completions))
    items = tables.read(made.eval)
    assert [row["key"] for row in found[0]] == [item["key"] for item in items for _ in range(3)]
    assert found[0] == found[1] != found[2]
    assert len({row["completion"] for row in found[0][:3]}) > 1
    for row in found[0]:
        assert len(row["logprobs"]) == row["tokens"] and max(row["logprobs"]) <= 0
    for row, item in zip(found[0][::3], items, strict=True):
        assert row["prompt"] == [{"role": "system", "content": "Add."}, item["prompt"][-1]]

    scores = tmp_path / "scores.parquet"
    score.run({"task": "countdown"}, data=made.eval, completions=tmp_path / "first.parquet", scores=scores)
    assert [row["key"] for row in tables.read(scores)] == [row["key"] for row in found[0]]
    tables.write(tmp_path / "cut.parquet", found[0][:-1], tables.ANSWER)
    with pytest.raises(RlvrError, match="its items are not those of"):
        score.run({"task": "countdown"}, data=made.eval, completions=tmp_path / "cut.parquet", scores=scores)


def test_a_completion_ends_at_the_end_token():
    tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: " ".join(map(str, ids)))
    ended = generation.completion_of(Sampled([5, 6, 2, 0, 0], [-1.0, -2.0, -3.0, 0.0, 0.0]), [2], tokenizer)
    cut = generation.completion_of(Sampled([5, 6, 7]), [2], tokenizer)
    assert ended == {"completion": "5 6", "tokens": 3, "finish": "stop", "logprobs": [-1.0, -2.0, -3.0]}
    assert cut == {"completion": "5 6 7", "tokens": 3, "finish": "length"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused_before_a_model_is_loaded(made, tmp_path):
    with pytest.raises(RlvrError, match=r"device: cuda, but torch .* sees no CUDA device; allowed here: auto or cpu"):
        sft.run(
            {**SFT, "device": "cuda"},
            base=tmp_path / "no such model",
            data=[made.sft],
            policy=tmp_path / "policy",
            metrics=tmp_path / "m.parquet",
        )
    assert not list(tmp_path.iterdir())


def test_auto_says_which_device_it_took_and_why(capfd):
    chosen = device.choose("auto")
    assert f"device: {chosen}" in capfd.readouterr().err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_stage_leaves_nothing_half_done(made, tmp_path, sent):
    config = {**SFT, "trainer": {**SFT["trainer"], "max_steps": 100_000, "save_steps": 5}}
    (tmp_path / "slice.json").write_text(json.dumps(config))
    log = tmp_path / "sft.log"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "rlvr", "sft", "--config", tmp_path / "slice.json"),
            *("--base", made.base, "--data", made.sft, "--policy", tmp_path / "policy"),
            *("--metrics", tmp_path / "metrics.parquet", "--manifest", tmp_path / "manifest.json", "--log", log),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    deadline = time.monotonic() + 1200
    while not list(tmp_path.rglob(checkpoints.SEAL)):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    process.send_signal(sent)
    shown = process.communicate(timeout=600)[1]
    assert process.returncode == 130
    assert "rlvr sft: interrupted; run the same command to go on" in shown
    for name in ("policy", "metrics.parquet", "manifest.json"):
        assert not (tmp_path / name).exists()


def test_the_screen_shows_progress_and_the_log_shows_the_rest(made, tmp_path):
    (tmp_path / "slice.json").write_text(json.dumps(SFT))
    log = tmp_path / "sft.log"
    shown = subprocess.run(
        [
            *(sys.executable, "-m", "rlvr", "sft", "--config", tmp_path / "slice.json"),
            *("--base", made.base, "--data", made.sft, "--policy", tmp_path / "policy"),
            *("--metrics", tmp_path / "metrics.parquet", "--manifest", tmp_path / "manifest.json", "--log", log),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == ""
    assert all(line.startswith("sft:") for line in shown.stderr.splitlines()), shown.stderr
    assert "step/s" in shown.stderr.splitlines()[-1] or "s/step" in shown.stderr.splitlines()[-1]
    assert "device: " in log.read_text()
    assert provenance.verify(tmp_path / "policy")


def test_an_adapter_is_written_the_same_whatever_the_hash_seed(made, tmp_path):
    policy = run_sft(made, tmp_path, adapter=LORA)
    modules = json.loads((policy / "adapter_config.json").read_text())["target_modules"]
    assert len(modules) > 3 and modules == sorted(modules)
