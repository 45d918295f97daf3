"""One run with every kind of data rule: bad rows, demonstrations from elsewhere, sampling, order, dynamic choice."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from test_dag import planned

from conftest import MICRO, STAGES, copy_checkout, snakemake, write_config
from rlvr_plugins.tasks import word_problems

pytestmark = pytest.mark.slow
LAST = "03-pass_rate"


def questions(folder: Path, name: str, count: int, seed: int, *more: str) -> str:
    rng = random.Random(seed)
    rows = [dict(zip(("question", "answer"), word_problems.generate(rng), strict=True)) for _ in range(count)]
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in [*map(json.dumps, rows), *more]))
    return str(path)


def solutions(folder: Path, count: int) -> str:
    """A JSON array as reasoning data sets have it; every third solution is wrong and says so."""
    rng, rows = random.Random(9), []
    for place in range(count):
        question, worked = word_problems.generate(rng)
        steps, _, gold = worked.partition("\n#### ")
        right = place % 3 != 0
        rows.append(
            {
                "question": question,
                "ground_truth": gold,
                "predicted_answer": gold if right else "-1",
                "correct": right,
                "cot": f"<think>{steps}</think> So \\boxed{{{gold if right else -1}}}.",
            }
        )
    path = folder / "cot.json"
    path.write_text(json.dumps(rows))
    return str(path)


@pytest.fixture(scope="module")
def chained(tmp_path_factory, stage_server) -> Path:
    checkout = copy_checkout(tmp_path_factory.mktemp("chain") / "checkout")
    config = copy.deepcopy(MICRO)
    train = questions(checkout, "train.jsonl", 60, 1, "[1, 2]", '{"question": "What?", "answer": null}')
    paths = {"train_path": train, "eval_path": questions(checkout, "test.jsonl", 8, 2)}
    columns = {
        "question": "question",
        "answer": "ground_truth",
        "predicted": "predicted_answer",
        "solution": "cot",
        "correct": "correct",
    }
    corrected = [json.loads(line) for line in (checkout / "test.jsonl").read_text().splitlines()][1:]
    (checkout / "corrected.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in corrected))
    labels = {"task": "gsm8k_platinum", "options": {"source": "path", "eval_path": str(checkout / "corrected.jsonl")}}
    cot = {"source": "path", "train_path": solutions(checkout, 30), "columns": columns}
    config["tasks"] = {
        "gsm8k": {"sft": 20, "options": {"source": "path", **paths, "on_bad_row": "skip"}, "second_labels": labels},
        "openmath": {"train": 0, "eval": 0, "options": cot},
    }
    config["filters"] = [
        {"correct": {"column": "correct"}, "splits": ["sft"]},
        {"duplicates": {"by": "normalised"}},
        {"decontaminate": {"ngram": 13}},
        {"pass_rate": {"samples": 2, "max_completion_tokens": 6, "min_rate": 0.0, "max_rate": 1.0, "target_size": 16}},
    ]
    config["tasks"]["gsm8k"]["filters"] = config["filters"][1:]
    config["base"]["tiny"]["max_positions"] = 1024
    config["grpo"]["variants"] = {"dynamic": {"dynamic": {"max_rounds": 1}}, "easy": {"order": "easy_first"}}
    config["evaluation"] |= {"lm_eval": True, "repeat": 3}
    write_config(checkout, config)
    snakemake(checkout, **{STAGES: str(stage_server)})
    return checkout


def test_nothing_runs_twice(chained):
    assert planned(chained) == {}


def test_bad_rows_are_left_out_and_counted_where_people_look(chained):
    stats = json.loads((chained / "results/micro/dataset/gsm8k/stats.json").read_text())
    assert sum(stats["source"]["left_out"].values()) >= 2
    assert any("train.jsonl, line 61" in note for note in stats["source"]["notes"])
    assert "The source left out" in (chained / "results/micro/report/index.html").read_text()


def test_wrong_demonstrations_are_dropped_and_the_others_are_in_the_task_s_protocol(chained):
    stats = json.loads((chained / "results/micro/dataset/openmath/stats.json").read_text())
    assert stats["splits"]["sft"]["dropped"]["01-correct"] == {"column says wrong": 10}
    rows = pq.read_table(chained / "results/micro/dataset/openmath/sft.parquet").to_pylist()
    assert rows
    for row in rows:
        text = row["completion"][0]["content"]
        assert text.count("<reasoning>") == text.count("<answer>") == 1 and "boxed" not in text and "think" not in text


def test_a_task_for_sft_only_is_not_evaluated(chained):
    assert {path.name for path in (chained / "results/micro/eval/sft").iterdir()} == {"gsm8k"}
    assert set(pd.read_csv(chained / "results/micro/report/pass_at_1.csv")["task"]) == {"gsm8k"}


def test_second_opinions_stand_beside_ours(chained):
    folder = chained / "results/micro/eval/grpo/easy/seed0/gsm8k"
    ours = pd.read_parquet(folder / "greedy/completions.parquet")
    theirs = pd.read_parquet(folder / "lm_eval/samples.parquet")
    assert list(theirs["completion"]) == list(ours["completion"])
    assert list(pd.read_parquet(folder / "greedy/second_scores.parquet")["key"]) == list(ours["key"])[1:]
    page = (chained / "results/micro/report/index.html").read_text()
    assert "of 3 items 3 identical" in page and "strict % by gsm8k_platinum" in page and "strict-match %" in page


def test_the_prompts_of_every_variant_are_those_that_were_chosen(chained):
    folder = chained / "results/micro/dataset/gsm8k"
    chosen = pq.read_table(folder / LAST / "train.parquet").to_pylist()
    rates = [row["pass_rate"] for row in chosen]
    assert len(rates) == 16 and all(0 <= rate <= 1 for rate in rates)
    for variant in ("dynamic", "easy"):
        sampled = pd.read_parquet(chained / f"results/micro/grpo/{variant}/seed0/completions.parquet")
        assert set(sampled["key"]) <= {row["key"] for row in chosen}
    easiest = sorted(chosen, key=lambda row: row["pass_rate"], reverse=True)
    trained = pd.read_parquet(chained / "results/micro/grpo/easy/seed0/completions.parquet")
    assert list(dict.fromkeys(trained["key"])) == [row["key"] for row in easiest[:4]]


def test_a_bound_judges_again_but_samples_again_only_where_sampling_stops_by_it(chained):
    config = chained / "config/config.yaml"
    before = config.read_text()
    try:
        config.write_text(before.replace("max_rate: 1.0", "max_rate: 0.9"))
        assert {"rollouts", "select"} <= set(planned(chained))
        config.write_text(before.replace("target_size: 16", "target_size: null"))
        snakemake(chained, f"results/micro/dataset/gsm8k/{LAST}/manifest.json")
        config.write_text(config.read_text().replace("max_rate: 1.0", "max_rate: 0.9"))
        plan = planned(chained, f"results/micro/dataset/gsm8k/{LAST}/manifest.json")
        assert plan == {"select": 1}
    finally:
        config.write_text(before)
