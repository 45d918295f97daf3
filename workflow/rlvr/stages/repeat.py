"""Answers some held-out items once more, to measure how far an engine repeats itself."""

from __future__ import annotations

import random
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from rlvr import tables
from rlvr.engines import choice, device, generation, models
from rlvr.engines.decoding import Decoding
from rlvr.errors import RlvrError
from rlvr.stages import score
from rlvr_plugins.manager import catalogue


def run(config: dict[str, Any], *, model: Path, data: Path, completions: Path, measured: Path) -> dict[str, Any]:
    """Greedily, in two orders that are both drawn: one item at a time, and as many at once as in `completions`.

    `measured` gets, for each pass, how many completions are those that are stored, the verdicts that flip, and the
    median place of the first token that differs; and the items that differ.
    """
    task = catalogue().task(config["task"])
    chosen = device.choose(config["device"])
    engine = choice.generation(config["engine"], chosen)
    items, stored = tables.read(data), tables.read(completions)
    if [row["key"] for row in items] != [row["key"] for row in stored]:
        raise RlvrError(f"{completions}: its items are not those of {data}; delete it and run again")
    examples = [tables.to_example(row["key"], row["example"]) for row in items]
    chance = random.Random(f"repeat {config['seed']}")
    places = chance.sample(range(len(items)), min(config["items"], len(items)))
    tokenizer = models.load_tokenizer(model)
    before = score.judged(task, [(stored[place]["completion"], examples[place]) for place in places])
    passes, differing = [], []
    for size in (1, config["batch_size"]):
        order = chance.sample(range(len(places)), len(places))
        prompts = [stored[places[i]]["prompt"] for i in order]
        decoding = Decoding(config["max_completion_tokens"], size)
        found, _ = generation.generate(engine, model, prompts, chosen, decoding, 0, title=f"repeat, {size} at once")
        again = dict(zip(order, (group[0] for group in found), strict=True))
        after = score.judged(task, [(again[i]["completion"], examples[place]) for i, place in enumerate(places)])
        firsts, strict, flexible = [], 0, 0
        for i, place in enumerate(places):
            old, new = stored[place], again[i]
            strict += before[i].strict != after[i].strict
            flexible += before[i].flexible != after[i].flexible
            if (old["completion"], old["finish"]) == (new["completion"], new["finish"]):
                continue
            firsts.append(_first_difference(tokenizer, old["completion"], new["completion"]))
            differing.append({"key": old["key"], "batch_size": size, "stored": old["completion"], **new})
        passes.append(
            {
                "batch_size": size,
                "identical": len(places) - len(firsts),
                "first_difference": median(firsts) if firsts else None,
                "strict_flips": strict,
                "flexible_flips": flexible,
            }
        )
    facts = {"device": str(chosen), "engines": {"generation": engine}}
    result = {"items": len(places), "of": len(items), "engine": engine, "device": str(chosen), "passes": passes}
    measured.write_text(tables.json_text({**result, "differing": differing}), encoding="utf-8")
    return {**facts, **{key: result[key] for key in ("items", "passes")}}


def _first_difference(tokenizer, one: str, other: str) -> int:
    """Place of the first token that differs, from 0, of the texts as the tokenizer splits them."""
    pairs = zip_longest(*(tokenizer(text, add_special_tokens=False)["input_ids"] for text in (one, other)))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), 0)
