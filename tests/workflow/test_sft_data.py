"""What SFT trains on: the template, the tokens that carry loss, and examples in one row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from test_stages import LORA, SFT, run_sft, weights_of
from transformers import AutoModelForCausalLM, BloomConfig, Lfm2Config, LlamaConfig, MambaConfig, Qwen3Config
from trl import SFTConfig, SFTTrainer

from rlvr import tables, tiny
from rlvr.engines import models, sft_data
from rlvr.errors import RlvrError
from rlvr.stages import sft

PACKED = {"packing": True, "max_length": 256}
FREE = {"padding_free": True, "max_length": None}
SHAPE = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {**SHAPE, "num_attention_heads": 2, "num_key_value_heads": 2}
APART = {"qwen3": Qwen3Config(**HEADS, head_dim=16), "llama": LlamaConfig(**HEADS)}
MIXING = {
    "bloom": BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=2),
    "mamba": MambaConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2),
    "lfm2": Lfm2Config(**HEADS, layer_types=["conv", "full_attention"]),
}


def trainer_of(made, folder: Path, rows: list[dict] | None = None, model=None, **options) -> SFTTrainer:
    rows = tables.read(made.sft) if rows is None else rows
    cpu = {"use_cpu": True, "bf16": False, "report_to": "none", "output_dir": str(folder)}
    return SFTTrainer(
        model=model or models.load_model(made.base, torch.device("cpu"), torch.float32),
        args=SFTConfig(**cpu, **options),
        train_dataset=Dataset.from_list([{key: row[key] for key in ("prompt", "completion")} for row in rows]),
        processing_class=models.load_tokenizer(made.base),
    )


def test_the_template_is_applied_once_and_the_loss_is_on_the_completion_with_its_end(made, tmp_path):
    tokenizer = models.load_tokenizer(made.base)
    trained = trainer_of(made, tmp_path).train_dataset
    demonstrations = tables.read(made.sft)
    assert len(trained) == len(demonstrations)
    for row, demonstration in zip(trained, demonstrations, strict=True):
        [answer] = demonstration["completion"]
        assert tokenizer.decode(row["input_ids"]) == tiny.render([*demonstration["prompt"], answer])
        with_loss = [label for label in row["labels"] if label != sft_data.IGNORED]
        assert tokenizer.decode(with_loss) == answer["content"] + tiny.TURN_END
        assert row["input_ids"][-len(with_loss) :] == with_loss


@pytest.mark.parametrize(
    "options", [{}, PACKED, {**PACKED, "packing_strategy": "bfd_split"}], ids=["plain", "bfd", "split"]
)
def test_tokens_with_loss_are_counted_and_said(made, tmp_path, options, capsys, monkeypatch):
    monkeypatch.setattr(sft_data, "ROWS_AT_ONCE", 5)
    trainer = trainer_of(made, tmp_path, **options)
    tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    with_loss = sum(label != -100 for row in trainer.train_dataset for label in row["labels"])
    assert sft_data.count_loss(trainer, len(tables.read(made.sft))) == (tokens, with_loss)
    assert 0 < with_loss < tokens
    assert f"sft: {tokens:,} tokens, {100 * with_loss / tokens:.1f} % carry loss" in capsys.readouterr().err


def test_the_manifest_gets_the_tokens(made, tmp_path):
    outputs = {"policy": tmp_path / "policy", "metrics": tmp_path / "m.parquet"}
    told = sft.run(
        {**SFT, "trainer": {**SFT["trainer"], "completion_only_loss": False}},
        base=made.base,
        data=[made.sft],
        **outputs,
    )
    assert told["tokens"] == told["tokens_with_loss"] > 0


@pytest.mark.parametrize("options", [{}, {"packing": True}], ids=["plain", "packed"])
def test_a_demonstration_of_which_nothing_is_left_is_refused(made, tmp_path, options):
    rows = tables.read(made.sft)
    trainer = trainer_of(made, tmp_path, max_length=200, **options)
    sft_data.count_loss(trainer, len(rows))
    long = [{"role": "user", "content": "Add 2 and 3. " * 200}]
    rows[3], rows[7] = {**rows[3], "prompt": long}, {**rows[7], "prompt": long}
    trainer = trainer_of(made, tmp_path, rows, max_length=200, **options)
    line = (
        r"^sft: 2 of \d+ demonstrations carry no loss, .* a larger sft\.trainer\.max_length \(it is 200\), or filters"
    )
    with pytest.raises(RlvrError, match=line):
        sft_data.count_loss(trainer, len(rows))


def test_nothing_left_of_any_demonstration_is_refused_by_the_stage(made, tmp_path):
    with pytest.raises(RlvrError, match=r"sft: (\d+) of \1 demonstrations carry no loss"):
        run_sft(made, tmp_path, trainer={**SFT["trainer"], "max_length": 2})


@pytest.mark.parametrize("options", [PACKED, FREE], ids=["packing", "padding_free"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", APART)
def test_examples_in_one_row_stay_apart(made, tmp_path, name, attention, options):
    model = AutoModelForCausalLM.from_config(APART[name], attn_implementation=attention)
    trainer = trainer_of(made, tmp_path, model=model.train(), **options)
    sft_data.require_apart(trainer)
    assert trainer.model.training


@pytest.mark.parametrize("options", [PACKED, FREE], ids=["packing", "padding_free"])
@pytest.mark.parametrize("name", MIXING)
def test_a_model_that_mixes_examples_in_one_row_is_refused(made, tmp_path, name, options):
    model = AutoModelForCausalLM.from_config(MIXING[name])
    trainer = trainer_of(made, tmp_path, model=model, **options)
    option = "packing" if "packing" in options else "padding_free"
    line = rf"^sft\.trainer\.{option}: {name} \(\w+ attention\) lets an example see .* allowed: false$"
    with pytest.raises(RlvrError, match=line):
        sft_data.require_apart(trainer)


def test_wrapped_packing_mixes_and_is_refused_by_the_stage(made, tmp_path):
    wrapped = {**SFT["trainer"], **PACKED, "packing_strategy": "wrapped"}
    with pytest.raises(RlvrError, match=r"sft\.trainer\.packing: qwen3 .*; allowed: false or packing_strategy: bfd$"):
        run_sft(made, tmp_path, trainer=wrapped)


def test_packed_examples_stay_apart_under_an_adapter_too(made, tmp_path):
    assert run_sft(made, tmp_path, adapter=LORA, trainer={**SFT["trainer"], **PACKED}).is_dir()


def test_without_packing_nothing_is_probed(made, tmp_path):
    model = AutoModelForCausalLM.from_config(MIXING["mamba"])
    sft_data.require_apart(trainer_of(made, tmp_path, model=model))


def test_padding_free_training_gives_the_weights_of_padded_training(made, tmp_path):
    options = {**SFT["trainer"], "shuffle_dataset": False}
    padded = weights_of(run_sft(made, tmp_path / "padded", trainer={**options, "max_length": None}))
    free = weights_of(run_sft(made, tmp_path / "free", trainer={**options, **FREE}))
    assert all(torch.allclose(padded[key], free[key], atol=1e-4) for key in padded)
