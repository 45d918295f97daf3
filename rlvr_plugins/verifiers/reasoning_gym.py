"""Judges an answer with the scorer of a reasoning-gym data set; meant for a worker process."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from rlvr_plugins.types import UNREADABLE, Example, Verdict
from rlvr_plugins.verifiers.extraction import stated
from rlvr_plugins.verifiers.tags import NOT_ALONE, read_tags, shown


@cache
def dataset_of(name: str, config: str, seed: int, size: int):
    """A reasoning-gym data set; `config` is JSON. Raises ValueError on options it refuses."""
    from reasoning_gym import create_dataset

    try:
        return create_dataset(name, seed=seed, size=size, **json.loads(config))
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"options.config: reasoning_gym:{name} refuses it: {error}") from None


def verify_reasoning_gym(name: str, completion: str, example: Example) -> Verdict:
    """Asks the scorer of data set `name` for the answer element; without one, for what the response states last."""
    fields = example.fields
    dataset = dataset_of(name, fields["config"], fields["seed"], fields["size"])
    entry = dataset[fields["index"]]
    tagged = read_tags(completion)
    if tagged.answer is None:
        statement = stated(tagged.response)
        lines = tagged.response.strip().splitlines()
        found = statement[0] if statement else (lines[-1] if lines else "")
        flexible = _score(dataset, entry, found) == 1
        return Verdict(False, flexible, False, shown(found), tagged.missing)
    score = _score(dataset, entry, tagged.answer)
    right = score == 1
    strict = right and tagged.well_formed
    reason = f"the scorer of {name} gives {score:g}"
    if right:
        reason = "" if strict else NOT_ALONE
    return Verdict(
        strict,
        right,
        tagged.well_formed,
        shown(tagged.answer),
        reason,
        "" if tagged.answer else UNREADABLE,
        tagged.answers,
        score if tagged.well_formed else 0.0,
    )


def _score(dataset: Any, entry: dict[str, Any], answer: str) -> float:
    """From 0 to 1; some scorers raise on an answer they can't read."""
    try:
        return min(1.0, max(0.0, float(dataset.score_answer(answer=answer, entry=entry))))
    except (MemoryError, ImportError):
        raise
    except Exception:
        return 0.0
