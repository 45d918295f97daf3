"""How a chat template lets an assistant answer, and what of the answer its generation prompt has already said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rlvr.errors import RlvrError
from rlvr_plugins.verifiers.reasoning_tags import CLOSING, OPENING

MARK = "7f3a9c"
"""Stands for an assistant's turn; no template looks for it."""
PASS_THROUGH = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A template for messages that hold the text of a conversation."""
_TAGGED = re.compile(r"\s*<(\w+)>\s*")

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Turn:
    """The assistant's turn after a prompt.

    generation: the prompt as a model gets it to answer. prefix: the end of it that already belongs to the completion,
    such as `<think>`; "" where the completion begins with what is generated. tail: what ends the turn. opens: whether
    the generation prompt opens the turn at all.
    """

    generation: str
    prefix: str
    tail: str
    opens: bool


def render(tokenizer: Any, messages: Messages, generation: bool = False) -> str:
    """The text of messages; raises what the template raises."""
    given = [dict(message) for message in messages]
    return tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=generation)


def generation_prompt(tokenizer: Any, prompt: Messages) -> str:
    """The prompt as a model gets it to answer. Raises RlvrError where the template refuses it."""
    try:
        return render(tokenizer, prompt, generation=True)
    except Exception as error:  # whatever a template raises
        cure = ' or, for a template without a system role, system_prompt: ""' if _has_system(prompt) else ""
        said = (str(error).strip().splitlines() or [""])[0]
        raise RlvrError(f"the chat template refuses a prompt ({said}); allowed: what it can render{cure}") from None


def _has_system(prompt: Messages) -> bool:
    return any(message["role"] == "system" for message in prompt)


@contextmanager
def replaced(tokenizer: Any, template: str) -> Iterator[None]:
    """The tokenizer with another template for a while."""
    own, tokenizer.chat_template = tokenizer.chat_template, template
    try:
        yield
    finally:
        tokenizer.chat_template = own


def turn(tokenizer: Any, prompt: Messages) -> Turn:
    """How the template has an assistant answer a prompt; raises what the template raises."""
    generation, plain = render(tokenizer, prompt, generation=True), render(tokenizer, prompt)
    before, mark, tail = render(tokenizer, [*prompt, {"role": "assistant", "content": MARK}]).partition(MARK)
    opens = generation != plain or not _header(plain, before, prompt[-1]["content"].strip()).strip()
    return Turn(generation, _prefix(generation, plain, before if mark else generation), tail, opens)


def _header(plain: str, before: str, question: str) -> str:
    """What stands before an assistant's turn and not at the end of a prompt.

    Only what follows the question is compared: before it, templates such as Mistral's render a conversation that an
    assistant has answered in another way.
    """
    ending, header = (text.rpartition(question)[2] if question else text for text in (plain, before))
    return "" if ending.startswith(header) else header.removeprefix(ending)


def _prefix(generation: str, plain: str, before: str) -> str:
    """What the prompt opens of the completion, beyond the header that stands before any assistant's turn.

    Reasoning that is opened and closed again, as for answers without any, is no part of the completion.
    """
    opened = generation.removeprefix(before) if generation.startswith(before) else ""
    if not opened.strip():
        tag = OPENING.search(generation, len(plain)) if generation.startswith(plain) else None
        opened = generation[tag.start() :] if tag else ""
    closings = list(CLOSING.finditer(opened))
    if closings and not OPENING.search(opened, closings[-1].end()):
        return ""
    return opened if opened.strip() else ""


class Prefixes:
    """What generation prompts have already said of completions.

    It is the same after messages whose last one alone differs, where the prompts end alike; a `/no_think` in the last
    one may make them end otherwise.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[tuple[Any, str], str] = {}
        self._latest: tuple[Any, str] | None = None

    def of(self, prompt: Messages) -> str:
        """Raises RlvrError where the template refuses the prompt."""
        messages = tuple((message["role"], message["content"]) for message in prompt)
        if self._latest is None or self._latest[0] != messages:
            ending = generation_prompt(self._tokenizer, prompt).rpartition(prompt[-1]["content"].strip() or "\n")[2]
            key = messages[:-1], ending
            if key not in self._known:
                self._known[key] = turn(self._tokenizer, prompt).prefix
            self._latest = messages, self._known[key]
        return self._latest[1]


def learnt(demonstration: str, prefix: str) -> str | None:
    """What SFT has to teach of a demonstration after a prefix; None where the demonstration can't go on from it.

    Reasoning under another tag than that of the prefix goes on under the prefix's.
    """
    if demonstration.startswith(prefix):
        return demonstration[len(prefix) :]
    opening = prefix.strip()
    if demonstration.startswith(opening):
        return demonstration[len(opening) :].lstrip("\n")
    own, wanted = _TAGGED.match(demonstration), _TAGGED.fullmatch(prefix)
    if own and wanted and OPENING.match(own[0].strip()) and OPENING.match(opening):
        return demonstration[own.end() :].replace(f"</{own[1]}>", f"</{wanted[1]}>", 1)
    return None


def demonstrated(tokenizer: Any, prompt: Messages, demonstration: str) -> tuple[str, str]:
    """Generation prompt and the rest of the turn that is to be learnt after it, as texts.

    Raises RlvrError where the demonstration can't go on from the generation prompt, and what the template raises.
    """
    found = turn(tokenizer, prompt)
    rest = learnt(demonstration, found.prefix)
    if rest is None:
        raise RlvrError(f"sft: the generation prompt opens {found.prefix!r}, not {demonstration.strip()[:20]!r}")
    return found.generation, rest + found.tail


def renders_whole(tokenizer: Any, prompt: Messages, demonstration: str) -> bool:
    """Whether the template puts a demonstration after the generation prompt as it is, and nothing between them."""
    whole = render(tokenizer, [*prompt, {"role": "assistant", "content": demonstration}])
    return "".join(demonstrated(tokenizer, prompt, demonstration)) == whole
