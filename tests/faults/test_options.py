"""Options of `trainer:` that come from elsewhere, or whose values TRL takes and this pipeline can't mean."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from conftest import MICRO, ROOT
from rlvr import config, former_options, trainer_options, trainer_values
from rlvr.errors import RlvrError
from rlvr.trainer_options import OWNED, check_options


def said(tmp_path: Path, path: str, written: str) -> str:
    """The one line about a value, as it is written in YAML at `path` of the micro experiment."""
    changed = copy.deepcopy(MICRO)
    *parents, last = path.split(".")
    node = changed
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = "@"
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(changed, sort_keys=False).replace("'@'", written), encoding="utf-8")
    with pytest.raises(RlvrError) as raised:
        config.read([file])
    line = str(raised.value)
    assert "\n" not in line and line.startswith(f"{file}: {path}: ") and len(line) - len(str(file)) < 500
    return line.removeprefix(f"{file}: {path}: ")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("grpo.trainer.max_prompt_length", "leave long ones out by the filter `tokens`"),
        ("grpo.trainer.use_vllm", "it is decided by engines.rollouts"),
        ("grpo.trainer.vllm_mode", "it is decided by engines.rollouts"),
        ("grpo.trainer.vllm_max_model_len", "in its place: `vllm_max_model_length`"),
        ("grpo.trainer.vllm_guided_decoding_regex", "in its place: `vllm_structured_outputs_regex`"),
        ("grpo.trainer.vllm_device", "in its place: `engines.rollouts`"),
        ("grpo.trainer.use_liger_loss", "in its place: `use_liger_kernel`"),
        ("grpo.variants.dapo.trainer.max_prompt_length", "in its place: prompts are never cut here"),
        ("sft.trainer.max_seq_length", "in its place: `max_length` for SFT"),
        ("sft.trainer.tokenizer", "in its place: `base`, whose tokenizer is taken"),
        ("sft.trainer.evaluation_strategy", "in its place: `grpo.evaluate`"),
        ("sft.trainer.warmup_ratio", "in its place: `warmup_steps` below 1"),
        ("sft.trainer.no_cuda", "in its place: `device: cpu`"),
        ("sft.trainer.group_by_length", "in its place: `train_sampling_strategy: group_by_length`"),
        ("sft.trainer.fp16_opt_level", "in its place: `bf16: true` or `fp16: true`"),
        ("grpo.trainer.model_revision", "in its place: `base.revision`"),
        ("grpo.trainer.dataset_prompt_column", "in its place: `tasks.<name>.options.columns`"),
        ("grpo.trainer.rollout_n", "in its place: `num_generations`"),
        ("sft.trainer.sample_packing", "in its place: `packing`"),
        ("sft.trainer.compute_metrics", "in its place: `grpo.evaluate`"),
        ("grpo.trainer.vllm_importance_sampling_cap", "is a deprecated option of TRL's GRPOConfig; in its place: "),
        ("grpo.trainer.dataset_num_proc", "is an option of TRL's SFTConfig; allowed: under sft.trainer"),
        ("sft.trainer.num_generations", "is an option of TRL's GRPOConfig; allowed: under grpo.trainer"),
    ],
)
def test_an_option_of_another_release_is_said_with_what_takes_its_place(tmp_path, path, expected):
    line = said(tmp_path, path, "64")
    assert expected in line and "did you mean" not in line


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_hint_by_spelling_names_an_option_that_may_be_set(stage):
    refused = {*OWNED, *trainer_values.REFUSED, *trainer_values.REFUSED_IN[stage]}
    for name in refused & trainer_options.known()[stage].keys():
        with pytest.raises(ValueError, match="unknown option") as raised:
            check_options(stage, {f"{name}x": 1})
        assert not any(f"did you mean {other!r}" in str(raised.value) for other in refused)


def test_a_former_option_is_no_option_of_this_release_and_names_one_that_is():
    known = trainer_options.known()
    deprecated = {"use_transformers_paged", "vllm_importance_sampling_cap"}
    names = {name for stage in known for name in known[stage]}
    assert not (set(former_options.INSTEAD) - deprecated) & names
    assert not set(former_options.INSTEAD) & set(OWNED)


@pytest.mark.parametrize(
    ("path", "written", "expected"),
    [
        ("sft.trainer.learning_rate", "-1e-5", "-1e-05 is not possible; allowed: 0 or more"),
        ("grpo.trainer.learning_rate", "-1", "-1 is not possible; allowed: 0 or more"),
        ("sft.trainer.max_length", "0", "0 is not possible; allowed: 1 or more"),
        ("grpo.trainer.max_completion_length", "0", "0 is not possible; allowed: 1 or more"),
        ("grpo.trainer.max_steps", "0", "0 is not possible; allowed: 1 or more; -1: num_train_epochs decides"),
        ("grpo.trainer.max_steps", "-5", "-5 is not possible; allowed: 1 or more; -1: num_train_epochs decides"),
        ("sft.trainer.num_train_epochs", "0", "0 is not possible; allowed: above 0"),
        ("sft.trainer.num_train_epochs", "-1.0", "-1.0 is not possible; allowed: above 0"),
        ("sft.trainer.per_device_train_batch_size", "0", "0 is not possible; allowed: 1 or more"),
        ("sft.trainer.gradient_accumulation_steps", "-2", "-2 is not possible; allowed: 1 or more"),
        ("grpo.trainer.num_generations", "1", "1 is not possible; allowed: 2 or more"),
        ("grpo.trainer.temperature", "0", "0 is not possible; allowed: above 0"),
        ("grpo.trainer.top_p", "1.5", "1.5 is not possible; allowed: above 0, up to 1"),
        ("grpo.trainer.top_k", "-1", "-1 is not possible; allowed: 0 or more"),
        ("grpo.trainer.min_p", "2", "2 is not possible; allowed: 0 to 1"),
        ("grpo.trainer.epsilon", "-0.2", "-0.2 is not possible; allowed: above 0, below 1"),
        ("sft.trainer.weight_decay", "-0.1", "-0.1 is not possible; allowed: 0 or more"),
        ("sft.trainer.max_grad_norm", "-1", "-1 is not possible; allowed: 0 or more"),
        ("sft.trainer.adam_beta2", "1.0", "1.0 is not possible; allowed: 0 or more, below 1"),
        ("sft.trainer.warmup_steps", "-1", "-1 is not possible; allowed: whole steps"),
        ("sft.trainer.warmup_steps", "1.5", "1.5 is not possible; allowed: whole steps"),
        ("sft.trainer.save_steps", "0", "0 is not possible; allowed: 1 or more, or a share"),
        ("sft.trainer.save_steps", "2.5", "2.5 is not possible; allowed: 1 or more, or a share"),
        ("sft.trainer.save_total_limit", "0", "0 is not possible; allowed: 1 or more; null: all are kept"),
        ("sft.trainer.logging_steps", "0", "0 is not possible; allowed: 1 or more"),
        ("sft.trainer.save_strategy", "best", "'best' is not possible, as it follows a measure of evaluation"),
        ("sft.trainer.lr_scheduler_type", "reduce_lr_on_plateau", "'reduce_lr_on_plateau' is not possible, as it"),
        ("sft.trainer.lr_scheduler_type", "cosin", "'cosin' is not possible; allowed: linear, cosine"),
        ("sft.trainer.optim", "galore_adamw", "'galore_adamw' is not possible, as it needs a package"),
        ("sft.trainer.optim", "adam", "'adam' is not possible; allowed: adamw_torch"),
        ("sft.trainer.deepspeed", "ds.json", "'ds.json' is not possible, as checkpoints"),
        ("grpo.trainer.deepspeed", "{zero_optimization: {stage: 3}}", "{'zero_optimization': {'stage': 3}} is not"),
        ("sft.trainer.fsdp", "full_shard", "'full_shard' is not possible, as checkpoints"),
        ("grpo.trainer.auto_find_batch_size", "true", "True is not possible, as a step would hold fewer rows"),
        ("grpo.trainer.eval_steps", "10", "10 is not possible, as the trainer evaluates nothing here"),
        ("sft.trainer.hub_model_id", "me/mine", "'me/mine' is not possible, as a run publishes nothing"),
        ("grpo.trainer.label_smoothing_factor", "0.1", "0.1 is not possible, as GRPO's loss has no labels"),
        ("sft.trainer.loss_type", "dapo", "'dapo' is not possible; allowed: nll, dft, chunked_nll"),
        ("sft.trainer.lr_scheduler_kwargs", "schedule.json", "'schedule.json' is not possible; allowed: a mapping"),
        ("sft.trainer.dataloader_prefetch_factor", "2", "2 goes with dataloader_num_workers above 0 only"),
        ("grpo.trainer.sync_ref_model", "true", "true goes with beta above 0 only"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused(tmp_path, path, written, expected):
    assert said(tmp_path, path, written).startswith(expected)


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_what_an_option_may_be_is_in_the_table(stage):
    refused = {*OWNED, *former_options.INSTEAD, *trainer_values.REFUSED, *trainer_values.REFUSED_IN[stage]}
    for name, entry in trainer_options.known()[stage].items():
        if {"integer", "number"} & set(entry["type"].split(", ")) and name not in refused:
            assert name in trainer_values.RANGES, "trainer_values.RANGES has to say what it may be"


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_trls_own_defaults_can_be_given(stage):
    for name, entry in trainer_options.known()[stage].items():
        if name in OWNED or name in former_options.INSTEAD:
            continue
        if entry["default"] is not None or "null" in entry["type"].split(", "):
            check_options(stage, {name: entry["default"]})


PRESETS = sorted((ROOT / "config/presets").glob("*.yaml"))


@pytest.mark.parametrize("file", PRESETS, ids=[file.stem for file in PRESETS])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_preset_may_be_tried_for_a_few_steps(file, steps):
    """A warm-up that is longer than such a run is no mistake."""
    stages = ["grpo", "sft"] if "sft" in yaml.safe_load(file.read_text(encoding="utf-8")) else ["grpo"]
    config.read([file], [f"{stage}={{trainer: {{max_steps: {steps}}}}}" for stage in stages])


def test_the_tables_name_options_that_trl_has():
    known = {name for options in trainer_options.known().values() for name in options}
    named = {*trainer_values.RANGES, *trainer_values.REFUSED, *OWNED}
    named |= {
        name for each in (trainer_values.CHOICES, trainer_values.REFUSED_IN) for part in each.values() for name in part
    }
    assert named <= known
    for stage, options in trainer_options.known().items():
        for (name, word), _ in trainer_values.REFUSED_WORDS.items():
            assert word in options[name]["choices"], stage


@pytest.mark.parametrize(
    ("path", "written", "expected"),
    [
        ("grpo.trainer.save_strategy", "no", "reads an unquoted no and off as false: write 'no', in quotes"),
        ("sft.trainer.save_strategy", "off", "write 'no', in quotes"),
        ("sft.trainer.logging_strategy", "No", "write 'no', in quotes"),
        ("grpo.trainer.scale_rewards", "no", "write 'none', in quotes"),
        ("sft.trainer.save_strategy", "on", "reads an unquoted yes and on as true: a text stands in quotes"),
        ("sft.trainer.lr_scheduler_type", "yes", "reads an unquoted yes and on as true: a text stands in quotes"),
        ("sft.trainer.save_strategy", "~", "reads an unquoted null and ~ as null: a text stands in quotes"),
        ("gate.mode", "off", "write 'off', in quotes"),
        ("preflight.mode", "off", "write 'off', in quotes"),
        ("device", "on", "a text stands in quotes"),
        ("experiment", "no", "a text stands in quotes"),
        ("experiment", "123", "a text stands in quotes: '123'"),
        ("experiment", "1.10", "is not possible; allowed: a valid string; a text stands in quotes\n"),
        ("base.revision", "1234e56", "is not possible; allowed: a valid string; a text stands in quotes\n"),
    ],
)
def test_a_word_that_yaml_reads_as_something_else_gets_the_hint_to_quote_it(tmp_path, path, written, expected):
    line = said(tmp_path, path, written)
    assert " is not possible; allowed: " in line and expected in f"{line}\n"


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("**/*.yaml")), ids=lambda file: file.stem)
def test_quoted_words_of_the_shipped_files_are_read(file):
    assert "save_strategy: no\n" not in file.read_text(encoding="utf-8")
