"""`rlvr rescore` of 1,319 items: one greedy and ten sampled completions each, for two arms.

    python benchmarks/rescore.py [--train-path FILE --eval-path FILE] [--folder FOLDER]

A tiny model answers first, to have an experiment that is whole; its completions are then replaced by texts of about 200
tokens, four in five in the protocol. Without files of GSM8K the items are generated word problems. Prints seconds, of
which those of each stage, and the ratio to the ten seconds that a rescore may take. Works in a copy; one in a folder
that is named stays, and is measured again by the next call.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from main_job import copy, run
from verifiers import thoughts

from rlvr import provenance, tables

ITEMS, SAMPLES, ALLOWED = 1319, 10, 10.0
TRAINER = {"max_steps": 1, "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 4}


def experiment(paths: dict[str, str]) -> dict:
    source = {"source": "path", **paths} if paths else {"source": "synthetic"}
    return {
        "experiment": "rescore",
        "base": {"model": "tiny", "tiny": {"hidden_size": 32, "layers": 1, "heads": 2, "vocabulary": 400}},
        "tasks": {"gsm8k": {"train": 64, "sft": 0, "eval": ITEMS, "options": source}},
        "sft": None,
        "grpo": {"rewards": {"correctness": 1.0}, "trainer": TRAINER, "variants": {"dapo": {}}},
        "evaluation": {
            "max_completion_tokens": 4,
            "batch_size": 512,
            "sampled": {"samples": SAMPLES, "pass_at": [1, 5, 10]},
        },
    }


def fill(folder: Path) -> None:
    """Replaces every completion by a longer text, right in half of the cases."""
    rng = random.Random(0)
    golds = {
        row["key"]: json.loads(row["example"])["answer"]
        for row in tables.read(folder / "data/gsm8k/raw/eval.parquet", ["key", "example"])
    }
    for file in sorted(folder.glob("eval/**/completions.parquet")):
        rows = tables.read(file)
        for row in rows:
            said = golds[row["key"]] if rng.random() < 0.5 else str(rng.randint(1, 500))
            answer = f"<answer>{said}</answer>" if rng.random() < 0.8 else f"The answer is {said}."
            row |= {
                "completion": f"<reasoning>\n{thoughts(rng)}\n</reasoning>\n{answer}",
                "tokens": 200,
                "finish": "stop",
            }
        tables.write(file, rows, tables.ANSWER)
        manifest = file.with_name(provenance.NAME)
        content = json.loads(manifest.read_text(encoding="utf-8"))
        kept = {key: value for key, value in content.items() if key not in ("files", provenance.OWN)}
        provenance.write_manifest(manifest, [file], kept)


def prepare(folder: Path, paths: dict[str, str]) -> None:
    """A whole experiment with long completions in a folder; nothing where there is one."""
    if (folder / "results").is_dir():
        return
    copy(folder)
    (folder / "config/config.yaml").write_text(yaml.safe_dump(experiment(paths)), encoding="utf-8")
    run(["snakemake", "--cores", "1"], folder)
    fill(folder / "results/rescore")


def measured(command: list[str], folder: Path) -> tuple[str, float, float]:
    """What a command printed, its seconds, and those that it and its children computed."""
    before = os.times()
    said, seconds = run(command, folder)
    after = os.times()
    own = after.children_user + after.children_system - before.children_user - before.children_system
    return said, seconds, own


def measure(folder: Path) -> None:
    results = folder / "results/rescore"
    rlvr = [sys.executable, "-m", "rlvr"]
    _, seconds, computed = measured([*rlvr, "rescore"], folder)
    completions = sum(pq.read_metadata(file).num_rows for file in results.glob("eval/**/completions.parquet"))
    for manifest in [*sorted(results.glob("eval/**/scores.manifest.json")), results / "report/manifest.json"]:
        took = json.loads(manifest.read_text(encoding="utf-8"))["seconds"]
        name = manifest.relative_to(results).parent
        print(f"{name!s:40} {took['start']:6.1f} s starting {took['work']:6.1f} s work")
    print(
        f"rescore of {completions:,} completions: {seconds:.1f} s ({seconds / ALLOWED:.2f} of {ALLOWED:.0f} s), "
        f"of which {computed:.1f} s computing; load of the machine {os.getloadavg()[0]:.1f}"
    )
    said, seconds, computed = measured([*rlvr, "audit", "results/rescore"], folder)
    print(f"audit: {seconds:.1f} s, of which {computed:.1f} s computing; {said.splitlines()[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train-path", type=Path)
    parser.add_argument("--eval-path", type=Path)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    paths = {key: str(path.resolve()) for key in ("train_path", "eval_path") if (path := getattr(given, key))}
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder.resolve(), paths)
        measure(folder.resolve())


if __name__ == "__main__":
    main()
