"""Answers a task's held-out items with one model: greedily, or several times an item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import tables
from rlvr.engines import choice, device, generation
from rlvr.engines.decoding import Decoding
from rlvr_plugins.manager import catalogue


def run(config: dict[str, Any], *, model: Path, data: Path, completions: Path) -> dict[str, Any]:
    """`completions` gets a row a completion, in the order of `data`: key, prompt, completion, tokens, finish.

    With `sampled` in the config an item has as many rows, one after the other, drawn with its seed; without,
    one, greedy. With `prompt` in the config the items are put that way, else as they stand in `data`.
    """
    chosen = device.choose(config["device"])
    engine = choice.generation(config["engine"], chosen)
    rows = tables.read(data)
    prompts = _prompts(config["prompt"], rows)
    decoding, seed = _decoding(config)
    answers, seconds = generation.generate(engine, model, prompts, chosen, decoding, seed, title="generate")
    keyed = [
        {"key": row["key"], "prompt": prompt, **answer}
        for row, prompt, found in zip(rows, prompts, answers, strict=True)
        for answer in found
    ]
    tables.write(completions, keyed, tables.ANSWER)
    tokens = sum(row["tokens"] for row in keyed)
    facts = {"device": str(chosen), "engines": {"generation": engine}}
    return {**facts, "items": len(rows), "tokens": tokens, "generation_seconds": seconds}


def _prompts(own: dict[str, Any] | None, rows: list[dict[str, Any]]) -> list[generation.Messages]:
    if own is None:
        return [row["prompt"] for row in rows]
    task = catalogue().task(own["task"])
    examples = [tables.to_example(row["key"], row["example"]) for row in rows]
    return [task.prompt(example, own["system_prompt"], own["user_prompt"]) for example in examples]


def _decoding(config: dict[str, Any]) -> tuple[Decoding, int]:
    limits = (config["max_completion_tokens"], config["batch_size"])
    sampled = config["sampled"]
    if sampled is None:
        return Decoding(*limits), 0
    return Decoding(*limits, sampled["samples"], sampled["temperature"], sampled["top_p"]), sampled["seed"]
