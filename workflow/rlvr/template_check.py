"""What a chat template does to the prompts, demonstrations and completions of an experiment.

The base stage, the preflight and `rlvr doctor` say it in these words. It decides nothing that is trained or answered;
that is in `chat_template`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlvr.chat_template import Messages, Turn, learnt, render, renders_whole, turn
from rlvr.errors import RlvrError
from rlvr_plugins.types import QUESTION
from rlvr_plugins.verifiers.reasoning_tags import CLOSING, OPENING

_DATE = re.compile(r"strftime|datetime|date_string")
_SPECIAL = re.compile(r"<[|｜][^|｜<>]{1,40}[|｜]>|</?\w[\w:]{0,20}>|<\|\w{1,20}>|<\w{1,20}\|>|\[/?[A-Z_]{2,20}\]")
_ROLES = re.compile(r"\b(?:system|user|assistant|model|human|bot|tool|developer)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{2,}")
SOME_QUESTION = "1 + 1"
LEAST_WORDS = 3
SHOWN = 80
ROWS = 20
"""Of a file that are looked at, spread over it."""


@dataclass(frozen=True)
class Finding:
    """mark: `lack` where nothing can be trained or answered under the template; `warn` for what a reader must know.

    cure: what to do.
    """

    mark: Literal["lack", "warn"]
    text: str
    cure: str


def require(folder: Path, conversations: Iterable[Mapping[str, Any]], where: str) -> list[str]:
    """What the template of the model in a folder does, a line each; for `conversations` see `examine`.

    where: what an error begins with, such as `base: NAME`. Raises RlvrError at the first thing under which nothing can
    be trained or answered.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = examine(tokenizer, end_tokens(folder, tokenizer), conversations)
    for each in found:
        if each.mark == "lack":
            raise RlvrError(f"{where}: {each.text}; allowed: {each.cure}")
    return [f"{each.text}; to change it: {each.cure}" for each in found]


def of_texts(texts: Mapping[str, Mapping[str, Mapping[str, str | None]]]) -> list[dict[str, Any]]:
    """Conversations under the prompts of a config, by task and by whose they are, with a question that says little."""
    found = []
    for task, by_whose in texts.items():
        for text in by_whose.values():
            system, user = text["system_prompt"], text["user_prompt"] or QUESTION
            head = [{"role": "system", "content": system}] if system else []
            prompt = [*head, {"role": "user", "content": user.replace(QUESTION, SOME_QUESTION)}]
            found.append({"task": task, "prompt": prompt})
    return found


def some(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Up to `ROWS` rows, spread over all."""
    return rows[:: -(-len(rows) // ROWS) or 1]


def end_tokens(folder: Path, tokenizer: Any) -> set[int]:
    """The tokens at which a completion of the model in a folder ends, by its files."""
    generation = folder / "generation_config.json"
    file = generation if generation.is_file() else folder / "config.json"
    configured = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
    found = {*(configured if isinstance(configured, list) else [configured]), tokenizer.eos_token_id}
    return found - {None}


def examine(tokenizer: Any, ends: set[int], conversations: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """What the template does to conversations, each finding once.

    conversations: with `task`, `prompt` and, where there is a demonstration, `completion`, lists of messages.
    """
    found: dict[str, Finding] = {}
    for each in conversations:
        completion = each.get("completion")
        demonstration = completion[-1]["content"] if completion else None
        for finding in _of(tokenizer, ends, each["task"], each["prompt"], demonstration):
            found.setdefault(finding.text, finding)
    return list(found.values())


def _of(tokenizer: Any, ends: set[int], task: str, prompt: Messages, demonstration: str | None) -> Iterable[Finding]:
    try:
        opened = turn(tokenizer, prompt)
    except Exception as error:  # whatever a template raises
        yield _refusal(tokenizer, task, prompt, error)
        return
    for message in prompt:
        if _squeezed(message["content"]) not in _squeezed(opened.generation):
            cure = 'set system_prompt: "" for each task' if message["role"] == "system" else "take another template"
            yield Finding("lack", f"its template leaves out the {message['role']}'s message of {task}", cure)
    if not opened.opens:
        text = "its chat template has no generation prompt: nothing tells the model that its turn begins"
        yield Finding("lack", text, "add {% if add_generation_prompt %} to chat_template.jinja")
    after = tokenizer(opened.tail, add_special_tokens=False).input_ids
    if ends and not ends & set(after):
        names = ", ".join(tokenizer.convert_ids_to_tokens(end) for end in sorted(ends))
        text = f"its template ends a turn with {opened.tail!r}, the end tokens are {names}"
        yield Finding("warn", text, "set eos_token to what the template ends a turn with")
    yield from _additions(tokenizer, prompt, opened)
    if demonstration is not None:
        yield from _demonstration(tokenizer, task, prompt, demonstration, opened.prefix)


def _refusal(tokenizer: Any, task: str, prompt: Messages, error: Exception) -> Finding:
    said = _first_line(error)
    rest = [message for message in prompt if message["role"] != "system"]
    if len(rest) < len(prompt):
        try:
            turn(tokenizer, rest)
        except Exception:  # then it is not the system prompt
            pass
        else:
            text = f"its template refuses a system prompt ({said})"
            return Finding("lack", text, 'set system_prompt: "" for each task')
    return Finding("lack", f"its template can't render the messages of {task} ({said})", "take another template")


def _additions(tokenizer: Any, prompt: Messages, opened: Turn) -> Iterable[Finding]:
    """What the template says of its own beside the messages."""
    if opened.prefix:
        text = (
            f"its generation prompt opens every completion with {opened.prefix!r}, which counts as a part of it: for "
            "verifiers, rewards and the report"
        )
        yield Finding("warn", text, "a chat_template.jinja without it")
    tags = [token for token in tokenizer.all_special_tokens if OPENING.fullmatch(token) or CLOSING.fullmatch(token)]
    if tags:
        text = f"its tokenizer leaves {' and '.join(tags)} out of completions, as they are special tokens"
        yield Finding("warn", text, 'set "special": false for them in tokenizer.json')
    if _DATE.search(tokenizer.get_chat_template()):
        text = "its template may put the date of the day into prompts, so that a run is not repeatable"
        yield Finding("warn", text, "write a fixed date into chat_template.jinja")
    rest = opened.generation
    for message in prompt:
        rest = rest.replace(message["content"].strip(), "\n")
    words = " ".join(_ROLES.sub(" ", _SPECIAL.sub(" ", rest.removesuffix(opened.prefix))).split())
    if len(_WORD.findall(words)) >= LEAST_WORDS:
        text = f"its template adds text of its own to prompts: {words[:SHOWN]!r}"
        yield Finding("warn", text, "set a system_prompt, or take it out of chat_template.jinja")


def _demonstration(tokenizer: Any, task: str, prompt: Messages, demonstration: str, opened: str) -> Iterable[Finding]:
    if learnt(demonstration, opened) is None:
        text = (
            f"its generation prompt opens {opened!r}, but the demonstrations of {task} begin with "
            f"{demonstration.strip()[:20]!r}"
        )
        yield Finding("lack", text, f"a chat_template.jinja without it, or sft: 0 for {task}")
    elif not renders_whole(tokenizer, prompt, demonstration):
        if not demonstration.strip().startswith(opened.strip()):
            text = f"the demonstrations of {task} go on under the tag that its generation prompt opens, {opened!r}"
            yield Finding("warn", text, "a chat_template.jinja without it")
            return
        whole = render(tokenizer, [*prompt, {"role": "assistant", "content": demonstration}])
        what = "adds to" if _squeezed(demonstration) in _squeezed(whole) else "cuts or changes"
        text = (
            f"its template {what} an assistant's turn; SFT trains on the demonstrations of {task} in full, right after "
            "the generation prompt"
        )
        yield Finding("warn", text, "a chat_template.jinja that leaves the turn as it is")


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:160]}"
