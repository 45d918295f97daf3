"""Says in one line each what pydantic found wrong: the key, the value and what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

TEXTS = ("literal_error", "string_type")
"""Kinds of pydantic's errors where a text is wanted."""


def lines(error: ValidationError, schema: dict[str, Any]) -> list[str]:
    """One line a problem. schema: the JSON schema of what was validated, for the allowed keys."""
    return [line(_path(e["loc"]), _problem(e, schema)) for e in error.errors()]


MOST_LINES = 20
LONGEST_LINE = 600


def printed(found: list[str]) -> str:
    """Problems as lines for a terminal: not too many, none too long, with nothing in them that acts on it."""
    safe = ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in each) for each in found[:MOST_LINES]]
    cut = [f"{each[: LONGEST_LINE - 203]} … {each[-200:]}" if len(each) > LONGEST_LINE else each for each in safe]
    more = [f"… and {len(found) - MOST_LINES} more"] if len(found) > MOST_LINES else []
    return "\n".join([*cut, *more])


def line(path: str, problem: str) -> str:
    """`key: problem`; a problem that names a key below `path` itself continues the path."""
    if not path:
        return problem
    if re.match(r"\[\d+\]", problem):
        return f"{path}{problem}"
    joint = "." if re.match(r"[\w.<>\[\]-]+: ", problem) else ": "
    return f"{path}{joint}{problem}"


def _path(location: tuple) -> str:
    named = (part for part in location if part != "[key]")  # pydantic's mark of a mapping's key
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named).removeprefix(".")


def _problem(error: Any, schema: dict[str, Any]) -> str:
    kind, value = error["type"], error["input"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        key = str(error["loc"][-1])
        allowed = sorted(_allowed_keys(error["loc"][:-1], schema))
        near = get_close_matches(key, allowed, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key; {hint}allowed: {', '.join(allowed) or 'none'}"
    if kind in ("missing", "missing_argument"):
        return "is missing"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "allowed:")
    message = message.replace("a valid array", "a list")
    if kind == "value_error":
        return message
    words = re.findall(r"'([^']*)'", error["ctx"]["expected"]) if kind == "literal_error" else None
    return f"{shown(value)} is not possible; {message}{quoting(value, 'text' if kind in TEXTS else '', words)}"


def shown(value: Any) -> str:
    """A value as JSON, shortened; nothing in it acts on a terminal."""
    return short(json.dumps(value, default=str))


def short(text: str, most: int = 80) -> str:
    return text if len(text) < most else f"{text[: most - 3]}..."


_UNQUOTED = {False: ("no", "off", "false", "none"), True: ("yes", "on", "true"), None: ("null", "~")}


def quoting(value: Any, wanted: str, words: Sequence[str] | None = None) -> str:
    """A hint to quote a text that YAML reads as something else; empty where it does not apply.

    wanted: the allowed types, parted by commas; words: the texts that are allowed, where there are only so many.
    """
    if "text" not in wanted.split(", ") or not (value is None or isinstance(value, bool | int | float)):
        return ""
    if not isinstance(value, bool | None):
        as_written = f": '{value}'" if isinstance(value, int) else ""
        return "" if words else f"; a text stands in quotes{as_written}"
    meant = next((word for word in _UNQUOTED[value] if words and word in words), None)
    unquoted = " and ".join(_UNQUOTED[value][:2])
    cure = f"write '{meant}', in quotes" if meant else "a text stands in quotes"
    return f"; YAML reads an unquoted {unquoted} as {json.dumps(value)}: {cure}"


def _allowed_keys(location: tuple, schema: dict[str, Any]) -> list[str]:
    node, definitions = schema, schema.get("$defs", {})
    for part in location:
        node = _child(node, part, definitions)
    return list(node.get("properties", {}))


def _child(node: dict, part: str | int, definitions: dict) -> dict:
    if isinstance(part, int):
        child = node["items"]
    else:
        child = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    for option in [child, *child.get("anyOf", [])]:
        if "$ref" in option:
            return definitions[option["$ref"].rpartition("/")[2]]
    return next((option for option in child.get("anyOf", []) if option.get("type") != "null"), child)
