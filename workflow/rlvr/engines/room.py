"""Whether prompts leave room for a completion in the model, and what to do where one does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.engines.lengths import Lengths, limit
from rlvr.errors import RlvrError

MOST_CHARACTERS = 300
KEY_CHARACTERS = 60
LEAST_SHOWN = 16
TRAIN, HELD_OUT = "training", "held-out"


def require(base: Path, rows: Sequence[Mapping[str, Any]], completion: int, key: str, kind: str) -> int:
    """Longest prompt and completion together, tokens.

    rows: with `task`, `key` and `prompt`, those of a task in their order. completion: most tokens of one, as the config
    key `key` says. kind: `TRAIN` or `HELD_OUT`. Raises RlvrError naming the row whose prompt leaves too little room.
    """
    counted = Lengths(base).conversations([row["prompt"] for row in rows])
    if line := problem(limit(base), rows, counted, completion, key, kind):
        raise RlvrError(line)
    return max(counted, default=0) + completion


def problem(
    most: int | None,
    rows: Sequence[Mapping[str, Any]],
    counted: Sequence[int],
    completion: int,
    key: str,
    kind: str,
    prompt: str = "",
) -> str | None:
    """A line of at most 300 characters on the longest prompt where it and a completion are more than the model takes.

    most: tokens that the model takes; None: not known. counted: tokens of each row's prompt. prompt: the task's key of
    one that an arm has of its own, such as `prompts.base`. Names what helps for such rows: a filter for training rows,
    for held-out ones, which no filter touches, another file or fewer of them.
    """
    longest = max(counted, default=0)
    if not most or longest + completion <= most:
        return None
    row = rows[counted.index(longest)]
    own = [count for other, count in zip(rows, counted, strict=True) if other["task"] == row["task"]]
    options = [f"up to {most - longest}"] if most > longest else []
    if kind == TRAIN and most > completion:
        options.append(f"filters: [{{tokens: {{max_prompt: {most - completion}}}}}]")
    if kind == HELD_OUT:
        first = next(place for place, count in enumerate(own) if count + completion > most)
        options += [f"tasks.{row['task']}.eval: {first}"] if first else []
        options += [] if prompt else ["an eval file without it"]
    if prompt or min(own) + completion > most:
        options.append(f"a shorter tasks.{row['task']}.{prompt or 'user_prompt'}")
    options.append(f"a base that takes {longest + completion} (of tiny: max_positions)")
    where = f"tasks.{row['task']}, {kind} row {own.index(longest) + 1}"
    for kept in range(len(options), 0, -1):
        allowed = ", or ".join([*options[:1], *options[len(options) - kept + 1 :]])
        begins = f"{key}: {completion} tokens and the {longest} of the longest prompt ({where}"
        ends = f") are more than the model takes ({most}); allowed: {allowed}"
        left = MOST_CHARACTERS - len(begins) - len(ends) - len(", ")
        if left >= LEAST_SHOWN:
            return f"{begins}, {shortened(row['key'], min(left, KEY_CHARACTERS))}{ends}"
    return f"{begins}{ends}"[:MOST_CHARACTERS]


def shortened(key: str, most: int) -> str:
    """The key of a row in quotes, of at most so many characters."""
    shown = ascii(key)
    return shown if len(shown) <= most else f"{shown[: most - 4]}...{shown[0]}"
