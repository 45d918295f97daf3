"""Works out which protocols a stage meets, and stops where they are not those in the manifests of its inputs."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr import chat_template, provenance
from rlvr.errors import RlvrError
from rlvr.protocol import PROMPT, TOKENIZER, Protocol, difference, of_facts
from rlvr_plugins.types import QUESTION

ANSWERS = ("generate", "score")
"""Stages whose results may stand under an arm's own prompt."""


def stored(artifact: Path) -> dict[str, Protocol]:
    """The protocols in the manifest of a file or folder, by task; none without a manifest."""
    return of_facts(_manifest(artifact).get("protocol", {}))


def _manifest(artifact: Path) -> dict[str, Any]:
    manifest = provenance.find_manifest(artifact)
    return json.loads(manifest.read_text(encoding="utf-8")) if manifest else {}


def passed_on(artifacts: Iterable[Path]) -> dict[str, Protocol]:
    """The prompt part that rows and models come with, by task.

    Raises RlvrError with the difference where two of them do not agree.
    """
    found: dict[str, tuple[Path, Protocol]] = {}
    for path in artifacts:
        content = _manifest(path)
        if content.get("stage") in ANSWERS:
            continue
        for task, each in of_facts(content.get("protocol", {})).items():
            if task in found:
                first, known = found[task]
                require_same([each], {task: known}, str(path), str(first))
            if task not in found or found[task][1].chat_template is None:
                found[task] = path, each.prompt_part()
    return {task: each for task, (_, each) in found.items()}


def require_same(
    found: Iterable[Protocol], given: Mapping[str, Protocol], here: str, there: str, names: Sequence[str] = PROMPT
) -> None:
    """Raises RlvrError with the difference where what was met is not what another place has.

    A task that is not known there is held against the others by the tokenizer's part alone. here, there: both places,
    by name. names: the fields that must agree; one that either side can't know yet does not count.
    """
    for met in found:
        other, compared = given.get(met.task), names
        if other is None:
            other = next(iter(given.values()), None)
            compared = [name for name in names if name in TOKENIZER]
        if other is None:
            continue
        if met.chat_template is None or other.chat_template is None:
            compared = [name for name in compared if name not in TOKENIZER]
        lines = difference(other, met, compared)
        if lines:
            raise RlvrError(
                f"{here}: the protocol of {met.task} (+) is not that of {there} (-); allowed: the same from SFT to "
                f"evaluation\n{_indented(lines)}"
            )


def of_rows(rows: Iterable[Mapping[str, Any]], known: Mapping[str, Protocol]) -> dict[str, Protocol]:
    """The prompts of rows with `task`, `key` and `prompt`, by task; of a task that is not `known`, from its first row.

    Raises RlvrError naming the first row that stands under another prompt.
    """
    found: dict[str, Protocol] = {}
    for row in rows:
        task, prompt = row["task"], row["prompt"]
        system, user = system_of(prompt), prompt[-1]["content"]
        if task not in found:
            found[task] = known.get(task) or Protocol(task, system, None)
        expected = found[task]
        if system != expected.system_prompt:
            lines = difference(expected, dataclasses.replace(expected, system_prompt=system))
            raise RlvrError(
                f"row {row['key']!r} of {task}: stands under another system prompt (+) than that of its protocol (-)"
                f"\n{_indented(lines)}"
            )
        if expected.user_prompt is not None and not _made_from(expected.user_prompt, user):
            raise RlvrError(
                f"row {row['key']!r} of {task}: its message {user[:80]!r} is not made from the user_prompt of its "
                f"protocol, {expected.user_prompt!r}"
            )
    return found


def system_of(prompt: Sequence[Mapping[str, str]]) -> str:
    return "".join(message["content"] for message in prompt if message["role"] == "system")


def _made_from(template: str, message: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, template.split(QUESTION))), message, re.DOTALL) is not None


def under(protocols: Iterable[Protocol], tokenizer: Any, ends: Sequence[int], **limits: Any) -> dict[str, Protocol]:
    """The protocols with a tokenizer's template and end tokens, and with limits and decoding, by task."""
    tokens = {str(end): tokenizer.convert_ids_to_tokens(end) for end in ends}
    part = {"chat_template": tokenizer.get_chat_template(), "end_tokens": tokens, **limits}
    prefixes = chat_template.Prefixes(tokenizer)
    return {
        each.task: dataclasses.replace(each, **part, completion_prefix=prefixes.of(_messages(each)))
        for each in protocols
    }


def _messages(each: Protocol) -> list[dict[str, str]]:
    head = [{"role": "system", "content": each.system_prompt}] if each.system_prompt else []
    return [*head, {"role": "user", "content": each.user_prompt or QUESTION}]


def meet(
    rows: Iterable[Mapping[str, Any]],
    files: Sequence[Path],
    models: Sequence[Path],
    tokenizer: Any,
    ends: Sequence[int],
    **limits: Any,
) -> dict[str, Protocol]:
    """The protocols under which a stage works on `rows`, by task.

    files: where the rows come from. models: what the stage works with. tokenizer, ends: as the stage uses them. limits:
    fields of `Protocol`. Raises RlvrError with the difference where these are not what the manifests of files and
    models say.
    """
    given = {path: stored(path) for path in models}
    known = {task: each for protocols in given.values() for task, each in protocols.items()} | passed_on(files)
    found = under(of_rows(rows, known).values(), tokenizer, ends, **limits)
    for path, protocols in given.items():
        require_same(found.values(), protocols, "what is trained or answered here", str(path))
    return found


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
