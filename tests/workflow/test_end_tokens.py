"""A base whose generation config names more end tokens than its config ends completions at all of them, by any engine.

As Qwen2.5-*-Instruct and Qwen3-*-Instruct do.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from test_stages import GRPO, LORA, SFT
from transformers import GenerationConfig

from rlvr import cli
from rlvr.engines import load_transformers, loading, models
from rlvr.errors import RlvrError

SECOND = 40
"""Any token of the tiny model's; `made.base` itself ends at token 2 alone."""
STAGES = {"sft": SFT, "grpo": GRPO}


@pytest.fixture
def base(made, tmp_path) -> Path:
    folder = Path(shutil.copytree(made.base, tmp_path / "base"))
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": [2, SECOND]}))
    return folder


def from_config(model: torch.nn.Module) -> None:
    """What is left of the generation config where a model is built from its config and then given weights."""
    for each in (model, model.get_base_model()) if hasattr(model, "peft_config") else (model,):
        each.generation_config = GenerationConfig.from_model_config(each.config)


@pytest.fixture
def built_from_config(monkeypatch) -> None:
    """An engine that builds models from their config, as Unsloth does where vLLM loads the weights."""

    def load(request):
        model, fresh = load_transformers.load(request)
        from_config(model)
        return model, fresh

    engine = SimpleNamespace(**{**vars(load_transformers), "load": load})
    monkeypatch.setattr(loading, "engine", lambda name: engine)


def run(stage: str, folder: Path, config: dict, **files: Path | list[Path]) -> Path:
    """Runs a stage as Snakemake does, with manifests; the folder of its outputs."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    line = [stage, "--config", folder / "config.json", "--manifest", folder / "manifest.json"]
    for name, given in files.items():
        line += [f"--{name.replace('_', '-')}", *(given if isinstance(given, list) else [given])]
    assert cli.main([str(part) for part in line]) == 0
    return folder


def chain(made, base: Path, folder: Path, training: str) -> Path:
    """SFT, GRPO, export, and answers of the exported model; the folder that holds one of each."""
    engines = {name: {**config["engines"], "training": training} for name, config in STAGES.items()}
    common = {"adapter": LORA}
    warm, trained = folder / "sft", folder / "grpo"
    outputs = {"policy": warm / "policy", "metrics": warm / "m.parquet"}
    run("sft", warm, {**SFT, **common, "engines": engines["sft"]}, base=base, data=[made.sft], **outputs)
    names = {"policy": "policy", "metrics": "m.parquet", "completions": "c.parquet", "evaluated": "e.parquet"}
    outputs = {name: trained / file for name, file in names.items()}
    files = {"base": base, "sft": warm / "policy", "data": [made.train], **outputs}
    run("grpo", trained, {**GRPO, **common, "engines": engines["grpo"]}, **files)
    weights = folder / "model" / "weights"
    policy = trained / "policy"
    run("export", weights.parent, {"dtype": "bfloat16", "device": "cpu"}, base=base, policy=policy, weights=weights)
    answers = {"max_completion_tokens": 6, "batch_size": 4, "engine": "transformers", "device": "cpu"}
    answered = folder / "answers"
    files = {"model": weights, "data": made.eval, "completions": answered / "completions.parquet"}
    run("generate", answered, {**answers, "sampled": None, "prompt": None}, **files)
    return folder


def all_ends(folder: Path) -> list[list[int]]:
    """The end tokens that each stage worked with, by its manifest, and those that are stored with the model."""
    found = []
    for stage in ("sft", "grpo", "model", "answers"):
        [protocol] = json.loads((folder / stage / "manifest.json").read_text())["protocol"].values()
        found.append(sorted(map(int, protocol["end_tokens"])))
    stored = json.loads((folder / "model" / "weights" / "generation_config.json").read_text())
    return [*found, sorted(stored["eos_token_id"])]


def test_an_engine_that_builds_from_the_config_trains_exports_and_answers(made, base, tmp_path, built_from_config):
    folder = chain(made, base, tmp_path / "run", "transformers")
    assert all_ends(folder) == [[2, SECOND]] * 5
    assert len(pd.read_parquet(folder / "answers" / "completions.parquet")) == 12


def test_an_engine_that_loses_end_tokens_all_the_same_is_stopped_before_training(made, base, tmp_path):
    model = models.load_model(base, torch.device("cpu"), torch.float32)
    from_config(model)
    with pytest.raises(RlvrError, match=rf"end at the tokens \[2, {SECOND}\], but as it was loaded .* at \[2\]"):
        models.require_ends_of(base, model, models.load_tokenizer(base))


@pytest.mark.unsloth
def test_unsloth_where_vllm_loads_the_weights(made, base, tmp_path, monkeypatch):
    """Unsloth's own loading, the generation config replaced as its `empty_model` does it."""
    unsloth = loading.engine("unsloth").unsloth
    from_pretrained = unsloth.FastLanguageModel.from_pretrained

    def emptied(*given, **named):
        model, tokenizer = from_pretrained(*given, **named)
        from_config(model)
        return model, tokenizer

    monkeypatch.setattr(unsloth.FastLanguageModel, "from_pretrained", emptied)
    assert all_ends(chain(made, base, tmp_path / "run", "unsloth")) == [[2, SECOND]] * 5
