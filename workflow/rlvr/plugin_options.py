"""The options of tasks and filters, checked against the dataclass that the plugin hands out."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rlvr.errors import RlvrError
from rlvr.problems import lines
from rlvr_plugins.manager import catalogue


def load(kind: str, name: str, values: dict[str, Any]) -> Any:
    """The options dataclass of a task or filter. Raises RlvrError naming the first key that is wrong."""
    try:
        return _adapter(kind, name).validate_json(json.dumps(values))
    except ValidationError as error:
        raise RlvrError(lines(error, _adapter(kind, name).json_schema())[0]) from None


def dump(kind: str, name: str, options: Any) -> dict[str, Any]:
    """All options as JSON values, defaults included."""
    return _adapter(kind, name).dump_python(options, mode="json")


@cache
def _adapter(kind: str, name: str) -> TypeAdapter:
    strict = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    options = catalogue().plugin(kind, name).options
    return TypeAdapter(dataclass(options, config=strict, frozen=options.__dataclass_params__.frozen))
