"""YAML as people mean it: `1e-5` is a number, a key given twice is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from rlvr.errors import RlvrError


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's numbers, without dates, refusing duplicate keys."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key_node.start_mark)
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def load_text(text: str, name: str) -> Any:
    """Parses YAML; raises RlvrError with one line that names `name`, line and problem."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise RlvrError(f"{where}: {problem}") from None


def load_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises RlvrError when there is none."""
    try:
        content = load_text(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RlvrError(f"{path}: can't be read ({error})") from None
    if content is None:
        raise RlvrError(f"{path}: is empty; allowed: a mapping, as in config/README.md")
    if not isinstance(content, dict):
        raise RlvrError(f"{path}: holds a {type(content).__name__}; allowed: a mapping")
    return content


def parse_strings(value: Any, name: str) -> Any:
    """Reads the leaves of a `--config key=value` override, which arrive as strings, as YAML."""
    if isinstance(value, dict):
        return {key: parse_strings(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [parse_strings(item, name) for item in value]
    return load_text(value, f"--config {name}") if isinstance(value, str) else value


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, mapping by mapping; new objects, arguments unchanged."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
