"""The protocol lock: under which prompts, chat template, end tokens, limits and decoding a task is met.

Every manifest from the data to the report holds the protocols of its stage under `protocol`; `protocol_lock` holds
them against each other.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.errors import RlvrError

ROWS = ("system_prompt", "user_prompt")
TOKENIZER = ("chat_template", "end_tokens", "stop", "completion_prefix")
PROMPT = (*ROWS, *TOKENIZER)
"""What has to stay the same from SFT to evaluation; limits and decoding may honestly differ."""
MOST_LINES = 30
MOST_CHARACTERS = 160


@dataclass(frozen=True)
class Decoding:
    """How completions are drawn. mode: `greedy` or `sampled`. samples: of a prompt."""

    mode: str
    samples: int = 1
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Protocol:
    """How a task is put to a model, and how the model answers.

    system_prompt: "" where there is none. user_prompt: with `{question}`; None: the task's own message.
    chat_template, end_tokens: those of the tokenizer, and the tokens with their ids at which a completion ends; None
    where no model is there yet, as in the data. stop: texts at which a completion ends.
    completion_prefix: what the generation prompt has already said of a completion, such as `<think>`.
    max_prompt_tokens: what the model leaves beside a completion, or in SFT takes of both together; None: not bounded.
    decoding: None where nothing is generated.
    """

    task: str
    system_prompt: str
    user_prompt: str | None
    chat_template: str | None = None
    end_tokens: Mapping[str, str] | None = None
    stop: tuple[str, ...] = ()
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    decoding: Decoding | None = None
    completion_prefix: str = ""

    @property
    def hash(self) -> str:
        """Of all of it, 16 hex digits."""
        return _digest(self.fields())

    @property
    def prompt_hash(self) -> str:
        """Of what has to stay the same from SFT to evaluation, 16 hex digits."""
        return _digest({name: self.fields()[name] for name in ("task", *PROMPT)})

    def fields(self) -> dict[str, Any]:
        """As JSON knows them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def prompt_part(self) -> Protocol:
        return Protocol(self.task, **{name: getattr(self, name) for name in PROMPT})


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def facts(protocols: Mapping[str, Protocol]) -> dict[str, dict[str, Any]]:
    """What a manifest holds under `protocol`: a task's protocol with its hashes."""
    return {
        task: {"hash": each.hash, "prompt_hash": each.prompt_hash, **each.fields()} for task, each in protocols.items()
    }


def of_facts(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Protocol]:
    """The protocols that `facts` wrote. Raises RlvrError where a hash is not that of its fields."""
    found = {}
    for task, values in content.items():
        names = [field.name for field in dataclasses.fields(Protocol)]
        if {*names, "hash"} - set(values):
            raise RlvrError(f"protocol of {task}: another version of rlvr wrote it; delete what it is of and run again")
        known = {name: values[name] for name in names}
        known["decoding"] = known["decoding"] and Decoding(**known["decoding"])
        found[task] = Protocol(**{**known, "stop": tuple(known["stop"])})
        if found[task].hash != values["hash"]:
            raise RlvrError(f"protocol of {task}: its hash {values['hash']} is not that of its fields; run again")
    return found


def difference(first: Protocol, second: Protocol, names: Sequence[str] | None = None) -> list[str]:
    """What tells two protocols apart, field by field: texts as a line diff, - of the first and + of the second.

    names: only these fields; None: all.
    """
    lines = []
    for name in names or [field.name for field in dataclasses.fields(Protocol)]:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            lines += _difference(name, one, other)
    return lines


def _difference(name: str, first: Any, second: Any) -> list[str]:
    if not (isinstance(first, str) and isinstance(second, str)):
        return [_cut(f"{name}: {_shown(first)} -> {_shown(second)}")]
    found = list(difflib.unified_diff(first.splitlines(), second.splitlines(), n=1, lineterm=""))[2:]
    if not found:  # ends of lines only
        return [_cut(f"{name}: {first!r} -> {second!r}")]
    more = [f"  ... {len(found) - MOST_LINES} more lines"] if len(found) > MOST_LINES else []
    return [f"{name}:", *(_cut(f"  {line}") for line in found[:MOST_LINES]), *more]


def _shown(value: Any) -> str:
    return json.dumps(dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value, ensure_ascii=False)


def _cut(line: str) -> str:
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 3]}..."
