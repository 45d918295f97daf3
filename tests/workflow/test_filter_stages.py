"""Rows on their way through filters, sampling and selection, to the folder people look at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr import filtering, tables
from rlvr.engines import grpo as grpo_engine
from rlvr.engines import models
from rlvr.errors import RlvrError
from rlvr.stages import dataset, filter, grpo, rollouts, select
from rlvr_plugins.manager import catalogue

FILES = ("train", "sft", "dropped", "stats")
SAMPLING = {
    "completions": 2,
    "temperature": 1.0,
    "top_p": 1.0,
    "max_completion_tokens": 5,
    "batch_size": 32,
    "target": None,
}


def step(name: str, options: dict | None = None, splits: tuple[str, ...] = ("train", "sft")) -> dict:
    return {"task": "countdown", "step": f"01-{name}", "filter": name, "options": options or {}, "splits": splits}


def run(made, folder: Path, config: dict, **changes) -> SimpleNamespace:
    folder.mkdir(exist_ok=True)
    out = {name: folder / f"{name}.parquet" for name in FILES}
    inputs = {"from_train": made.raw["train"], "from_sft": made.raw["sft"], "base": made.base, **changes}
    filter.run(config, **inputs, **out)
    counts = json.loads(out["stats"].read_text())
    return SimpleNamespace(counts=counts, **{name: path for name, path in out.items() if name != "stats"})


def doubled(source: Path, target: Path, times: int) -> Path:
    pq.write_table(pa.concat_tables([pq.read_table(source)] * times), target)
    return target


def test_what_is_dropped_is_counted_by_reason_and_shown(made, tmp_path):
    rows = tables.read(made.raw["train"])
    source = doubled(made.raw["train"], tmp_path / "twice.parquet", 3)
    found = run(made, tmp_path / "out", step("duplicates"), from_train=source)
    assert tables.read(found.train) == rows
    assert found.counts["train"] == {"rows": 192, "kept": 64, "dropped": {"seen before": 128}}
    assert found.counts["sft"] == {"rows": 64, "kept": 64, "dropped": {}}
    shown = tables.read(found.dropped)
    assert len(shown) == filtering.KEPT_DROPPED
    assert {row["split"] for row in shown} == {"train"}
    numbers = [row["row"] for row in shown]
    assert min(numbers) > 64 and max(numbers) > 150, "the sample must come from all of the dropped rows"
    assert all(row["prompt"] == rows[(row["row"] - 1) % 64]["prompt"][-1]["content"] for row in shown)


def test_tokens_are_those_of_the_training_tokenizer_with_its_chat_template(made, tmp_path):
    tokenizer = models.load_tokenizer(made.base)
    lengths = [
        len(tokenizer.apply_chat_template([*row["prompt"], *row["completion"]])["input_ids"])
        for row in tables.read(made.raw["sft"])
    ]
    limit = sorted(lengths)[len(lengths) // 2]
    found = run(made, tmp_path / "out", step("tokens", {"max": limit}))
    assert found.counts["sft"]["kept"] == sum(length <= limit for length in lengths)
    assert found.counts["train"]["kept"] == 64


def test_the_size_of_the_batches_does_not_matter(made, tmp_path, monkeypatch):
    source = doubled(made.raw["train"], tmp_path / "twice.parquet", 2)
    whole = run(made, tmp_path / "whole", step("duplicates"), from_train=source)
    monkeypatch.setattr(filtering, "BATCH", 7)
    small = run(made, tmp_path / "small", step("duplicates"), from_train=source)
    assert small.counts == whole.counts
    assert pq.read_table(small.train).equals(pq.read_table(whole.train))
    assert tables.read(small.dropped) == tables.read(whole.dropped)


def test_a_split_that_the_filter_is_not_for_passes(made, tmp_path):
    found = run(made, tmp_path / "out", step("duplicates", splits=("sft",)))
    assert set(found.counts) == {"filter", "sft"}
    assert found.train.read_bytes() == made.raw["train"].read_bytes()


def test_rows_of_an_evaluation_set_are_dropped(made, tmp_path):
    mixed = pa.concat_tables([pq.read_table(made.raw["train"]), pq.read_table(made.eval)])
    pq.write_table(mixed, tmp_path / "mixed.parquet")
    found = run(
        made, tmp_path / "out", step("decontaminate"), from_train=tmp_path / "mixed.parquet", evaluation=[made.eval]
    )
    assert found.counts["train"] == {"rows": 76, "kept": 64, "dropped": {"in an evaluation set: item": 12}}


def test_a_filter_that_drops_everything_is_named_with_how_many_there_were(made, tmp_path):
    with pytest.raises(RlvrError, match=r"01-tokens: drops all 64 rows of .*train\.parquet \(too long 64\)"):
        run(made, tmp_path / "out", step("tokens", {"max": 2}))


MODULE = """
from dataclasses import dataclass
from rlvr_plugins import Filter, hookimpl

@dataclass(frozen=True)
class Options:
    pass

def start(options, context):
    def select(rows):
        {body}
    return select

@hookimpl
def rlvr_filters():
    yield Filter("strange", options=Options, start=start)
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise KeyError('no column x')", r"filter 'strange': 'no column x' \(.*train\.parquet, rows 1 to 64\)"),
        ("return [''] * (len(rows) - 1)", r"gave 63 values for 64 rows .* allowed: a text for each row"),
        ("return [True] * len(rows)", "allowed: a text for each row"),
        ("return None", "gave NoneType for 64 rows"),
    ],
    ids=["raises", "wrong length", "not a text", "nothing"],
)
def test_a_filter_that_misbehaves_ends_the_stage_with_one_line(made, tmp_path, installed, body, expected):
    installed(MODULE.format(body=body))
    with pytest.raises(RlvrError, match=expected) as raised:
        run(made, tmp_path / "out", step("strange"))
    assert "\n" not in str(raised.value)


def test_what_follows_the_reason_is_shown_and_not_counted(made, tmp_path, installed):
    installed(MODULE.format(body="return [f'odd\\nlike {i}' if i % 2 else '' for i, _ in enumerate(rows)]"))
    found = run(made, tmp_path / "out", step("strange"))
    assert found.counts["train"]["dropped"] == {"odd": 32}
    assert tables.read(found.dropped)[0]["detail"] == "like 1"


def test_reasons_without_number_are_counted_together(made, tmp_path, installed):
    installed(MODULE.format(body="return [f'reason {i}' if i else '' for i, _ in enumerate(rows)]"))
    found = run(made, tmp_path / "out", step("strange"))
    dropped = found.counts["train"]["dropped"]
    assert len(dropped) == filtering.MOST_REASONS + 1 and dropped[filtering.OTHER] == 63 - filtering.MOST_REASONS


def sampled(made, folder: Path, **sampling) -> Path:
    folder.mkdir(exist_ok=True)
    config = {
        "task": "countdown",
        "filter": "pass_rate",
        "options": {"min_rate": 0.0, "max_rate": 1.0},
        "sampling": {**SAMPLING, **sampling},
        "seed": 3,
        "device": "cpu",
        "engine": "auto",
    }
    rollouts.run(config, base=made.base, rows=made.train, rollouts=folder / "rollouts.parquet")
    return folder / "rollouts.parquet"


def test_every_prompt_is_sampled_and_the_same_seed_gives_the_same(made, tmp_path):
    first, again = (pq.read_table(sampled(made, tmp_path / name)) for name in ("first", "again"))
    assert first.equals(again)
    assert first["position"].to_pylist() == [i // 2 for i in range(128)]
    assert len(set(first["completion"].to_pylist())) > 64


def test_a_killed_run_keeps_what_it_had_sampled(made, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "CHUNK", 16)
    whole = pq.read_table(sampled(made, tmp_path / "whole"))
    complete, made_chunks = rollouts._complete, []

    def dies_at_the_third(generator, chunk, prompts, seed):
        if len(made_chunks) == 2:
            raise KeyboardInterrupt
        made_chunks.append(chunk)
        return complete(generator, chunk, prompts, seed)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rollouts, "_complete", dies_at_the_third)
        sampled(made, tmp_path / "killed")
    parts = sorted((tmp_path / "killed").rglob("part-*.parquet"))
    assert len(parts) == 2 and not (tmp_path / "killed" / "rollouts.parquet").exists()
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    chunks = []
    monkeypatch.setattr(rollouts, "_complete", lambda *given: chunks.append(given[1]) or complete(*given))
    assert pq.read_table(sampled(made, tmp_path / "killed")).equals(whole)
    assert [chunk[0] for chunk in chunks] == [16, 32, 48], "the damaged part and those that were missing"


def test_sampling_stops_once_there_are_enough(made, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "CHUNK", 8)
    found = pq.read_table(sampled(made, tmp_path / "few", target=10))
    positions = sorted(set(found["position"].to_pylist()))
    assert len(positions) == 10 and positions != list(range(10)), "in an order drawn from the seed"


def selected(made, folder: Path, completions: pa.Table, **options) -> SimpleNamespace:
    folder.mkdir(exist_ok=True)
    pq.write_table(completions, folder / "rollouts.parquet")
    out = {name: folder / name for name in ("train", "dropped", "rates", "stats")}
    config = step("pass_rate", options, ("train",))
    select.run(config, rows=made.train, rollouts=folder / "rollouts.parquet", **out)
    return SimpleNamespace(**out, counts=json.loads(out["stats"].read_text())["train"])


def answers(made, rates: list[int | None]) -> pa.Table:
    """Four completions for each row that has a rate, of which so many are right."""
    rows = []
    for position, (item, rate) in enumerate(zip(tables.read(made.train), rates, strict=False)):
        right = next(row for row in tables.read(made.sft) if row["prompt"] == item["prompt"])["completion"][0][
            "content"
        ]
        for i in range(4 if rate is not None else 0):
            text = right if i < rate else "no"
            rows.append({"position": position, "key": item["key"], "completion": text, "tokens": 3, "finish": "stop"})
    return pa.Table.from_pylist(rows, schema=tables.ROLLOUT)


def test_prompts_are_kept_by_their_pass_rate(made, tmp_path):
    found = selected(made, tmp_path / "out", answers(made, [0, 1, 2, None, 4]), min_rate=0.01, max_rate=0.6)
    rows = tables.read(made.train)
    assert [(row["key"], row["pass_rate"]) for row in tables.read(found.train)] == [
        (rows[1]["key"], 0.25),
        (rows[2]["key"], 0.5),
    ]
    assert found.counts["dropped"] == {"not sampled": 60, "never right": 1, "always right": 1}
    assert [(rate["pass_rate"], rate["kept"]) for rate in tables.read(found.rates)] == [
        (0.0, False),
        (0.25, True),
        (0.5, True),
        (1.0, False),
    ]


def test_the_rate_is_the_one_that_the_filter_goes_by(made, tmp_path):
    table = answers(made, [2]).to_pylist()
    for row in table[2:]:
        row["completion"] = table[0]["completion"].replace("<think>", "").replace("</think>", "")
    flexible = pa.Table.from_pylist(table, schema=tables.ROLLOUT)
    for by, rate in (("strict", 0.5), ("flexible", 1.0)):
        found = selected(made, tmp_path / by, flexible, by=by, max_rate=1.0)
        assert [row["pass_rate"] for row in tables.read(found.train)] == [rate]


BROKEN = """
from dataclasses import replace
from rlvr_plugins import hookimpl
from rlvr_plugins.tasks import countdown

def verify(completion, example):
    raise RuntimeError("no memory left")

@hookimpl
def rlvr_tasks():
    yield replace(next(iter(countdown.rlvr_tasks())), name="broken", verify=verify)
"""


def test_a_verifier_that_fails_is_named_and_not_taken_for_a_wrong_answer(made, tmp_path, installed):
    installed(BROKEN)
    pq.write_table(answers(made, [1, 2]), tmp_path / "rollouts.parquet")
    config = {**step("pass_rate", {}, ("train",)), "task": "broken"}
    out = {name: tmp_path / name for name in ("train", "dropped", "rates", "stats")}
    with pytest.raises(RlvrError, match="the verifier failed on 8 of 8 completions: raised: RuntimeError: no memory"):
        select.run(config, rows=made.train, rollouts=tmp_path / "rollouts.parquet", **out)


def test_a_filter_that_fails_in_the_middle_leaves_no_rows(made, tmp_path, installed, monkeypatch):
    monkeypatch.setattr(filtering, "BATCH", 8)
    first = tables.read(made.raw["train"])[0]["key"]
    installed(MODULE.format(body=f"return [''] * len(rows) if rows[0].key == {first!r} else 1 / 0"))
    with pytest.raises(RlvrError, match="division by zero"):
        run(made, tmp_path / "out", step("strange"))
    assert not (tmp_path / "out" / "train.parquet").exists()


def test_fewer_rows_than_a_batch_are_refused_before_training(made, tmp_path):
    few = tmp_path / "few.parquet"
    pq.write_table(pq.read_table(made.train).slice(0, 3), few)
    config = {
        "trainer": {"max_steps": 1, "per_device_train_batch_size": 16, "num_generations": 4},
        "rewards": {"correctness": 1.0},
        "max_failures": 0.1,
        "max_logp_difference": 0.5,
        "max_zero_variance_steps": 100,
        "order": "shuffled",
        "dynamic": None,
        "keep_completions": None,
        "evaluate": None,
        "adapter": None,
        "device": "cpu",
        "engines": {"training": "auto", "rollouts": "auto", "server": None, "obstacle": None},
        "seed": 0,
    }
    files = {name: tmp_path / name for name in ("policy", "metrics", "completions", "evaluated")}
    with pytest.raises(RlvrError, match="3 training rows are left, but one batch takes 4 prompts; loosen the filters"):
        grpo.run(config, base=made.base, data=[few], **files)


def test_completions_of_other_rows_are_refused(made, tmp_path):
    moved = answers(made, [1, 2]).to_pylist()
    for row in moved:
        row["position"] += 1
    with pytest.raises(RlvrError, match=r"rollouts\.parquet: row 1 is for another item; delete it and run again"):
        selected(made, tmp_path / "out", pa.Table.from_pylist(moved, schema=tables.ROLLOUT))


def test_the_order_of_the_prompts_is_that_of_their_pass_rates():
    rows = [{"key": key, "pass_rate": rate} for key, rate in (("a", 0.5), ("b", 0.9), ("c", 0.1), ("d", 0.5))]
    ordered = grpo_engine._ordered
    orders = {order: "".join(row["key"] for row in ordered(rows, order)) for order in ("easy_first", "hard_first")}
    assert orders == {"easy_first": "badc", "hard_first": "cadb"}
    assert grpo_engine._ordered(rows, "shuffled") == rows


@pytest.fixture
def gathered(made, tmp_path) -> SimpleNamespace:
    """A data set folder made from rows of which some were dropped, one of them with hostile text."""
    rows = tables.read(made.raw["train"])
    hostile = "<script>alert(1)</script>"
    rows[5] = {**rows[3], "prompt": [*rows[3]["prompt"][:-1], {"role": "user", "content": hostile}]}
    tables.write(tmp_path / "raw.parquet", [*rows, rows[5]], tables.ITEM)
    found = run(made, tmp_path / "step", step("duplicates"), from_train=tmp_path / "raw.parquet")
    picked = selected(made, tmp_path / "picked", answers(made, [0, 2]))
    folder = tmp_path / "dataset"
    folder.mkdir()
    source = tmp_path / "source.json"
    source.write_text(json.dumps({"left_out": {"not JSON": 2}, "notes": [], "files": {"a.jsonl": "0f"}}))
    shutil.copyfile(tmp_path / "step" / "stats.parquet", tmp_path / "stats.json")
    names = {"card": "README.md", "stats": "stats.json", "dropped": "dropped.html", "figures": "figures"}
    dataset.run(
        {
            "task": "countdown",
            "experiment": "micro",
            "options": {"high": 20},
            "steps": ["01-duplicates"],
            "prompts_asked": {"dapo": 700, "other": 64},
            "epochs": {"long": 200},
            "max_epochs": 10,
            "warns": True,
        },
        base=made.base,
        pool=[found.train],
        raw_train=tmp_path / "raw.parquet",
        raw_sft=made.raw["sft"],
        raw_stats=source,
        from_train=found.train,
        from_sft=found.sft,
        from_eval=made.eval,
        step_stats=[tmp_path / "stats.json"],
        step_dropped=[found.dropped],
        rates=picked.rates,
        **{split: folder / f"{split}.parquet" for split in ("train", "sft", "eval")},
        **{key: folder / name for key, name in names.items()},
    )
    return SimpleNamespace(folder=folder, hostile=hostile)


def test_the_counts_add_up(gathered, capfd):
    stats = json.loads((gathered.folder / "stats.json").read_text())
    assert stats["splits"]["train"] == {"rows": 65, "kept": 64, "dropped": {"01-duplicates": {"seen before": 1}}}
    assert stats["source"]["left_out"] == {"not JSON": 2}
    assert stats["lengths"]["train"]["before"]["rows"] == 65
    assert sum(stats["lengths"]["train"]["after"]["counts"]) == 64
    assert stats["seen"] == {"dapo": 10.938, "other": 1.0, "long": 200}
    assert stats["pass_rates"] == {"rate": [0.0, 0.5], "prompts": [1, 1], "kept": [0, 1]}


def test_a_pool_that_is_seen_too_often_is_named_with_figures(made, tmp_path, capfd, request):
    request.getfixturevalue("gathered")
    said = capfd.readouterr().err
    assert "training has 64 prompts, and variant dapo samples each of them at least 10.9" in said
    assert "more than grpo.max_epochs (10)" in said and "variant other" not in said


def test_what_was_dropped_is_escaped_in_the_page(gathered):
    page = (gathered.folder / "dropped.html").read_text()
    assert gathered.hostile not in page and "&lt;script&gt;" in page


def test_the_folder_is_a_data_set_of_the_hub(gathered, tmp_path):
    for config, split, rows in (("default", "train", 64), ("sft", "train", 64), ("eval", "test", 12)):
        loaded = datasets.load_dataset(str(gathered.folder), config, cache_dir=str(tmp_path / "cache"))
        assert {name: len(part) for name, part in loaded.items()} == {split: rows}


def test_the_card_says_what_the_rows_come_from(gathered):
    card = (gathered.folder / "README.md").read_text()
    assert '"high": 20' in card and '"a.jsonl": "0f"' in card
    assert "The source left out: not JSON 2." in card
    assert "| train   | 01-duplicates | 65     | 64     | 1         | seen before 1 |" in card


def test_figures_are_drawn_in_both_formats(gathered):
    names = {path.name for path in (gathered.folder / "figures").iterdir()}
    assert names == {f"{name}.{ending}" for name in ("lengths", "pass_rates") for ending in ("png", "svg")}


def leaky(made, folder: Path) -> Path:
    """Training rows with two held-out ones behind them."""
    rows = pa.concat_tables([pq.read_table(made.raw["train"]), pq.read_table(made.eval).slice(0, 2)])
    pq.write_table(rows, folder / "leaky.parquet")
    return folder / "leaky.parquet"


def test_a_leak_ends_the_run_where_the_config_says_so(made, tmp_path):
    config = {**step("decontaminate", {"rules": ["item"]}), "leakage": {"found": "refuse", "ngram": None}}
    with pytest.raises(RlvrError) as raised:
        run(made, tmp_path / "out", config, from_train=leaky(made, tmp_path), evaluation=[made.eval])
    said = str(raised.value)
    assert said.startswith(
        "leakage: 2 train rows of 'countdown' stand in an evaluation set (item 2); the first is row 65"
    )
    assert "allowed: leakage.found: drop" in said and "\n" not in said
    assert not (tmp_path / "out" / "train.parquet").exists()


def test_rows_that_only_share_words_are_counted_and_kept(made, tmp_path):
    task = catalogue().task("gsm8k")
    items = task.items(task.options(source="synthetic"), 200, 40, 0)
    for name, examples in (("train", items.train), ("eval", items.eval)):
        rows = [
            {"task": "gsm8k", "key": each.key, "prompt": task.prompt(each), "example": tables.to_text(each)}
            for each in examples
        ]
        tables.write(tmp_path / f"{name}.parquet", rows, tables.ITEM)
    own = {**step("decontaminate", {"rules": ["item", "normalised"]}), "task": "gsm8k"}
    files = {
        "from_train": tmp_path / "train.parquet",
        "from_sft": tmp_path / "train.parquet",
        "evaluation": [tmp_path / "eval.parquet"],
    }
    found = run(made, tmp_path / "out", {**own, "leakage": {"found": "refuse", "ngram": 8}}, **files)
    searched = run(made, tmp_path / "by words", {**own, "options": {"rules": ["ngram"]}}, **files)
    there = searched.counts["train"]["dropped"]["in an evaluation set: ngram"]
    assert found.counts["shared"] == {"train": there, "sft": there} and there > 20
    assert found.counts["train"] == {"rows": 200, "kept": 200, "dropped": {}}
