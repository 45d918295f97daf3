"""Has lm-eval answer and judge held-out items, as a second opinion on our completions and our verifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from rlvr import tables
from rlvr.engines import device, second_opinion
from rlvr.errors import RlvrError

OPINION = pa.schema(
    [
        ("key", pa.string()),
        ("completion", pa.string()),
        *((name, pa.bool_()) for name in ("strict_match", "flexible_extract")),
        *((name, pa.string()) for name in ("strict_answer", "flexible_answer")),
    ]
)


def run(
    config: dict[str, Any], *, model: Path, data: Path, completions: Path, figures: Path, samples: Path
) -> dict[str, Any]:
    """Greedy, with the prompts of `completions`, the same most tokens and end tokens.

    `samples` gets a row an item: lm-eval's completion, what its two filters extract and whether that is right.
    `figures` gets their shares and lm-eval's version. Raises RlvrError where lm-eval would make other tokens of a
    prompt than we do.
    """
    chosen = device.choose(config["device"])
    items, answers = tables.read(data), tables.read(completions)
    if [row["key"] for row in items] != [row["key"] for row in answers]:
        raise RlvrError(f"{completions}: its items are not those of {data}; delete it and run again")
    golds = [str(tables.to_example(row["key"], row["example"]).fields["answer"]) for row in items]
    harness = second_opinion.Harness(model, chosen, config["batch_size"])
    prompts = harness.prompts([row["prompt"] for row in answers])
    rows = [
        {"key": row["key"], **opinion, "completion": harness.prefixes.of(answer["prompt"]) + opinion["completion"]}
        for row, answer, opinion in zip(
            items, answers, harness.judged(prompts, golds, config["max_completion_tokens"]), strict=True
        )
    ]
    tables.write(samples, rows, OPINION)
    found = {name: sum(row[name] for row in rows) / len(rows) for name in ("strict_match", "flexible_extract")}
    figures.write_text(tables.json_text({"items": len(rows), **found, **harness.facts()}), encoding="utf-8")
    return {"device": str(chosen), "items": len(rows), **found}
