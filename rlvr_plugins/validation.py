"""Whether an object that a plugin hands out keeps to the contract, as far as that shows without running it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import is_dataclass

from rlvr_plugins.filter_types import NEEDS, ROLLOUTS, Filter
from rlvr_plugins.types import MAX_BOUND, Limits, Reward, Task

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}(:[a-zA-Z0-9_-]{1,60})?")
PARAMETERS = {
    "function": ("sample",),
    "splits": ("options", "train", "eval", "seed"),
    "user": ("example",),
    "verify": ("completion", "example"),
    "demonstrate": ("example",),
    "gold": ("example",),
    "question": ("example",),
    "check": ("options", "train", "eval"),
    "files": ("options",),
    "read": ("row",),
}
FILTER_PARAMETERS = {"start": ("options", "context"), "sampling": ("options",), "check": ("options", "task")}
OPTIONAL = {"demonstrate", "gold", "question", "check", "files", "read", "sampling"}
SPLITS = ("train", "sft")


def require(plugin: object, kind: type) -> None:
    """Raises TypeError, in one line, where `plugin` is no sound object of this kind."""
    if not isinstance(plugin, kind):
        raise TypeError(
            f"rlvr_{kind.__name__.lower()}s must yield {kind.__name__} objects, not {type(plugin).__name__}"
        )
    what = f"{kind.__name__} {plugin.name!r}"
    if not isinstance(plugin.name, str) or not NAME.fullmatch(plugin.name):
        raise TypeError(f"{what}: the name must be lower-case letters, digits, - and _, at most 60")
    if not isinstance(plugin, Filter) and plugin.isolate is not None and not isinstance(plugin.isolate, Limits):
        raise TypeError(f"{what}: isolate must be Limits or None")
    if not isinstance(plugin.requires, tuple) or not all(isinstance(name, str) for name in plugin.requires):
        raise TypeError(f"{what}: requires must be a tuple of names of distributions")
    if isinstance(plugin, Reward):
        _require_bounds(what, plugin.bounds)
    else:
        if not (isinstance(plugin.options, type) and is_dataclass(plugin.options)):
            raise TypeError(f"{what}: options must be a dataclass")
    if isinstance(plugin, Task) and not isinstance(plugin.system, str):
        raise TypeError(f"{what}: system must be a string")
    if isinstance(plugin, Filter):
        _require_filter(what, plugin)
    for name, parameters in (FILTER_PARAMETERS if isinstance(plugin, Filter) else PARAMETERS).items():
        function = getattr(plugin, name, None)
        if hasattr(plugin, name) and not (function is None and name in OPTIONAL):
            _require_signature(what, name, function, parameters)


def _require_filter(what: str, plugin: Filter) -> None:
    if ":" in plugin.name or plugin.name == "splits":
        raise TypeError(f"{what}: the name must be without a colon, and not 'splits', a key beside it in the config")
    for field, allowed in (("splits", SPLITS), ("needs", NEEDS)):
        value = getattr(plugin, field)
        if not isinstance(value, tuple) or not set(value) <= set(allowed):
            raise TypeError(f"{what}: {field} {value!r} is not possible; allowed: a tuple of {', '.join(allowed)}")
    if not plugin.splits:
        raise TypeError(f"{what}: splits must name train, sft or both")
    if (ROLLOUTS in plugin.needs) != (plugin.sampling is not None):
        raise TypeError(f"{what}: needs {ROLLOUTS!r} and the function sampling go together")
    if ROLLOUTS in plugin.needs and plugin.splits != ("train",):
        raise TypeError(f"{what}: a filter that needs rollouts has splits=('train',)")


def _require_bounds(what: str, bounds: object) -> None:
    numbers = isinstance(bounds, tuple) and len(bounds) == 2 and all(isinstance(bound, int | float) for bound in bounds)
    if not numbers or not all(map(math.isfinite, bounds)) or not -MAX_BOUND <= bounds[0] <= bounds[1] <= MAX_BOUND:
        raise TypeError(
            f"{what}: bounds {bounds!r} are not possible; allowed: (low, high), low first, within ±{MAX_BOUND:,.0f}"
        )


def _require_signature(what: str, name: str, function: Callable, parameters: tuple[str, ...]) -> None:
    wanted = f"({', '.join(parameters)})"
    if not callable(function):
        raise TypeError(f"{what}: {name} must be a function {wanted}, not {type(function).__name__}")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return
    try:
        signature.bind(*parameters)
    except TypeError:
        raise TypeError(f"{what}: {name} must take {wanted}, but is {signature}") from None
