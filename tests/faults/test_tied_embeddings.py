"""An adapter on embeddings that are tied to the output layer is refused before anything is trained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from conftest import MICRO
from rlvr import config
from rlvr.engines import loading
from rlvr.errors import RlvrError

CURE = "allowed: all-linear, which leaves both out, other layers, or a copy of the base saved with tie_word_embeddings"


def read(tmp_path: Path, targets: object, base: object = MICRO["base"]) -> config.Config:
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump({**MICRO, "base": base, "adapter": {"target_modules": targets}}), encoding="utf-8")
    return config.read([file])


def folder(tmp_path: Path, **more) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "qwen3", **more}), encoding="utf-8")
    return str(tmp_path / "model")


@pytest.mark.parametrize(
    ("targets", "named"),
    [
        (["q_proj", "lm_head"], "lm_head"),
        (["embed_tokens"], "model.embed_tokens"),
        (["model.embed_tokens"], "model.embed_tokens"),
        (["wte", "c_attn"], "transformer.wte"),
        ("lm_head", "lm_head"),
        (".*(embed_tokens|q_proj)", "model.embed_tokens"),
        (".*", "lm_head"),
    ],
)
def test_tied_embeddings_are_named_with_the_cure(tmp_path, targets, named):
    with pytest.raises(RlvrError) as raised:
        read(tmp_path, targets)
    assert f"x.yaml: adapter.target_modules: {named} is not possible, as tiny ties" in str(raised.value)
    assert CURE in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("targets", ["all-linear", "ALL-LINEAR", ["q_proj", "v_proj"], r".*\.mlp\..*_proj"])
def test_other_layers_get_an_adapter(tmp_path, targets):
    assert read(tmp_path, targets).adapter.target_modules == targets


@pytest.mark.parametrize(
    ("said", "tied"),
    [
        ({"tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": False}, False),
        ({"model_type": "llama"}, False),
        ({"model_type": "gemma2"}, True),
    ],
    ids=["said", "said not to", "llama's default", "gemma's default"],
)
def test_a_folder_is_asked_and_else_the_default_of_its_type(tmp_path, said, tied):
    base = folder(tmp_path, **said)
    if tied:
        with pytest.raises(RlvrError, match=r"adapter\.target_modules: lm_head is not possible"):
            read(tmp_path, ["lm_head"], base)
    else:
        read(tmp_path, ["lm_head"], base)


@pytest.mark.parametrize("odd", [{"vocab_size": "big"}, {"model_type": "none_such"}, {"text_config": {"x": 1}}])
def test_a_folder_that_can_not_be_asked_is_named(tmp_path, odd):
    base = folder(tmp_path, **odd)
    with pytest.raises(RlvrError) as raised:
        read(tmp_path, ["lm_head"], base)
    assert f"base: {base}: config.json can't be used (" in str(raised.value) and "\n" not in str(raised.value)


def test_a_base_of_the_hub_is_asked_before_it_is_loaded(tmp_path):
    read(tmp_path, ["lm_head"], "Qwen/Qwen2.5-0.5B-Instruct")
    base = Path(folder(tmp_path, tie_word_embeddings=True))
    engine = SimpleNamespace(load=lambda request: pytest.fail("was loaded"))
    request = SimpleNamespace(base=base, adapter={"target_modules": ["lm_head"]})
    with pytest.raises(RlvrError, match=re.escape(CURE)):
        loading.load(engine, request)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [("(", "'(' is no regular expression"), ([], "[] is not possible; allowed: all-linear, or at least one layer")],
)
def test_targets_that_name_nothing_are_refused(tmp_path, targets, expected):
    with pytest.raises(RlvrError) as raised:
        read(tmp_path, targets)
    assert f"adapter.target_modules: {expected}" in str(raised.value)
