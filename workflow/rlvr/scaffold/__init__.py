"""Writes a plugin package that can be installed and tested at once; `rlvr plugins new` calls it."""

from __future__ import annotations

import keyword
import os
import re
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rlvr.errors import RlvrError
from rlvr_plugins.manager import catalogue

TEMPLATES = Path(__file__).parent
TAKEN = {"check", "hookimpl", "task", "test", "tests", "src"}
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write(kind: str, name: str, into: Path) -> Path:
    """Makes the folder `into/name` with a package that provides a `reward`, `task` or `filter` of that name.

    Raises RlvrError when the name can't be used or the folder is there.
    """
    if not NAME.fullmatch(name) or len(name) > 60:
        raise RlvrError(f"name: {name!r} is not possible; allowed: lower-case letters and digits, joined by single -")
    if name in catalogue().table(kind):
        raise RlvrError(f"name: {kind} {name!r} is there already, from {catalogue().provider(kind, name)}")
    if find_spec(name.replace("-", "_")) or name in {distribution.name.lower() for distribution in distributions()}:
        raise RlvrError(f"name: {name!r} is that of an installed package or module; choose another")
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in TAKEN:
        raise RlvrError(f"name: {name!r} is a word of Python or of the package's own; choose another")
    folder = into / name
    if folder.exists():
        raise RlvrError(f"{folder}: is there already; choose another name or --into")
    if not os.access(next(parent for parent in (into, *into.resolve().parents) if parent.is_dir()), os.W_OK):
        raise RlvrError(f"--into: {into} can't be written to")
    files = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": f"{kind}/README.md.j2",
        f"src/{module}/__init__.py": f"{kind}/module.py.j2",
        f"tests/test_{module}.py": f"{kind}/test.py.j2",
    }
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True)
    for path, template in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            environment.get_template(template).render(name=name, module=module, kind=kind), encoding="utf-8"
        )
    return folder
