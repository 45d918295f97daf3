"""What export leaves: weights rounded once, the stop tokens and prompts of training, a GGUF file, a card that works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from test_dag import planned
from transformers import AutoModelForCausalLM, AutoTokenizer

from conftest import MICRO, write_config
from rlvr import gguf as llama_cpp
from rlvr import provenance, tiny
from rlvr.engines import loading, models
from rlvr.errors import RlvrError
from rlvr.reporting import model_card
from rlvr.stages import export, gguf

SLICE = {"dtype": "bfloat16", "device": "cpu"}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def adapter(made, tmp_path_factory) -> Path:
    """An adapter whose every matrix differs from 0."""
    folder = tmp_path_factory.mktemp("adapter") / "policy"
    model = get_peft_model(
        models.load_model(made.base, CPU, torch.float32),
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False),
    )
    models.save_policy(model, models.load_tokenizer(made.base), folder)
    return folder


def exported(base: Path, policy: Path, folder: Path) -> Path:
    weights = folder / "model" / "grpo" / "dapo" / "seed0" / "weights"
    export.run(SLICE, base=base, policy=policy, weights=weights)
    return weights


def with_files(base: Path, folder: Path, **changes: dict) -> Path:
    """A copy of a model folder with keys of its JSON files changed; `generation_config` stands for that file."""
    shutil.copytree(base, folder)
    for name, values in changes.items():
        file = folder / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return folder


def test_merged_weights_are_rounded_once(made, adapter, tmp_path):
    stored = load_file(exported(made.base, adapter, tmp_path) / "model.safetensors")
    weights, lora = load_file(made.base / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    part = f"base_model.model.{name.removesuffix('.weight')}"
    exact = weights[name] + 2 * lora[f"{part}.lora_B.weight"] @ lora[f"{part}.lora_A.weight"]
    assert torch.equal(stored[name], exact.to(torch.bfloat16))
    model = models.load_model(made.base, CPU, torch.bfloat16)
    twice = models.PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()[name]
    errors = [(each.float() - exact).abs().mean() for each in (stored[name], twice)]
    assert errors[0] < errors[1]


def test_generation_stops_where_training_stopped_and_samples_by_no_default_of_the_base(made, tmp_path):
    base = models.load_model(made.base, CPU, torch.bfloat16)
    tokens = torch.tensor([[40, 41, 42]])
    said = base.generate(tokens, max_new_tokens=6, do_sample=False, eos_token_id=None)[0, 3:].tolist()
    second = with_files(
        made.base,
        tmp_path / "base",
        generation_config={
            "eos_token_id": [2, said[3]],
            "temperature": 0.7,
            "do_sample": True,
            "repetition_penalty": 9.0,
        },
    )
    weights = exported(second, second, tmp_path)
    kept = json.loads((weights / "generation_config.json").read_text())
    assert set(kept) == {"eos_token_id", "pad_token_id", "transformers_version"}
    model, tokenizer = AutoModelForCausalLM.from_pretrained(weights), AutoTokenizer.from_pretrained(weights)
    assert kept["eos_token_id"] == models.end_tokens(models.load_model(second, CPU, torch.float32), tokenizer)
    assert kept["pad_token_id"] == tokenizer.pad_token_id
    ended = model.generate(tokens, max_new_tokens=6)[0, 3:].tolist()
    assert ended == said[: said.index(said[3]) + 1]


def test_the_chat_template_is_stored_byte_for_byte(made, adapter, tmp_path):
    template = (made.base / "chat_template.jinja").read_bytes() + "{# é \t #}\n\n ".encode()
    policy = Path(shutil.copytree(adapter, tmp_path / "policy"))
    (policy / "chat_template.jinja").write_bytes(template)
    weights = exported(made.base, policy, tmp_path)
    assert (weights / "chat_template.jinja").read_bytes() == template


def test_large_weights_are_stored_in_shards(made, adapter, tmp_path, monkeypatch):
    whole = load_file(exported(made.base, adapter, tmp_path / "whole") / "model.safetensors")
    monkeypatch.setattr(export, "SHARD", "30KB")
    weights = exported(made.base, adapter, tmp_path)
    shards = sorted(weights.glob("model-*.safetensors"))
    assert len(shards) > 1 and (weights / "model.safetensors.index.json").is_file()
    joined = {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
    assert joined.keys() == whole.keys() and all(torch.equal(joined[name], whole[name]) for name in whole)


def test_a_quantised_base_is_refused(made, adapter, tmp_path):
    base = with_files(made.base, tmp_path / "base", config={"quantization_config": {"quant_method": "bitsandbytes"}})
    with pytest.raises(
        RlvrError, match=r"its weights are quantised \(bitsandbytes\).* allowed: the same base in 16 or 32"
    ):
        exported(base, adapter, tmp_path)
    assert not (tmp_path / "model").exists()


def test_an_adapter_of_another_base_is_refused(made, adapter, tmp_path):
    policy = Path(shutil.copytree(adapter, tmp_path / "sft" / "policy"))
    other = Path(shutil.copytree(made.base, tmp_path / "other" / "weights"))
    (other / "extra.json").write_text("{}")
    provenance.write_manifest(other.parent / "manifest.json", [other], {})
    provenance.write_manifest(policy.parent / "manifest.json", [policy], {"inputs": {"model/base/weights": "abc"}})
    for use in (
        lambda: exported(other, policy, tmp_path),
        lambda: loading.Request(other, policy, None, CPU, 64, 0),
        lambda: models.merged(other, policy),
    ):
        with pytest.raises(
            RlvrError, match=r"trained on another base model \(model/base/weights\) than .*other/weights"
        ):
            use()
    assert not (tmp_path / "model").exists()


def script(folder: Path, body: str) -> Path:
    """A stand-in for llama.cpp's script, which is in no package: takes the same arguments."""
    file = folder / llama_cpp.SCRIPT
    file.write_text(
        "import argparse, pathlib\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('model', type=pathlib.Path)\n"
        "parser.add_argument('--outfile', type=pathlib.Path)\n"
        "parser.add_argument('--outtype', choices=['f32', 'f16', 'bf16', 'q8_0', 'auto'])\n"
        f"given = parser.parse_args()\n{body}\n"
    )
    return file


def test_the_converter_is_found_by_its_folder_or_on_the_path(tmp_path, monkeypatch):
    monkeypatch.delenv(llama_cpp.FOLDER, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RlvrError, match=r"export.gguf: needs convert_hf_to_gguf.py of llama.cpp, .* set LLAMA_CPP_DIR"):
        llama_cpp.converter()
    file = script(tmp_path, "")
    assert llama_cpp.converter() == file
    monkeypatch.setenv(llama_cpp.FOLDER, str(tmp_path / "elsewhere"))
    with pytest.raises(RlvrError, match=r"LLAMA_CPP_DIR: .*elsewhere' holds no convert_hf_to_gguf.py"):
        llama_cpp.converter()


def test_a_converted_model_appears_whole_or_not_at_all(made, tmp_path, monkeypatch):
    monkeypatch.setenv(llama_cpp.FOLDER, str(tmp_path))
    file = tmp_path / "model.f16.gguf"
    script(tmp_path, "given.outfile.write_bytes(b'GGUF' + given.outtype.encode())")
    assert gguf.run({"type": "f16"}, model=made.base, file=file) == {"bytes": 7}
    assert file.read_bytes() == b"GGUFf16"
    file.unlink()
    for body, said in (
        ("given.outfile.write_bytes(b'GGUF'); raise SystemExit('Model X is not supported')", "status 1.*X is not supp"),
        ("given.outfile.write_bytes(b'JUNK')", "exit status 0"),
        ("", "it said nothing"),
    ):
        script(tmp_path, body)
        with pytest.raises(RlvrError, match=rf"convert_hf_to_gguf.py could not convert .*{said}"):
            gguf.run({"type": "f16"}, model=made.base, file=file)
        assert not list(tmp_path.glob("*gguf")) and not list(tmp_path.glob(".*part"))


def test_gguf_asked_for_later_converts_and_does_nothing_else(after_run, tmp_path):
    script(tmp_path, "")
    write_config(after_run, {**MICRO, "export": {"gguf": "q8_0"}})
    assert planned(after_run, LLAMA_CPP_DIR=str(tmp_path)) == {"gguf": 3}


@pytest.mark.skipif(llama_cpp.FOLDER not in os.environ, reason="LLAMA_CPP_DIR names no checkout of llama.cpp")
@pytest.mark.skipif("RLVR_SMOLLM2" not in os.environ, reason="RLVR_SMOLLM2 names no folder of a real model")
def test_llama_cpps_own_script_converts_a_real_model(tmp_path):
    weights = exported(Path(os.environ["RLVR_SMOLLM2"]), Path(os.environ["RLVR_SMOLLM2"]), tmp_path)
    file = tmp_path / "model.f16.gguf"
    gguf.run({"type": "f16"}, model=weights, file=file)
    import gguf as package

    fields = package.GGUFReader(file).fields
    assert fields["tokenizer.chat_template"].contents() == (weights / "chat_template.jinja").read_text()
    [end] = json.loads((weights / "generation_config.json").read_text())["eos_token_id"]
    assert fields["tokenizer.ggml.eos_token_id"].contents() == end


@pytest.mark.parametrize("text", ["", "plain", "`", "``a``", "a\n# b", "```\n# out"])
def test_no_text_breaks_out_of_code(text):
    inline = model_card.inline(text)
    run = re.match("`+", inline)[0]
    assert "\n" not in inline and inline.endswith(run) and run not in inline[len(run) : -len(run)]
    block = model_card.fenced(text, "json")
    fence = re.match("`+", block)[0]
    assert block.endswith(f"\n{fence}") and fence not in block[len(fence) : -len(fence)]


def test_the_card_has_the_table_valid_front_matter_and_an_example_that_works(finished):
    from huggingface_hub import ModelCard

    report = finished / "results/micro/report"
    text = (report / "models" / "grpo-dapo-seed0.md").read_text()
    card = ModelCard(text)
    [result] = card.data.eval_results
    row = pd.read_csv(report / "pass_at_1.csv").iloc[2]
    assert (result.dataset_type, result.metric_value) == ("countdown", round(100 * row["strict"], 1))
    assert (report / "pass_at_1.md").read_text().strip() in text
    assert "reward `correctness`, weight 1" in text and "Generation ends at `<|im_end|>`" in text
    for arm, slug in (("sft", "sft"), ("grpo/dr_grpo/seed0", "grpo-dr_grpo-seed0")):
        assert (report / "models" / f"{slug}.md").is_file()
        readme = (finished / "results/micro/model" / arm / "weights" / "README.md").read_text()
        assert f"`report/models/{slug}.md`" in readme
    example = re.search(r"```python\n(.+?)\n```", text, re.DOTALL)[1]
    subprocess.run([sys.executable, "-c", example], cwd=finished, check=True, capture_output=True)


@pytest.mark.slow
def test_vllm_stops_where_training_stopped(made, tmp_path, monkeypatch):
    """A minute, most of it vLLM's start."""
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    vllm = pytest.importorskip("vllm")
    tokenizer = models.load_tokenizer(made.base)
    first = tmp_path / "first"
    tiny.build_model(tokenizer, 0, hidden_size=64, layers=1, heads=2).to(torch.bfloat16).save_pretrained(first)
    tokenizer.save_pretrained(first)
    tokens = [40, 41, 42]
    base = models.load_model(first, CPU, torch.float32)
    said = base.generate(torch.tensor([tokens]), max_new_tokens=6, do_sample=False, eos_token_id=None)[0, 3:].tolist()
    second = with_files(first, tmp_path / "base", generation_config={"eos_token_id": [2, said[3]]})
    engine = vllm.LLM(
        str(exported(second, second, tmp_path)),
        dtype="float32",
        max_model_len=64,
        enforce_eager=True,
        gpu_memory_utilization=0.1,
    )
    parameters = engine.get_default_sampling_params()
    assert (parameters.repetition_penalty, parameters.top_p) == (1.0, 1.0)
    parameters.temperature, parameters.max_tokens = 0.0, 6
    [answer] = engine.generate([{"prompt_token_ids": tokens}], parameters)
    assert answer.outputs[0].finish_reason == "stop"
    assert list(answer.outputs[0].token_ids) == said[: said.index(said[3]) + 1]
