"""A task's questions under the config's own prompts: in the data, and for one arm of the evaluation only."""

from __future__ import annotations

import json

import pytest
from test_config import load

from rlvr import comparison, slices
from rlvr.stages import data
from rlvr_plugins import Example
from rlvr_plugins.manager import catalogue

GSM8K = {"train": 4, "sft": 4, "eval": 3, "options": {"source": "synthetic"}}
SYSTEM = "Be brief."
USER = "Q: {question}\n{answer} {} {0} %s"


def experiment(**task) -> dict:
    return {
        "experiment": "x",
        "tasks": {"gsm8k": {**GSM8K, **task}},
        "sft": {},
        "grpo": {"rewards": {"correctness": 1.0}},
    }


@pytest.mark.parametrize("question", ["2 + 2?", "{question} {0} {answer.__class__} %s {", "\\1 \\g<0>"])
def test_the_question_is_put_in_as_it_is(question):
    example = Example("k", {"question": question, "answer": "4"})
    messages = catalogue().task("gsm8k").prompt(example, "", "<{question}> {answer} {}")
    assert messages == [{"role": "user", "content": f"<{question}> {{answer}} {{}}"}]


def test_training_and_evaluation_are_put_under_the_prompt_of_the_config(tmp_path):
    cut = slices.of(load(tmp_path, experiment(system_prompt=SYSTEM, user_prompt=USER)))
    paths = {kind: tmp_path / f"{kind}.parquet" for kind in ("train", "eval", "sft", "stats")}
    data.run(cut["data/gsm8k"], **paths)
    from rlvr import tables

    for split in ("train", "eval", "sft"):
        for row in tables.read(paths[split]):
            system, user = row["prompt"]
            question = json.loads(row["example"])["question"]
            assert system == {"role": "system", "content": SYSTEM}
            assert user["content"] == f"Q: {question}\n{{answer}} {{}} {{0}} %s"


def test_an_arms_own_prompt_changes_no_slice_of_training(tmp_path):
    plain = slices.of(load(tmp_path, experiment()))
    loaded = load(tmp_path, experiment(prompts={"base": {"user_prompt": USER}}))
    cut = slices.of(loaded)
    system = catalogue().task("gsm8k").system
    assert cut["generate/base/gsm8k"]["prompt"] == {"task": "gsm8k", "system_prompt": system, "user_prompt": USER}
    names = {arm: slices.generate_slice(loaded, arm, "gsm8k", "greedy") for arm in comparison.arms(loaded)}
    assert names == {"base": "generate/base/gsm8k", "sft": "generate", "grpo/grpo/seed0": "generate"}
    changed = {name for name in plain if plain[name] != cut[name]}
    assert changed == {"preflight", "prompts", "report"}


def test_what_an_arm_leaves_out_stays_as_in_training(tmp_path):
    loaded = load(tmp_path, experiment(system_prompt=SYSTEM, prompts={"grpo": {"system_prompt": ""}, "sft": {}}))
    found = {arm: comparison.prompt(loaded, "gsm8k", arm) for arm in ("", "base", "sft", "grpo/grpo/seed0")}
    assert found["sft"] == found["base"] == found[""] == {"system_prompt": SYSTEM, "user_prompt": None}
    assert found["grpo/grpo/seed0"] == {"system_prompt": "", "user_prompt": None}


def test_how_a_sampled_evaluation_is_judged_is_no_matter_of_generation(tmp_path):
    content = experiment()
    loaded = [
        load(tmp_path, {**content, "evaluation": {"sampled": {"samples": 4, "pass_at": k}}}) for k in ([1], [1, 4])
    ]
    first, second = map(slices.of, loaded)
    assert first["generate/sampled"]["sampled"] == {"samples": 4, "temperature": 1.0, "top_p": 1.0, "seed": 0}
    assert {name for name in first if first[name] != second[name]} == {"report"}
    assert first["generate"] == slices.of(load(tmp_path, content))["generate"]
