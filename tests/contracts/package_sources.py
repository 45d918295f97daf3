"""Reads the sources of pinned packages without importing them."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


@cache
def source(package: str, path: str) -> ast.Module:
    """The parsed file of a package, which is not imported."""
    found = find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed")
    return ast.parse((Path(found.origin).parent / path).read_text())


def definition(tree: ast.AST, *names: str) -> Any:
    """The class or function of that name in a tree; of several names, each within the one before."""
    for name in names:
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [each for each in ast.walk(tree) if isinstance(each, kinds) and each.name == name]
        assert found, f"{name} is gone"
        tree = found[0]
    return tree


def parameters(function: ast.FunctionDef) -> list[str]:
    given = function.args
    stars = [each.arg for each in (given.vararg, given.kwarg) if each]
    return [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)] + stars


def text(tree: ast.AST) -> str:
    """Its code without comments, written in one way."""
    return ast.unparse(tree)
