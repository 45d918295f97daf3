"""Model folders that no `save_pretrained` left so: one line when the config is read, or when the base is taken over."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from conftest import MICRO
from rlvr import config
from rlvr.errors import RlvrError
from rlvr.stages import base

INDEX = "model.safetensors.index.json"


def as_folder(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()


def link(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder / "nowhere")


def pipe(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)


def said(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def with_config(**values) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")

    return change


ODD = {
    "config.json is a folder": (lambda f: as_folder(f, "config.json"), "no config.json in folder"),
    "config.json is a link to nothing": (lambda f: link(f, "config.json"), "no config.json in folder"),
    "config.json is empty": (said("config.json", ""), "config.json is damaged (Expecting value"),
    "config.json is a list": (said("config.json", "[1]"), "config.json is damaged (no mapping)"),
    "config.json is NaN": (said("config.json", "NaN"), "config.json is damaged (NaN is no number)"),
    "config.json holds NaN": (with_config(rms_norm_eps=float("nan")), "config.json is damaged (NaN is no number)"),
    "config.json is nested": (said("config.json", "[" * 100_000), "config.json is damaged ("),
    "config.json is no UTF-8": (
        lambda f: (f / "config.json").write_bytes(b"\xff\xfe{\0}\0"),
        "config.json is damaged (",
    ),
    "model_type is a list": (with_config(model_type=["qwen3"]), "config.json is damaged (model_type is no text)"),
    "quantization_config is a list": (
        with_config(quantization_config=["x"]),
        "config.json is damaged (quantization_config is no mapping)",
    ),
    "quantization_config is empty": (
        with_config(quantization_config={}),
        "config.json is damaged (quantization_config is empty)",
    ),
    "quantization_config is false": (
        with_config(quantization_config=False),
        "config.json is damaged (quantization_config is no mapping)",
    ),
    "generation_config.json is empty": (said("generation_config.json", ""), "generation_config.json is damaged (Expe"),
    "generation_config.json is a list": (said("generation_config.json", "[]"), "generation_config.json is damaged (no"),
    "an end token is a text": (
        said("generation_config.json", '{"eos_token_id": [1, "</s>"]}'),
        "generation_config.json is damaged (eos_token_id is no number",
    ),
    "weights are a folder": (
        lambda f: as_folder(f, "model.safetensors"),
        "model.safetensors is a folder; allowed: a file",
    ),
    "weights are a link to nothing": (lambda f: link(f, "model.safetensors"), "model.safetensors is a link to nothing"),
    "weights are a pipe": (lambda f: pipe(f, "model.safetensors"), "model.safetensors is no file; allowed: a file"),
    "a tokenizer is a folder": (
        lambda f: as_folder(f, "tokenizer.json"),
        "tokenizer.json is a folder; allowed: a file",
    ),
    "a template is a folder": (lambda f: as_folder(f, "chat_template.jinja"), "chat_template.jinja is a folder"),
    "tokenizer_config.json is a list": (
        said("tokenizer_config.json", "[]"),
        "tokenizer_config.json is damaged (no mapping)",
    ),
    "a list as weight map": (
        said(INDEX, '{"weight_map": ["model.safetensors"]}'),
        f"{INDEX} is damaged (weight_map names",
    ),
    "no weight map": (said(INDEX, "{}"), f"{INDEX} is damaged (weight_map names no files)"),
    "an empty weight map": (said(INDEX, '{"weight_map": {}}'), f"{INDEX} is damaged (weight_map names no files)"),
    "numbers as files": (said(INDEX, '{"weight_map": {"a": 1}}'), f"{INDEX} is damaged (weight_map names no files)"),
    "files outside": (said(INDEX, '{"weight_map": {"a": "../x.safetensors"}}'), f"{INDEX} names '../x.safetensors'"),
    "files elsewhere": (said(INDEX, '{"weight_map": {"a": "/etc/passwd"}}'), f"{INDEX} names '/etc/passwd'; allowed"),
    "pickles as files": (said(INDEX, '{"weight_map": {"a": "x.bin"}}'), f"{INDEX} names 'x.bin'; allowed"),
}


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return Path(shutil.copytree(made.base, tmp_path / "model"))


@pytest.mark.parametrize("change", [each[0] for each in ODD.values()], ids=ODD)
def test_an_odd_folder_is_one_line_when_the_config_is_read(folder, tmp_path, change, request):
    change(folder)
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump({**MICRO, "base": str(folder)}), encoding="utf-8")
    with pytest.raises(RlvrError) as raised:
        config.read([file])
    expected = ODD[request.node.callspec.id][1]
    assert str(raised.value).startswith(f"{file}: base.model: ") and expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (said("tokenizer.json", "{}"), "its tokenizer can't be read ("),
        (
            said("tokenizer.json", '{"model": {"type": "BPE", "vocab": [], "merges": 3}}'),
            "its tokenizer can't be read (",
        ),
        (said("tokenizer.json", ""), "its tokenizer can't be read ("),
        (said(INDEX, '{"weight_map": {"a": "model-2.safetensors"}}'), "model-2.safetensors is missing, which"),
        (said("model.safetensors", ""), "model.safetensors is cut off or damaged"),
        (with_config(quantization_config={"quant_method": "gptq"}), "is stored quantised (gptq)"),
        (with_config(vocab_size="big"), "config.json can't be used (StrictDataclassFieldValidationError: Validation"),
        (with_config(vocab_size=-1), "config.json can't be used (RuntimeError: "),
        (with_config(num_attention_heads=0), "config.json can't be used (ZeroDivisionError: "),
        (with_config(rope_scaling={"type": "zz"}), "config.json can't be used (KeyError: 'zz')"),
        (with_config(pad_token_id=10**6), "config.json can't be used (AssertionError: "),
        (with_config(dtype="float99"), "config.json can't be used (AttributeError: "),
        (with_config(text_config={"x": 1}), "config.json can't be used (AttributeError: "),
    ],
    ids=[
        *("no model", "odd types", "empty", "a missing part", "empty weights", "quantised", "a text as size"),
        *("a size below 0", "no heads", "unknown positions", "padding beyond", "unknown numbers", "an odd text_config"),
    ],
)
def test_what_takes_reading_is_one_line_when_the_base_is_taken_over(folder, tmp_path, change, expected):
    change(folder)
    with pytest.raises(RlvrError) as raised:
        take_over(folder, tmp_path)
    assert expected in str(raised.value) and "\n" not in str(raised.value)


def test_no_quantisation_may_be_said_as_null(folder, tmp_path):
    from transformers import AutoModelForCausalLM

    with_config(quantization_config=None)(folder)
    take_over(folder, tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "weights").num_parameters()


def take_over(folder: Path, tmp_path: Path) -> None:
    slice_ = {"base": {"model": str(folder), "revision": None, "tiny": None}, "seed": 0, "device": "cpu"}
    base.run(slice_, data=[], weights=tmp_path / "weights")
