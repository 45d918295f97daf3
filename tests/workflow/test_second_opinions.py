"""Second opinions: another task's labels, items answered once more, lm-eval."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from conftest import MICRO
from rlvr import config, slices, tables
from rlvr.errors import RlvrError
from rlvr.reporting import second
from rlvr.reporting.results import Arm, Results
from rlvr.stages import generate, relabel, repeat, score
from rlvr_plugins import Example
from rlvr_plugins.manager import catalogue

QUESTIONS = ("Ann has 3 pens, finds 4. How many?", "Ben has 9 pens, loses 2. How many?", "Carl has 1 book. How many?")
GENERATE = {"device": "cpu", "engine": "transformers", "max_completion_tokens": 6, "batch_size": 2}
EVALUATED = {"eval": 3, "train": 4, "sft": 4, "options": {"source": "synthetic"}}


def items(path: Path, golds: list[str], name: str = "gsm8k", questions: tuple[str, ...] = QUESTIONS) -> Path:
    task = catalogue().task(name)
    rows = []
    for question, gold in zip(questions, golds, strict=True):
        example = Example(question.lower(), {"question": question, "answer": gold, "solution": ""})
        prompt = task.prompt(example)
        rows.append({"task": name, "key": example.key, "prompt": prompt, "example": tables.to_text(example)})
    tables.write(path, rows, tables.ITEM)
    return path


def completions(path: Path, data: Path, texts: list[str]) -> Path:
    rows = [
        {"key": row["key"], "prompt": row["prompt"], "completion": text, "tokens": 3, "finish": "stop"}
        for row, text in zip(tables.read(data), texts, strict=True)
    ]
    tables.write(path, rows, tables.ANSWER)
    return path


def relabelled(folder: Path, labels: Path) -> SimpleNamespace:
    data = items(folder / "data.parquet", ["7", "7", "1"])
    answers = completions(folder / "completions.parquet", data, [f"<answer>{n}</answer>" for n in (7, 8, 1)])
    slice_ = {"task": "gsm8k", "second": "gsm8k_platinum"}
    facts = relabel.run(slice_, data=data, second=labels, completions=answers, scores=folder / "scores.parquet")
    return SimpleNamespace(
        facts=facts, scores=tables.read(folder / "scores.parquet"), keys=[q.lower() for q in QUESTIONS]
    )


def test_the_same_completions_are_judged_by_the_other_labels(tmp_path):
    others = (QUESTIONS[1].upper().replace(",", ""), QUESTIONS[0], "Someone else?")
    found = relabelled(tmp_path, items(tmp_path / "second.parquet", ["8", "6", "5"], "gsm8k_platinum", others))
    assert [row["key"] for row in found.scores] == found.keys[:2]
    assert [row["flexible"] for row in found.scores] == [False, True]
    counts = {key: found.facts[key] for key in ("items", "without_label", "labels_not_used")}
    assert counts == {"items": 2, "without_label": 1, "labels_not_used": 1}


def test_labels_for_no_question_or_twice_for_one_are_refused(tmp_path):
    with pytest.raises(RlvrError, match=r"second_labels: none of the 3 held-out questions is among the 1 of 'gsm8k_pl"):
        relabelled(tmp_path, items(tmp_path / "second.parquet", ["5"], "gsm8k_platinum", ("Who?",)))
    twice = (QUESTIONS[0], QUESTIONS[0].upper())
    with pytest.raises(RlvrError, match=r"second\.parquet, rows 1 and 2: ask the same, 'ANN HAS 3 PENS"):
        relabelled(tmp_path, items(tmp_path / "second.parquet", ["5", "6"], "gsm8k_platinum", twice))


def test_an_engine_that_repeats_itself_and_one_that_does_not_are_told_apart(made, tmp_path):
    stored = tmp_path / "completions.parquet"
    generate.run({**GENERATE, "sampled": None, "prompt": None}, model=made.base, data=made.eval, completions=stored)
    slice_ = {**GENERATE, "task": "countdown", "items": 99, "seed": 0}
    measured = tmp_path / "repeat.json"
    repeat.run(slice_, model=made.base, data=made.eval, completions=stored, measured=measured)
    found = json.loads(measured.read_text())
    assert (found["items"], found["of"], found["differing"]) == (12, 12, [])
    assert [each["batch_size"] for each in found["passes"]] == [1, 2]
    assert all(each["identical"] == 12 and each["first_difference"] is None for each in found["passes"])

    rows = tables.read(stored)
    example = tables.to_example(rows[4]["key"], tables.read(made.eval)[4]["example"])
    rows[4]["completion"] = catalogue().task("countdown").demonstrate(example)
    tables.write(stored, rows, tables.ANSWER)
    repeat.run(slice_, model=made.base, data=made.eval, completions=stored, measured=measured)
    found = json.loads(measured.read_text())
    assert [(each["identical"], each["strict_flips"]) for each in found["passes"]] == [(11, 1), (11, 1)]
    assert {row["key"] for row in found["differing"]} == {rows[4]["key"]}


@pytest.mark.vllm
def test_vllm_is_measured_against_its_own_completions(made, tmp_path):
    from rlvr import tiny
    from rlvr.engines import models

    tokenizer = models.load_tokenizer(made.base)
    model = tmp_path / "model"  # vLLM has no attention for the 16 wide heads of the micro model
    tiny.build_model(tokenizer, 0, max_positions=512).save_pretrained(model)
    tokenizer.save_pretrained(model)
    stored, measured = tmp_path / "completions.parquet", tmp_path / "repeat.json"
    settings = {**GENERATE, "engine": "vllm"}
    generate.run({**settings, "sampled": None, "prompt": None}, model=model, data=made.eval, completions=stored)
    slice_ = {**settings, "task": "countdown", "items": 12, "seed": 0}
    repeat.run(slice_, model=model, data=made.eval, completions=stored, measured=measured)
    found = json.loads(measured.read_text())
    assert (found["engine"], found["items"]) == ("vllm", 12)
    for each in found["passes"]:
        differing = [row["key"] for row in found["differing"] if row["batch_size"] == each["batch_size"]]
        assert each["identical"] == 12 - len(differing) >= 10


def scripted(base: Path, folder: Path, prompt: list[dict[str, str]], text: str) -> Path:
    """A model that answers every prompt with that text: each token is looked up by the one before it."""
    import torch
    from transformers import Qwen3ForCausalLM

    from rlvr import tiny
    from rlvr.engines import generation, models

    tokenizer = models.load_tokenizer(base)
    start = generation.encode(tokenizer, [prompt])[0][-1]
    chain = [start, *tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert len(set(chain)) == len(chain), "each token must say which one follows"
    shape = tiny.model_config(len(tokenizer), 32, 1, 2, 512)
    shape.tie_word_embeddings, shape.eos_token_id = False, tokenizer.eos_token_id
    model = Qwen3ForCausalLM(shape)
    with torch.no_grad():
        block = model.model.layers[0]
        for layer in (model.model.embed_tokens, model.lm_head, block.self_attn.o_proj, block.mlp.down_proj):
            layer.weight.zero_()
        for place, (token, following) in enumerate(pairwise(chain)):
            model.model.embed_tokens.weight[token, place] = model.lm_head.weight[following, place] = 1.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_lm_eval_answers_our_prompts_and_judges_by_its_own_rules(made, tmp_path):
    from rlvr.stages import lm_eval  # not installed where the engines alone are tested

    folder = tmp_path / "eval" / "sft" / "gsm8k"
    for name in ("greedy", "lm_eval"):
        (folder / name).mkdir(parents=True)
    data = items(tmp_path / "data.parquet", ["7", "5", "6"])
    model = scripted(made.base, tmp_path / "model", tables.read(data)[0]["prompt"], "5;7")
    stored = folder / "greedy" / "completions.parquet"
    generate.run({**GENERATE, "sampled": None, "prompt": None}, model=model, data=data, completions=stored)
    assert {row["completion"] for row in tables.read(stored)} == {"5;7"}
    score.run({"task": "gsm8k"}, data=data, completions=stored, scores=folder / "greedy" / "scores.parquet")
    out = {"figures": folder / "lm_eval" / "lm_eval.json", "samples": folder / "lm_eval" / "samples.parquet"}
    lm_eval.run({**GENERATE, "task": "gsm8k"}, model=model, data=data, completions=stored, **out)
    found = pd.read_parquet(out["samples"])
    assert list(found["completion"]) == ["5;7"] * 3, "it must stop at our end token and start after our prompt"
    assert list(found["flexible_answer"]) == ["7"] * 3 and list(found["strict_answer"]) == ["[invalid]"] * 3
    assert list(found["flexible_extract"]) == [True, False, False] and not found["strict_match"].any()

    results = Results(tmp_path, [Arm("sft")], ["gsm8k"], {})
    none = {"lm_eval": ["gsm8k"], "labels": {}, "repeat": {"arm": "sft", "tasks": []}}
    row = second.write(results, none, tmp_path)["lm_eval"].iloc[0]
    assert (row["flexible %"], row["flexible-extract %"]) == ("0.0", "33.3"), "two numbers are no answer to us"
    assert (row["identical completions %"], row["flexible verdicts differ"]) == ("100.0", "1")
    differing = pd.read_csv(tmp_path / "lm_eval_differences.csv")
    assert list(differing["key"]) == [QUESTIONS[0].lower()]


def loaded(folder: Path, task: dict, **evaluation):
    changed = copy.deepcopy(MICRO)
    changed["tasks"] = {"gsm8k": task} if "options" in task else {"countdown": {**MICRO["tasks"]["countdown"], **task}}
    changed["evaluation"] = {**MICRO["evaluation"], **evaluation}
    file = folder / "experiment.yaml"
    file.write_text(json.dumps(changed))
    return config.load([file])


@pytest.mark.parametrize(
    ("task", "evaluation", "expected"),
    [
        ({}, {"lm_eval": True}, "evaluation.lm_eval: true is not possible, as no answer of countdown is a number"),
        ({"second_labels": {"task": "gsm8k_platinum"}}, {}, "second_labels.task: 'gsm8k_platinum' is not possible"),
        ({**EVALUATED, "second_labels": {"task": "gsm9k"}}, {}, "gsm8k.second_labels.task: unknown task 'gsm9k'"),
        (
            {**EVALUATED, "second_labels": {"task": "gsm8k_platinum", "options": {"source": "path"}}},
            {},
            "second_labels.options.source: path needs eval_path",
        ),
        (
            {**EVALUATED, "eval": 0, "second_labels": {"task": "gsm8k_platinum"}},
            {},
            "tasks.gsm8k.second_labels: goes with an evaluated task only, and eval is 0",
        ),
    ],
)
def test_bad_settings(tmp_path, task, evaluation, expected):
    with pytest.raises(RlvrError) as raised:
        loaded(tmp_path, task, **evaluation)
    assert expected in str(raised.value)


def test_items_are_answered_again_where_the_engine_promises_nothing(tmp_path, monkeypatch):
    from rlvr import availability, second_opinions

    plain = loaded(tmp_path, {})
    monkeypatch.setattr(availability, "NVIDIA", tmp_path / "none")
    assert second_opinions.repeated(plain) == 0 and "repeat/countdown" not in slices.of(plain)
    monkeypatch.setattr(availability, "NVIDIA", tmp_path)
    assert second_opinions.repeated(plain) == 64
    assert slices.of(plain)["report"]["second"]["repeat"] == {"arm": "grpo/dapo/seed0", "tasks": ["countdown"]}
    assert second_opinions.repeated(loaded(tmp_path, {}, repeat=0)) == 0


def test_a_missing_lm_eval_is_said_before_anything_runs(monkeypatch):
    from rlvr import availability, second_opinions

    monkeypatch.setitem(availability.PARTS, "lm-eval", ("lm_eval_that_is_not_there",))
    with pytest.raises(RlvrError, match=r"evaluation\.lm_eval: lm-eval is not installed; allowed: `pip install"):
        second_opinions.require_lm_eval()


def test_the_measured_bound_is_said_in_one_sentence(tmp_path):
    folder = tmp_path / "eval" / "sft" / "x" / "repeat"
    folder.mkdir(parents=True)
    one = {"batch_size": 1, "identical": 63, "first_difference": 8.5, "strict_flips": 1, "flexible_flips": 0}
    both = [one, {**one, "batch_size": 32, "identical": 64, "first_difference": None, "strict_flips": 0}]
    found = {"items": 64, "of": 500, "engine": "vllm", "device": "cuda", "passes": both, "differing": []}
    (folder / "repeat.json").write_text(json.dumps(found))
    settings = {"lm_eval": [], "labels": {}, "repeat": {"arm": "sft", "tasks": ["x"]}}
    written = second.write(Results(tmp_path, [Arm("sft")], ["x"], {}), settings, tmp_path)
    said = second.sentence(written)
    assert "of 64 items 63 identical, 1 strict verdicts flip, so that up to 8.3 % of all may (95 %)" in said
    assert "of 64 items 64 identical, 0 strict verdicts flip, so that up to 5.7 % of all may (95 %)" in said
