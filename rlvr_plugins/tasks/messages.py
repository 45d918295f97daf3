"""A prompt or completion as a list of messages, the layout of chat data sets, read as the one text that is wanted."""

from __future__ import annotations

import json
import re
from typing import Any

SYSTEM = ("system", "developer")
_LOOKS_LIKE_MESSAGES = re.compile(r"\s*\[\s*\{\s*['\"](?:role|content|from|value)['\"]\s*:")
_ROLES = {"human": "user", "gpt": "assistant"}
"""The names of roles where `from` and `value` stand for `role` and `content`."""


class NotOne(ValueError):
    """A list of messages in which there is not just one text of the role; the message says what there is."""


def said_by(role: str, value: Any) -> Any:
    """The text of the one message of that role, where a value is a list of messages or such a list as JSON; any other
    value as it is. Messages of the system are passed over. Raises NotOne where other messages stand beside it.
    """
    found = _messages(value)
    if found is None:
        return value
    others = [kind for kind, _ in found if kind not in (role, *SYSTEM)]
    texts = [text for kind, text in found if kind == role]
    if len(texts) != 1 or others:
        roles = ", ".join(kind for kind, _ in found)[:60] or "none"
        raise NotOne(
            f"a list of messages of {roles}; allowed: one of the {role}, and before it one of the system, or the name "
            "of one message, such as `messages.0.content`"
        )
    return texts[0]


def has_system(value: Any) -> bool:
    """Whether it is a list of messages, one of them of the system."""
    try:
        return any(kind in SYSTEM for kind, _ in _messages(value) or ())
    except NotOne:
        return False


def _messages(value: Any) -> list[tuple[str, str]] | None:
    """Role and text of each message; None where the value is no list of messages."""
    if isinstance(value, str) and _LOOKS_LIKE_MESSAGES.match(value):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise NotOne("a list of messages that is no JSON; allowed: a list, or a text of it as JSON") from None
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        return None
    return [_message(each) for each in value]


def _message(message: dict[str, Any]) -> tuple[str, str]:
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if not isinstance(role, str):
        raise NotOne("a list of messages of which one has no role; allowed: role and content in each")
    if isinstance(content, list):
        content = _joined(content)
    if not isinstance(content, str):
        raise NotOne(f"a list of messages of which that of the {role[:30]} is no text; allowed: a text as content")
    return _ROLES.get(role, role), content


def _joined(parts: list[Any]) -> str | None:
    """The text of a content in parts, such as `{"type": "text", "text": …}`; None where a part is no text."""
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part for part in parts]
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else None
