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
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

from rlvr.provenance import versions
from rlvr_plugins.manager import PluginError, catalogue

PRESENTATION = {
    "rlvr.attempt_logs",
    "rlvr.adapter_targets",
    "rlvr.base_section",
    "rlvr.cli",
    "rlvr.config",
    "rlvr.console",
    "rlvr.digests",
    "rlvr.durable",
    "rlvr.engines.reporting",
    "rlvr.errors",
    "rlvr.former_options",
    "rlvr.listing",
    "rlvr.output_cache",
    "rlvr.gpu_lock",
    "rlvr.interrupts",
    "rlvr.plugin_options",
    "rlvr.problems",
    "rlvr.protocol",
    "rlvr.protocol_lock",
    "rlvr.provenance",
    "rlvr.resuming",
    "rlvr.sections",
    "rlvr.slice_files",
    "rlvr.template_check",
    "rlvr.signatures",
    "rlvr.trackers",
    "rlvr.trainer_combinations",
    "rlvr.trainer_values",
    "rlvr.unfinished",
    "rlvr.variance",
    "rlvr.utf8",
    "rlvr_plugins",
    "rlvr_plugins.calls",
    "rlvr_plugins.hookspecs",
    "rlvr_plugins.manager",
}

OPTIONAL = {"rlvr.engines.evaluation"}
"""Modules that a stage imports and few runs use: no part of a stage, but a digest of their own where they are used."""


def part(name: str) -> str:
    """Digest of the code of an optional module of `rlvr.engines`."""
    return _combine(closure(f"rlvr.engines.{name}"))


def stage(name: str) -> str:
    """Digest of the code of a stage, without plugins."""
    return _combine(closure(f"rlvr.stages.{name}"))


def verifier(task: str) -> str:
    """Digest of what judges a task's completions."""
    return _combine(_verifier_modules(task), _release("task", task))


def source(task: str) -> str:
    """Digest of what makes a task's data and prompts: its module without its verifier."""
    module = catalogue().provider("task", task).module
    own = _plugin_closure("task", task, module)
    return _combine(own - (_verifier_modules(task) - {module}), _release("task", task))


def reward(name: str) -> str:
    """Digest of a reward."""
    provider = catalogue().provider("reward", name)
    modules = {provider.module, _module_of(catalogue().reward(name).function)}
    found = frozenset().union(*(_plugin_closure("reward", name, module) for module in modules))
    return _combine(found, _release("reward", name))


def filter(name: str) -> str:
    """Digest of a filter."""
    provider = catalogue().provider("filter", name)
    modules = {provider.module, _module_of(catalogue().filter(name).start)}
    found = frozenset().union(*(_plugin_closure("filter", name, module) for module in modules))
    return _combine(found, _release("filter", name))


def of(kind: str, name: str) -> str:
    """Digest of a reward or filter, or of all of a task: its data, prompts and verifier."""
    if kind != "task":
        return {"reward": reward, "filter": filter}[kind](name)
    return hashlib.sha256(f"{source(name)} {verifier(name)}".encode()).hexdigest()[:16]


def _verifier_modules(task: str) -> frozenset[str]:
    return _plugin_closure("task", task, _module_of(catalogue().task(task).verify))


def _plugin_closure(kind: str, name: str, module: str) -> frozenset[str]:
    """The closure of a plugin's module. Raises PluginError where its source can't be found."""
    found = closure(module)
    if module not in found:
        raise PluginError(
            f"{kind} {name!r}: the source of module {module!r} can't be found, so that nobody would see it change; "
            "allowed: a module in a file of an installed package"
        )
    return found


def _module_of(function: Callable) -> str:
    """The module a function is defined in, seen through partial functions, methods and callable objects."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__module__", None) or type(function).__module__


def _release(kind: str, name: str) -> str:
    """The versions of the distributions that a plugin comes from and names in `requires`."""
    provider = catalogue().provider(kind, name)
    others = [f"{package} {release}" for package, release in versions(catalogue().plugin(kind, name).requires).items()]
    return " ".join([f"{provider.distribution} {provider.version}", *others])


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
        left_out = name in PRESENTATION or (name in OPTIONAL and name != module)
        if name in found or left_out or name.partition(".")[0] not in packages:
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
    if spec is None:
        return None
    path = Path(spec.origin) if spec.origin else None
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for part in inner:
        files = [file for folder in folders for file in (folder / f"{part}.py", folder / part / "__init__.py")]
        compiled = [file for folder in folders for file in sorted(folder.glob(f"{part}.*.so"))]
        path = next((file for file in (*files, *compiled) if file.is_file()), None)
        folders = [folder / part for folder in folders if (folder / part).is_dir()]
    return path if path and path.is_file() else None


def _imports(module: str, path: Path) -> list[str]:
    """Names a module imports, with the packages they lie in; for `from a import b`, both `a` and `a.b`."""
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
    parents = {".".join(name.split(".")[:size]) for name in names for size in range(1, name.count(".") + 1)}
    return [*names, *sorted(parents)]
