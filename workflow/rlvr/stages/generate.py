"""Answers a task's held-out items with one model: greedily, or several times an item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import protocol, protocol_lock, tables
from rlvr.engines import choice, device, generation, lengths, models, room
from rlvr.engines.decoding import Decoding
from rlvr.protocol import Protocol
from rlvr_plugins.manager import catalogue


def run(config: dict[str, Any], *, model: Path, data: Path, completions: Path) -> dict[str, Any]:
    """`completions` gets a row a completion, in the order of `data`: key, prompt, completion, tokens, finish,
    and the log-probability of each token, that of the end token included.

    With `sampled` in the config an item has as many rows, one after the other, drawn with its seed; without,
    one, greedy. With `prompt` in the config the items are put that way, else as they stand in `data`.
    Raises RlvrError where the protocol is not that of the model's manifest, or a prompt leaves a completion no room.
    """
    chosen = device.choose(config["device"])
    engine = choice.generation(config["engine"], chosen)
    rows = tables.read(data)
    prompts = _prompts(config["prompt"], rows)
    put = [{**row, "prompt": prompt} for row, prompt in zip(rows, prompts, strict=True)]
    room.require(model, put, config["max_completion_tokens"], "evaluation.max_completion_tokens", room.HELD_OUT)
    met = _met(config, model, data, rows)
    decoding, seed = _decoding(config)
    answers, seconds = generation.generate(engine, model, prompts, chosen, decoding, seed, title="generate")
    keyed = [
        {"key": row["key"], "prompt": prompt, **answer}
        for row, prompt, found in zip(rows, prompts, answers, strict=True)
        for answer in found
    ]
    tables.write(completions, keyed, tables.ANSWER)
    tokens = sum(row["tokens"] for row in keyed)
    facts = {"device": str(chosen), "engines": {"generation": engine}, "protocol": protocol.facts(met)}
    return {**facts, "items": len(rows), "tokens": tokens, "generation_seconds": seconds}


def _prompts(own: dict[str, Any] | None, rows: list[dict[str, Any]]) -> list[generation.Messages]:
    if own is None:
        return [row["prompt"] for row in rows]
    task = catalogue().task(own["task"])
    examples = [tables.to_example(row["key"], row["example"]) for row in rows]
    return [task.prompt(example, own["system_prompt"], own["user_prompt"]) for example in examples]


def _met(config: dict[str, Any], model: Path, data: Path, rows: list[dict[str, Any]]) -> dict[str, Protocol]:
    """An arm with a prompt of its own shares only template and end tokens with what it was trained under."""
    tokenizer = models.load_tokenizer(model)
    ends = models.ends_of(model, tokenizer)
    most, longest = lengths.limit(model), config["max_completion_tokens"]
    limits = {
        "max_prompt_tokens": most and most - longest,
        "max_completion_tokens": longest,
        "decoding": _locked(config["sampled"]),
    }
    met = protocol_lock.meet(rows, files=[data], models=[model], tokenizer=tokenizer, ends=ends, **limits)
    own = config["prompt"]
    if own is None:
        return met
    return protocol_lock.under(
        [Protocol(own["task"], own["system_prompt"] or "", own["user_prompt"])], tokenizer, ends, **limits
    )


def _locked(sampled: dict[str, Any] | None) -> protocol.Decoding:
    if sampled is None:
        return protocol.Decoding("greedy")
    return protocol.Decoding("sampled", **{key: sampled[key] for key in ("samples", "temperature", "top_p", "seed")})


def _decoding(config: dict[str, Any]) -> tuple[Decoding, int]:
    limits = (config["max_completion_tokens"], config["batch_size"])
    sampled = config["sampled"]
    if sampled is None:
        return Decoding(*limits, logprobs=True), 0
    drawn = (sampled["samples"], sampled["temperature"], sampled["top_p"])
    return Decoding(*limits, *drawn, logprobs=True), sampled["seed"]
