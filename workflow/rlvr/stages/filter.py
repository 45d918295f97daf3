"""Drops rows that training can't use, and counts them by reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from rlvr import console, tables
from rlvr.errors import RlvrError

Row = dict[str, Any]


def run(
    config: dict[str, Any],
    *,
    base: Path,
    raw_train: Path,
    raw_eval: Path,
    raw_sft: Path,
    train: Path,
    eval: Path,
    sft: Path,
    stats: Path,
) -> dict[str, Any]:
    """Filters training and SFT rows; held-out rows stay as they are, so that all runs compare.

    `stats` gets, for each split, the rows in, kept, and dropped by filter.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    if not tokenizer.chat_template:
        raise RlvrError(f"{base}: the tokenizer has no chat template; take an instruct model")
    counts = {}
    for split, source, target, schema in (
        ("train", raw_train, train, tables.ITEM),
        ("sft", raw_sft, sft, tables.DEMONSTRATION),
        ("eval", raw_eval, eval, tables.ITEM),
    ):
        rows = tables.read(source)
        kept, dropped = (rows, {}) if split == "eval" else apply(rows, config["filters"], tokenizer, source)
        tables.write(target, kept, schema)
        counts[split] = {"rows": len(rows), "kept": len(kept), "dropped": dropped}
        console.note(f"{target}: {counts[split]}")
    stats.write_text(json.dumps(counts, indent=1) + "\n")
    return {"rows": counts}


def apply(rows: list[Row], filters: list[dict], tokenizer: Any, name: Any) -> tuple[list[Row], dict[str, int]]:
    """The rows that pass all filters, in order, and the number each filter dropped."""
    dropped = {}
    for position, chosen in enumerate(filters):
        (kind, options), *_ = [(key, value) for key, value in chosen.items() if value is not None]
        keep = FILTERS[kind](options, tokenizer)
        kept = keep(rows)
        if rows and not kept:
            raise RlvrError(f"filters[{position}] {kind}: drops all {len(rows)} rows of {name}; loosen it")
        dropped[kind] = dropped.get(kind, 0) + len(rows) - len(kept)
        rows = kept
    return rows, dropped


def _duplicates(options: dict, tokenizer: Any) -> Callable[[list[Row]], list[Row]]:
    def keep(rows: list[Row]) -> list[Row]:
        first = {}
        for row in rows:
            first.setdefault(json.dumps(_messages(row)), row)
        return list(first.values())

    return keep


def _tokens(options: dict, tokenizer: Any) -> Callable[[list[Row]], list[Row]]:
    def keep(rows: list[Row]) -> list[Row]:
        if not rows:
            return rows
        texts = [
            tokenizer.apply_chat_template(_messages(row), tokenize=False, add_generation_prompt="completion" not in row)
            for row in rows
        ]
        lengths = map(len, tokenizer(texts, add_special_tokens=False)["input_ids"])
        return [row for row, length in zip(rows, lengths, strict=True) if length <= options["max"]]

    return keep


FILTERS = {"duplicates": _duplicates, "tokens": _tokens}


def _messages(row: Row) -> list[dict[str, str]]:
    return [*row["prompt"], *row.get("completion", [])]
