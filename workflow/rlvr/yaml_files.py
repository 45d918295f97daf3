"""YAML as people mean it: `1e-5` is a number, keys are text, a key given twice is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rlvr import yaml_bounds
from rlvr.errors import RlvrError


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's numbers, without dates, refusing duplicate keys."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
            if key_node.tag != "tag:yaml.org,2002:merge":
                key_node.tag = "tag:yaml.org,2002:str"  # a variant may be called `on` or `007`
        return super().construct_mapping(node, deep)


_NUMBER = re.compile(r"(?:[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+|[-+]\.\d+)$")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def load_text(text: str, name: str) -> Any:
    """Parses YAML; raises RlvrError with one line that names `name`, line and problem."""
    try:
        yaml_bounds.check(text)
        return yaml.load(text, _Loader)  # a SafeLoader
    except (ValueError, yaml.YAMLError) as error:
        problem = yaml_bounds.explained(error) if isinstance(error, yaml.YAMLError) else str(error)
        raise RlvrError(f"{name}{', ' if problem.startswith('line ') else ': '}{problem}") from None


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


def overrides(given: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """What `--config` lays over the files: `KEY=VALUE` texts whose values are YAML, or a mapping as it is.

    Raises RlvrError naming the key. Snakemake's own reading loses how a value was written: its quotes, its zeros.
    """
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, Any] = {}
    for each in given:
        key, mark, value = each.partition("=")
        if not mark:
            raise RlvrError(f"--config: {each!r} is not possible; allowed: KEY=VALUE")
        found = merge(found, {key: load_text(value, f"--config {key}")})
    return found


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, mapping by mapping; new objects, arguments unchanged."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
