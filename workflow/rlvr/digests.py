"""Digests of the code a stage runs, so that a rule reruns when, and only when, that code changes.

A digest covers a module and what it imports from its own package, as syntax trees without
docstrings: comments, layout and documentation change nothing. A file that shares a module's name but
for its ending (`page.py`, `page.html.j2`) is part of it. Left out are the modules in
`PRESENTATION`, which can't change a result, and the config models, whose resolved values reach a
stage through its config file.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from rlvr_plugins.manager import catalogue

PRESENTATION = {
    "rlvr.cli",
    "rlvr.config",
    "rlvr.console",
    "rlvr.digests",
    "rlvr.errors",
    "rlvr.provenance",
    "rlvr_plugins",
    "rlvr_plugins.hookspecs",
    "rlvr_plugins.manager",
}


def stage(name: str) -> str:
    """Digest of the code of a stage, without plugins."""
    return _combine(closure(f"rlvr.stages.{name}"))


def verifier(task: str) -> str:
    """Digest of what judges a task's completions."""
    return _combine(_verifier_modules(task), _release("task", task))


def source(task: str) -> str:
    """Digest of what makes a task's data and prompts: its module without its verifier."""
    module = _provider("task", task).module
    return _combine(closure(module) - (_verifier_modules(task) - {module}), _release("task", task))


def reward(name: str) -> str:
    """Digest of a reward."""
    return _combine(closure(_provider("reward", name).module), _release("reward", name))


def _verifier_modules(task: str) -> frozenset[str]:
    return closure(catalogue().task(task).verify.__module__)


def _provider(kind: str, name: str):
    getattr(catalogue(), kind)(name)
    return catalogue().providers[kind, name]


def _release(kind: str, name: str) -> str:
    provider = _provider(kind, name)
    return f"{provider.distribution} {provider.version}"


def _combine(modules: Iterable[str], release: str = "") -> str:
    h = hashlib.sha256(release.encode())
    for module in sorted(modules):
        h.update(f"{module} {module_digest(module)}".encode())
    return h.hexdigest()[:16]


@cache
def closure(module: str) -> frozenset[str]:
    """The module and all it imports from its own top-level package and from `rlvr_plugins`."""
    packages = {module.partition(".")[0], "rlvr_plugins"}
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name in PRESENTATION or name.partition(".")[0] not in packages:
            continue
        path = _path(name)
        if path is None:
            continue
        found.add(name)
        waiting += _imports(name, path)
    return frozenset(found | {"rlvr_plugins.types"})


@cache
def module_digest(module: str) -> str:
    """Digest of one module's syntax tree without docstrings."""
    path = _path(module)
    tree = _tree(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = body[1:]
    h = hashlib.sha256(ast.dump(tree).encode())
    for file in sorted(path.parent.glob(f"{path.stem}.*")):
        if file.suffix != ".py":
            h.update(file.read_bytes())
    return h.hexdigest()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8")) if path.suffix == ".py" else ast.Module([], [])


@cache
def _path(module: str) -> Path | None:
    """Where a module lies, found without importing it: some import torch."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.origin:
        return None
    path = Path(spec.origin)
    for part in inner:
        if path.name != "__init__.py":
            return None
        candidates = (path.parent / f"{part}.py", path.parent / part / "__init__.py")
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            return None
    return path if path.is_file() else None


def _imports(module: str, path: Path) -> list[str]:
    """Names a module imports; for `from a import b`, both `a` and `a.b`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
                base = f"{parent}.{base}" if base else parent
            names.append(base)
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names
