"""What the config accepts, and the line it answers with when it does not."""

from __future__ import annotations

import copy
import inspect
import json
from pathlib import Path

import pytest
import yaml
from trl.trainer import grpo_trainer

from conftest import MICRO, ROOT
from rlvr import comparison, config, generated, slices, trainer_values, yaml_files
from rlvr.errors import RlvrError


def load(tmp_path: Path, content: dict | str, overrides: list[str] | dict = ()) -> config.Config:
    file = tmp_path / "experiment.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return config.load([file], overrides)


def with_value(path: str, value: object) -> dict:
    changed = copy.deepcopy(MICRO)
    *parents, last = path.split(".")
    node = changed
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("sft.trainer.lerning_rate", 1.0, "sft.trainer.lerning_rate: unknown option; did you mean 'learning_rate'?"),
        ("sft.trainer.learning_rate", "1", "sft.trainer.learning_rate: '1' is not possible; allowed: number"),
        ("sft.trainer.learning_rate", float("nan"), "sft.trainer.learning_rate: nan is not possible"),
        ("sft.trainer.output_dir", "x", "sft.trainer.output_dir: can't be set here"),
        ("sft.trainer.max_steps", True, "sft.trainer.max_steps: True is not possible; allowed: integer"),
        ("grpo.trainer.beta", float("inf"), "grpo.trainer.beta: inf is not possible"),
        ("grpo.trainer.num_generations", 3, "grpo.trainer.num_generations: 3 is not possible with 8 completions"),
        ("grpo.variants.dapo.trainer", {"num_generations": 3}, "grpo.variants.dapo.trainer.num_generations: 3 is"),
        ("grpo.rewards.correctness", float("inf"), "grpo.rewards.correctness: Infinity is not possible"),
        ("grpo.rewards.correctness", 1e38, "grpo.rewards.correctness: 1e+38 is not possible"),
        ("grpo.max_failures", 1.5, "grpo.max_failures: 1.5 is not possible"),
        ("grpo.trainer.loss_type", "dpo", "grpo.trainer.loss_type: 'dpo' is not possible; allowed: grpo, dapo"),
        (
            "grpo.trainer.multi_objective_aggregation",
            "normalise",
            "grpo.trainer.multi_objective_aggregation: 'normalise' is not possible; allowed: sum_",
        ),
        (
            "tasks",
            {"reasoning_gym:nope": {"train": 1, "eval": 1}},
            "tasks.reasoning_gym:nope: task 'reasoning_gym:nope': no",
        ),
        ("grpo.rewards.correctness", "1.0", 'grpo.rewards.correctness: "1.0" is not possible'),
        ("grpo.rewards", {}, "grpo.rewards: {} is not possible"),
        ("grpo.rewards.formats", 1.0, "grpo.rewards.formats: unknown reward 'formats'; did you mean 'format'?"),
        ("grpo.variants.Dapo", {}, 'grpo.variants.Dapo: "Dapo" is not possible'),
        ("grpo.variants.other.rewards", {"brief": 1.0}, "grpo.variants.other.rewards.brief: unknown reward 'brief'"),
        ("tasks.countdown.eval", "12", 'tasks.countdown.eval: "12" is not possible; allowed: a valid integer'),
        ("tasks.countdown.eval", -1, "tasks.countdown.eval: -1 is not possible"),
        ("tasks.countdown.eval", 0, "tasks: every task has eval: 0; at least one must be evaluated"),
        ("tasks.countdown.eval", 10**6, "tasks.countdown.eval: 1000000 items asked for, but these options make"),
        ("tasks.countdown.eval", None, "tasks.countdown: train, sft and eval must be numbers"),
        ("tasks.countdown.options.hihg", 3, "tasks.countdown.options.hihg: unknown key; did you mean 'high'?"),
        ("tasks.countdown.options.high", 0, "tasks.countdown.options: low and high must satisfy"),
        ("tasks.gsm8k.options", {"source": "path"}, "tasks.gsm8k.options.source: path needs train_path and eval_path"),
        (
            "tasks.gsm8k.options",
            {"source": "path", "train_path": "no.jsonl", "eval_path": "no.jsonl"},
            "tasks.gsm8k.options.train_path: no file 'no.jsonl'",
        ),
        (
            "base",
            "smollm2-135m",
            "base.model: 'smollm2-135m' is not possible; did you mean 'smollm2-135m-instruct'? allowed: tiny, smollm2",
        ),
        ("base", "my-model", "base.model: 'my-model' is not possible; allowed: tiny, smollm2-135m-instruct, a folder"),
        ("base", "./nowhere", "base.model: no config.json in folder './nowhere'"),
        ("base.tiny.hidden_size", 30, "base.tiny.hidden_size: 30 is not possible; allowed: multiples of"),
        (
            "filters",
            [{"tokens": {"max": 5}, "duplicates": {}}],
            "filters[0]: {'tokens': {'max': 5}, 'duplicates': {}} is",
        ),
        ("filters", [{"token": {"max": 5}}], "filters[0]: unknown filter 'token'; did you mean 'tokens'?"),
        ("filters", [3], "filters[0]: 3 is not possible; allowed: one filter, its options below it, and splits"),
        ("filters", [{"tokens": 128}], "filters[0].tokens: '128' is not possible; allowed: a mapping of options"),
        ("filters", [{"tokens": {"maxx": 5}}], "filters[0].tokens.maxx: unknown key; did you mean 'max'?"),
        ("filters", [{"tokens": {"max": "5"}}], 'filters[0].tokens.max: "5" is not possible; allowed: a valid integer'),
        ("filters", ["duplicates", {"tokens": {}}], "filters[1].tokens: one of max, max_prompt"),
        ("filters", [{"tokens": {"max": 9}, "splits": ["eval"]}], "filters[0].splits: ['eval'] is not possible"),
        ("filters", [{"correct": {}, "splits": ["train"]}], "filters[0].splits: ['train'] is not possible"),
        ("filters", [{"near_duplicates": {}}], "filters[0].near_duplicates: the items of 'countdown' have no wording"),
        (
            "filters",
            [{"pass_rate": {}}, "duplicates"],
            "filters[0].pass_rate: samples the model, so it must be the last",
        ),
        ("tasks.countdown.filters", [{"token": {}}], "tasks.countdown.filters[0]: unknown filter 'token'"),
        (
            "grpo.order",
            "easy_first",
            "grpo.order: easy_first needs pass rates; add the filter pass_rate for 'countdown'",
        ),
        ("grpo.variants.dapo.order", "hard_first", "grpo.variants.dapo.order: hard_first needs pass rates"),
        (
            "grpo.order",
            "easy",
            "grpo.order: \"easy\" is not possible; allowed: 'shuffled', 'easy_first' or 'hard_first'",
        ),
        (
            "grpo",
            {**MICRO["grpo"], "order": "easy_first", "dynamic": {}},
            "grpo.order: easy_first goes without dynamic",
        ),
        ("filters", ["duplicates"] * 100, "filters: 100 filters are not possible; allowed: up to 98"),
        ("filters", {"duplicates": {}}, 'filters: {"duplicates": {}} is not possible; allowed: a list'),
        ("grpo.trainer.num_iterations", 0, "grpo.trainer.num_iterations: 0 is not possible; allowed: 1 or more"),
        (
            "tasks.countdown.user_prompt",
            "{question}",
            "tasks.countdown.user_prompt: is not possible, as this task has no question",
        ),
        (
            "tasks.gsm8k",
            {"train": 8, "sft": 8, "eval": 8, "options": {"source": "synthetic"}, "user_prompt": "{Question}"},
            "tasks.gsm8k.user_prompt: '{Question}' is not possible; allowed: a text with {question}",
        ),
        (
            "tasks.gsm8k",
            {
                "train": 8,
                "sft": 8,
                "eval": 8,
                "options": {"source": "synthetic"},
                "prompts": {"grpo": {"user_prompt": ""}},
            },
            "tasks.gsm8k.prompts.grpo.user_prompt: '' is not possible; allowed: a text with {question}",
        ),
        ("tasks.countdown.prompts", {"dapo": {}}, 'tasks.countdown.prompts.dapo: "dapo" is not possible'),
        (
            "sft.variants",
            {"a": {"trainer": {"learning_rat": 1.0}}},
            "sft.variants.a.trainer.learning_rat: unknown option",
        ),
        ("sft.variants", {"a": {}, "b": {}}, "grpo.variants.dapo.start: is missing, and grpo.start too; allowed: a, b"),
        ("grpo.start", "a", "grpo.start: 'a' is not possible; allowed: nothing, as there are no sft.variants"),
        ("grpo.variants.dapo.start", "base", "grpo.variants.dapo.start: 'base' is not possible; allowed: nothing"),
        (
            "evaluation.sampled",
            {"samples": 4, "pass_at": [1, 5]},
            "evaluation.sampled.pass_at: 5 is not possible; allowed: up to samples (4)",
        ),
        ("evaluation.sampled", {"samples": 4, "pass_at": []}, "evaluation.sampled.pass_at: [] is not possible"),
        (
            "evaluation.sampled",
            {"samples": 5, "pass_at": [1]},
            "evaluation.batch_size: 4 is not possible; allowed: sampled.samples (5) or more",
        ),
        ("micro_batch", 0, "micro_batch: 0 is not possible"),
        ("seeds", [0, 0], "seeds: each seed once"),
        ("seeds", [], "seeds: [] is not possible"),
        ("experiment", "../x", 'experiment: "../x" is not possible'),
        ("device", "tpu", "device: \"tpu\" is not possible; allowed: 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_a_bad_value_is_named_with_its_key(tmp_path, path, value, expected):
    with pytest.raises(RlvrError) as raised:
        load(tmp_path, with_value(path, value))
    assert f"experiment.yaml: {expected}" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["experiment", "tasks", "grpo"])
def test_a_missing_key_is_named(tmp_path, key):
    content = {name: value for name, value in MICRO.items() if name != key}
    with pytest.raises(RlvrError, match=rf"experiment\.yaml: {key}: is missing"):
        load(tmp_path, content)


@pytest.mark.parametrize(("text", "expected"), [("1e-5", 1e-5), ("3E+2", 300.0), ("-1e3", -1000.0), (".5e1", 5.0)])
def test_numbers_with_exponents_are_numbers(text, expected):
    assert yaml_files.load_text(f"sft: {{trainer: {{learning_rate: {text}}}}}", "x.yaml") == {
        "sft": {"trainer": {"learning_rate": expected}}
    }


def test_overrides_from_the_command_line_are_yaml(tmp_path):
    loaded = load(tmp_path, MICRO, ["seeds=[0, 1]", "evaluation={max_completion_tokens: 9}"])
    assert loaded.seeds == [0, 1]
    assert loaded.evaluation.max_completion_tokens == 9
    assert loaded.evaluation.batch_size == 4, "a mapping is laid over, not replaced"


def test_later_files_lie_over_earlier_ones(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(yaml.safe_dump(MICRO))
    second.write_text("export: {dtype: float16}\n")
    assert config.load([first, second]).export.dtype == "float16"


def test_variants_share_all_but_grpo(tmp_path):
    cut = slices.of(load(tmp_path, MICRO))
    assert cut["grpo/dapo/seed0"]["trainer"] != cut["grpo/dr_grpo/seed0"]["trainer"]
    assert [name for name in cut if name.startswith("sft")] == ["sft"]


def test_without_a_warm_start_there_is_no_sft_arm(tmp_path):
    loaded = load(tmp_path, {**MICRO, "sft": None})
    assert comparison.arms(loaded) == ["base", "grpo/dapo/seed0", "grpo/dr_grpo/seed0"]
    assert "sft" not in slices.of(loaded)


def test_the_default_is_valid():
    assert config.load([ROOT / "config/config.yaml"]).experiment == "tiny"


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in generated.render()])
def test_generated_files_are_current(path):
    assert (ROOT / path).read_text() == generated.render()[ROOT / path], "run `rlvr schema`"


def test_the_schema_is_json():
    assert json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())["title"] == "Config"


def two_warm_starts(tmp_path: Path, **changes) -> config.Config:
    variants = {"a": {}, "b": {"trainer": {"learning_rate": 1e-4}}}
    return load(tmp_path, {**MICRO, "sft": {**MICRO["sft"], "variants": variants}, **changes})


def test_each_warm_start_is_an_arm_and_grpo_says_from_which_it_starts(tmp_path):
    grpo = {**MICRO["grpo"], "start": "a", "variants": {"dapo": {}, "other": {"start": "b"}}}
    loaded = two_warm_starts(tmp_path, grpo=grpo)
    assert comparison.arms(loaded) == ["base", "sft/a", "sft/b", "grpo/dapo/seed0", "grpo/other/seed0"]
    assert [loaded.start_of(name) for name in grpo["variants"]] == ["sft/a", "sft/b"]
    cut = slices.of(loaded)
    assert "sft" not in cut and cut["sft/b"]["trainer"] == {**cut["sft/a"]["trainer"], "learning_rate": 1e-4}


def test_a_filter_that_samples_needs_one_start(tmp_path):
    grpo = {**MICRO["grpo"], "start": "a", "variants": {"dapo": {}, "other": {"start": "b"}}}
    with pytest.raises(RlvrError, match=r"tasks\.countdown: a filter samples .* from sft/a and sft/b; allowed: one"):
        two_warm_starts(tmp_path, grpo=grpo, filters=[{"pass_rate": {}}])


@pytest.mark.parametrize(("most", "rows", "steps"), [(1, 1, 8), (3, 2, 4), (8, 8, 1), (64, 8, 1)])
def test_a_micro_batch_keeps_the_rows_of_a_step(tmp_path, most, rows, steps):
    cut = slices.of(load(tmp_path, {**MICRO, "micro_batch": most}))
    for stage in ("sft", "grpo/dapo/seed0"):
        trainer = cut[stage]["trainer"]
        assert (trainer["per_device_train_batch_size"], trainer["gradient_accumulation_steps"]) == (rows, steps)


def test_a_micro_batch_is_refused_beside_what_it_would_decide(tmp_path):
    content = with_value("grpo.trainer.steps_per_generation", 2)
    content["grpo"]["trainer"]["save_steps"] = 2
    with pytest.raises(RlvrError, match=r"grpo\.trainer\.steps_per_generation: goes without micro_batch"):
        load(tmp_path, {**content, "micro_batch": 2})


def test_sizes_of_sft_do_not_matter_without_a_warm_start(tmp_path):
    loaded = load(tmp_path, {**MICRO, "sft": None, "tasks": {"countdown": {"train": 64, "eval": 12}}})
    assert loaded.tasks["countdown"].sft is None


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("grpo.trainer.per_device_train_batch_size", 0, "grpo.trainer.per_device_train_batch_size: 0 is not possible"),
        ("grpo.trainer.gradient_accumulation_steps", 0, "grpo.trainer.gradient_accumulation_steps: 0 is not possible"),
        ("grpo.variants.dapo.rewards", {}, "grpo.variants.dapo.rewards: {} is not possible"),
        ("seeds", [2**32], "seeds[0]: 4294967296 is not possible"),
        ("base", {"model": "Qwen/Qwen2.5-0.5B", "revision": "7ae5576"}, "base.revision: '7ae5576' is not possible, as"),
        ("base", {"model": "Qwen/Qwen2.5-0.5B", "revision": "../main"}, "base.revision: '../main' is not possible"),
        ("base", {"model": "Qwen/Qwen2.5-0.5B", "revision": ""}, "base.revision: '' is not possible; allowed: a"),
        ("sft.trainer.save_only_model", True, "sft.trainer.save_only_model: can't be set here"),
    ],
)
def test_values_that_would_fail_hours_later_are_named_now(tmp_path, path, value, expected):
    with pytest.raises(RlvrError) as raised:
        load(tmp_path, with_value(path, value))
    assert f"experiment.yaml: {expected}" in str(raised.value)


def test_a_character_that_yaml_does_not_allow_is_one_line():
    with pytest.raises(RlvrError, match=r"^x.yaml: unacceptable character #x0000: special characters .* position 3$"):
        yaml_files.load_text("a: \0", "x.yaml")


def test_a_key_that_is_no_name_is_one_line(tmp_path):
    with pytest.raises(RlvrError, match="line 1: a key must be a name"):
        load(tmp_path, "{{ name }}: 1")


def test_trl_knows_the_choices_we_allow():
    source = inspect.getsource(grpo_trainer)
    by_the_trainer = ("loss_type", "scale_rewards", "multi_objective_aggregation", "importance_sampling_level")
    for name in by_the_trainer:
        assert all(f'"{choice}"' in source for choice in trainer_values.CHOICES["grpo"][name]), name
