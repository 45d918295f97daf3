from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr import tiny
from rlvr_plugins.manager import catalogue
from rlvr_plugins.tasks.countdown import Options


def conversations(count: int) -> list[list[dict[str, str]]]:
    task = catalogue().task("countdown")
    train = task.splits(Options(terse=0.5), count, 10, 0).train
    return [[*task.prompt(e), {"role": "assistant", "content": task.demonstrate(e)}] for e in train]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.build_tokenizer([tiny.render(c) for c in conversations(300)], 450)


def tokens(tokenizer, messages, **options) -> list[int]:
    return tokenizer.apply_chat_template(messages, return_dict=True, **options)["input_ids"]


def test_the_same_texts_give_the_same_tokenizer_and_the_same_seed_the_same_weights(tokenizer):
    again = tiny.build_tokenizer([tiny.render(c) for c in conversations(300)], 450)
    assert again.get_vocab() == tokenizer.get_vocab()
    first, same, other = (tiny.build_model(tokenizer, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_model_and_tokenizer_load_by_the_automatic_classes_as_they_were_saved(tokenizer, tmp_path):
    model = tiny.build_model(tokenizer, 0, hidden_size=32, layers=1, heads=2)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for messages in conversations(20):
        assert tokens(loaded, messages) == tokens(tokenizer, messages)
    assert (loaded.pad_token, loaded.eos_token) == (tiny.PAD, tiny.TURN_END)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.num_parameters() == model.num_parameters()


def test_a_prompt_is_a_prefix_of_itself_with_its_completion(tokenizer):
    for messages in conversations(100):
        prompt = tokens(tokenizer, messages[:-1], add_generation_prompt=True)
        whole = tokens(tokenizer, messages)
        assert whole[: len(prompt)] == prompt
        assert whole[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(whole) == tiny.render(messages)


def test_a_constant_prompt_costs_few_tokens(tokenizer):
    assert len(tokens(tokenizer, conversations(1)[0][:-1], add_generation_prompt=True)) < 30


@given(st.text())
def test_any_text_survives(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
