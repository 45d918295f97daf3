"""Samples completions for training prompts with the model that GRPO will start from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from rlvr import console, folders, plugin_options, provenance, tables, unfinished
from rlvr.engines import checkpoints, choice, device, models
from rlvr.engines.decoding import Decoding
from rlvr.engines.generation import Generator
from rlvr.engines.lengths import Lengths
from rlvr_plugins import Rollout, calls, parquet
from rlvr_plugins.guard import Judge
from rlvr_plugins.manager import catalogue

CHUNK = 128
"""Prompts between two saves; a killed run loses at most these."""


def run(config: dict[str, Any], *, base: Path, rows: Path, rollouts: Path, sft: Path | None = None) -> dict[str, Any]:
    """`rollouts` gets a row a completion: position of its prompt in `rows`, key, completion, tokens, finish.

    What was sampled is saved as it goes; the same command goes on from there, with the same result.
    """
    chosen = device.choose(config["device"])
    engine = choice.generation(config["engine"], chosen)
    inputs = [provenance.contents(path) for path in (base, *([sft] if sft else []), rows)]
    key = checkpoints.key("rollouts", config=config, inputs=inputs, engine=engine)
    with unfinished.kept(rollouts, key) as folder:
        prompts = tables.table(rows, ["key", "prompt"])
        order = list(range(len(prompts)))
        if config["sampling"]["target"] is not None:
            random.Random(f"rollouts {config['seed']}").shuffle(order)
        sampled = _sample(config, engine, order, prompts, base, sft, chosen, folder, rows)
        table = pa.concat_tables([tables.ROLLOUT.empty_table(), *sampled]).sort_by("position")
        pq.write_table(table, rollouts, **tables.CHECKED)
    facts = {"device": str(chosen), "engines": {"generation": engine}}
    return {**facts, "prompts": len(set(table["position"].to_pylist())), "completions": len(table)}


def _sample(
    config: dict[str, Any],
    engine: str,
    order: list[int],
    prompts: pa.Table,
    base: Path,
    sft: Path | None,
    chosen: torch.device,
    folder: Path,
    rows: Path,
) -> Iterator[pa.Table]:
    """A table a chunk of prompts, from disk where an earlier run left it, until there are enough."""
    sampling = config["sampling"]
    target, found, generator = sampling["target"], 0, None
    wanted = _Wanted(config, rows) if target is not None else None
    total = len(order) if target is None else min(target, len(order))
    with console.bar("rollouts", total, "prompt") as progress:
        for start in range(0, len(order), CHUNK):
            chunk = order[start : start + CHUNK]
            part = folder / f"part-{start:09d}.parquet"
            table = _read(part)
            if table is None:
                generator = generator or _generator(config, engine, prompts, base, sft, chosen, folder)
                table = _complete(generator, chunk, prompts, random.Random(f"{config['seed']} {start}").getrandbits(63))
                _write(table, part)
            if wanted is None:
                found += len(chunk)
            else:
                table, new = wanted.first(table, chunk, target - found)
                found += new
            yield table
            progress.update(min(found, total) - progress.n)
            if found == target:
                break
    if target is not None and found < target:
        console.say(f"rollouts: {found} of {len(order)} prompts are wanted, fewer than target_size ({target})")


def _generator(
    config: dict[str, Any],
    engine: str,
    prompts: pa.Table,
    base: Path,
    sft: Path | None,
    chosen: torch.device,
    folder: Path,
) -> Generator:
    sampling = config["sampling"]
    decoding = Decoding(
        sampling["max_completion_tokens"],
        sampling["batch_size"],
        sampling["completions"],
        sampling["temperature"],
        sampling["top_p"],
    )
    longest = max(Lengths(base).conversations(prompts["prompt"].to_pylist())) if engine == "vllm" else None
    return Generator.open(engine, _start(base, sft, folder), chosen, decoding, longest=longest)


def _start(base: Path, sft: Path | None, folder: Path) -> Path:
    """A folder with the model that GRPO starts from; an adapter is merged into a copy below `folder`."""
    if sft is None or not models.is_adapter(sft):
        return sft or base
    weights = folder / "model"
    with folders.replaced(weights) as part:
        models.merged(base, sft).save_pretrained(part)
        models.load_tokenizer(base).save_pretrained(part)
    return weights


def _complete(generator: Generator, chunk: list[int], prompts: pa.Table, seed: int) -> pa.Table:
    items = prompts.take(chunk).to_pylist()
    completed = generator.complete([item["prompt"] for item in items], seed)
    found = [
        {"position": position, "key": item["key"], **completion}
        for position, item, completions in zip(chunk, items, completed, strict=True)
        for completion in completions
    ]
    return pa.Table.from_pylist(found, schema=tables.ROLLOUT)


def _write(table: pa.Table, part: Path) -> None:
    unfinished = part.with_suffix(".part")
    pq.write_table(table, unfinished, **tables.CHECKED)
    unfinished.replace(part)


def _read(part: Path) -> pa.Table | None:
    """The part, None where it is missing or damaged."""
    try:
        return parquet.table(part) if part.exists() else None
    except parquet.ParquetError as error:
        console.note(f"{part} is sampled again: {error}")
        return None


class _Wanted:
    """Finds the prompts of a chunk that the filter will keep."""

    def __init__(self, config: dict[str, Any], rows: Path) -> None:
        plugin = catalogue().filter(config["filter"])
        options = plugin_options.load("filter", plugin.name, config["options"])
        self._what = f"filter {plugin.name!r}"
        self._wanted = plugin.sampling(options).wanted
        self._task = catalogue().task(config["task"])
        self._examples = tables.table(rows, ["key", "example"])

    def first(self, table: pa.Table, chunk: list[int], most: int) -> tuple[pa.Table, int]:
        """The completions of the chunk's prompts up to the one that is the `most`-th wanted, and how many are."""
        kept, found = set(), 0
        wanted = self._of(table)
        for position in chunk:
            kept.add(position)
            found += wanted[position]
            if found == most:
                break
        mask = pa.array([position in kept for position in table["position"].to_pylist()], pa.bool_())
        return table.filter(mask), found

    def _of(self, table: pa.Table) -> dict[int, bool]:
        rows = table.to_pylist()
        positions = sorted({row["position"] for row in rows})
        items = self._examples.take(positions).to_pylist()
        examples = {
            position: tables.to_example(item["key"], item["example"])
            for position, item in zip(positions, items, strict=True)
        }
        judge = Judge(self._task)
        try:
            verdicts = judge.judge_all([(row["completion"], examples[row["position"]]) for row in rows])
        finally:
            judge.close()
        groups: dict[int, list[Rollout]] = {}
        for row, verdict in zip(rows, verdicts, strict=True):
            groups.setdefault(row["position"], []).append(tables.to_rollout(row, verdict))
        with calls.calling(self._what, calls.DATA_SECONDS):
            return {position: bool(self._wanted(group)) for position, group in groups.items()}
