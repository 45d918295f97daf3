"""A million rows through three filters, beside the naive loop: `datasets.map` and `filter`, one row at a time.

    python benchmarks/data.py [--rows 1000000] [--naive 20000] [--threads 2]

Rows are generated word problems, of which many are alike. Prints rows a second and peak memory of each stage, and
the ratio to the naive loop, which is measured on fewer rows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rlvr import tables
from rlvr.base_section import Tiny
from rlvr.provenance import peak_memory
from rlvr.stages import base
from rlvr_plugins import Example
from rlvr_plugins.manager import catalogue
from rlvr_plugins.tasks import word_problems

TASK = "gsm8k"
STEPS = {"tokens": {"max": 45}, "duplicates": {}, "decontaminate": {}}
HELD_OUT = 1000


def items(count: int, seed: int) -> Iterator[dict]:
    rng = random.Random(seed)
    task = catalogue().task(TASK)
    for _ in range(count):
        question, solution = word_problems.generate(rng, small=40, large=400)
        fields = {"question": question, "solution": solution, "answer": solution.rpartition("#### ")[2]}
        example = Example(question.lower(), fields)
        yield {"task": TASK, "key": example.key, "prompt": task.prompt(example), "example": tables.to_text(example)}


def make(folder: Path, rows: int, naive_rows: int) -> None:
    tables.write_stream(folder / "train.parquet", items(rows, 0), tables.ITEM)
    tables.write_stream(folder / "eval.parquet", items(HELD_OUT, 1), tables.ITEM)
    tables.write(folder / "sft.parquet", [], tables.DEMONSTRATION)
    tables.write_stream(folder / "naive.parquet", items(naive_rows, 0), tables.ITEM)
    shape = Tiny(vocabulary=1000).model_dump()
    config = {"base": {"model": "tiny", "tiny": shape}, "seed": 0}
    base.run(config, data=[folder / "naive.parquet"], weights=folder / "base")


def stage(folder: Path, name: str, source: Path, threads: int) -> tuple[Path, dict]:
    """Runs one filter as the workflow does; returns the folder it wrote and its manifest."""
    out = folder / name
    out.mkdir()
    step = {"task": TASK, "step": name, "filter": name, "options": STEPS[name], "splits": ["train"]}
    (out / "slice.json").write_text(json.dumps(step), encoding="utf-8")
    outputs = {"train": "train.parquet", "sft": "sft.parquet", "dropped": "dropped.parquet", "stats": "stats.json"}
    command = [sys.executable, "-m", "rlvr", "filter", "--config", out / "slice.json"]
    command += ["--base", folder / "base", "--evaluation", folder / "eval.parquet"]
    command += ["--from-train", source, "--from-sft", folder / "sft.parquet"]
    command += [part for key, file in outputs.items() for part in (f"--{key}", out / file)]
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([*map(str, command), "--manifest", out / "manifest.json"], check=True, env=env)
    return out, json.loads((out / "manifest.json").read_text(encoding="utf-8"))


def naive(folder: Path) -> dict[str, float]:
    """Rows a second of the loop that one would write first."""
    from datasets import Dataset, disable_caching, disable_progress_bars
    from transformers import AutoTokenizer

    disable_caching(), disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    data = Dataset.from_parquet(str(folder / "naive.parquet"), cache_dir=str(folder / "cache"))
    held_out = Dataset.from_parquet(str(folder / "eval.parquet"), cache_dir=str(folder / "cache"))
    question = catalogue().task(TASK).question
    seen: set[str] = set()

    def runs(row: dict) -> set[str]:
        words = question(tables.to_example(row["key"], row["example"])).lower().split()
        return {" ".join(words[i : i + 8]) for i in range(len(words) - 7)}

    known = {run for row in held_out for run in runs(row)}

    def count(row: dict) -> dict:
        return {"tokens": len(tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"])}

    def fresh(row: dict) -> bool:
        text = json.dumps(row["prompt"])
        return not (text in seen or seen.add(text))

    rates = {}
    for name, step in (
        ("tokens", lambda found: found.map(count).filter(lambda row: row["tokens"] <= STEPS["tokens"]["max"])),
        ("duplicates", lambda found: found.filter(fresh)),
        ("decontaminate", lambda found: found.filter(lambda row: not runs(row) & known)),
    ):
        begun, size = time.perf_counter(), len(data)
        data = step(data)
        rates[name] = size / (time.perf_counter() - begun)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--naive", type=int, default=20_000, help="rows of the naive loop")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.perf_counter()
        make(folder, given.rows, given.naive)
        print(f"made {given.rows:,} rows in {time.perf_counter() - begun:.0f} s ({peak_memory() / 2**20:,.0f} MiB)")
        rates = naive(folder)
        source = folder / "train.parquet"
        print("filter            rows in       kept    rows/s  peak MiB  naive rows/s   ratio")
        for step in STEPS:
            out, manifest = stage(folder, step, source, given.threads)
            counts = manifest["rows"]["train"]
            rate = counts["rows"] / manifest["seconds"]["work"]
            memory = manifest["peak_memory_bytes"] / 2**20
            print(
                f"{step:14} {counts['rows']:10,} {counts['kept']:10,} {rate:9,.0f} {memory:9,.0f} "
                f"{rates[step]:13,.0f} {rate / rates[step]:7.1f}"
            )
            source = out / "train.parquet"


if __name__ == "__main__":
    main()
