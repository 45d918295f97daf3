"""The filters of an experiment: what the config says of them, checked, as the steps of each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr import plugin_options, problems
from rlvr.errors import RlvrError
from rlvr_plugins import Filter, Sampling, Task, calls
from rlvr_plugins.filter_types import ROLLOUTS
from rlvr_plugins.manager import PluginError, catalogue

MOST = 98
"""One more is the check for leakage."""


@dataclass(frozen=True)
class Step:
    """One filter of a task's list.

    name: its folder, position and filter, such as `02-tokens`.
    options: all of the filter's options, defaults included, JSON values.
    splits: the rows it looks at; the others pass.
    leakage: for the check of the section `leakage`, what happens to the rows found (`drop` or `refuse`) and the words
        in a run that are counted besides (None: not besides); None: a filter of the user's list.
    """

    name: str
    filter: str
    options: Mapping[str, Any]
    splits: tuple[str, ...]
    leakage: Mapping[str, Any] | None = None

    @property
    def plugin(self) -> Filter:
        return catalogue().filter(self.filter)

    @property
    def sampled(self) -> bool:
        """Whether it needs completions of the model that GRPO starts from."""
        return ROLLOUTS in self.plugin.needs

    @property
    def sampling(self) -> Sampling:
        """How its completions are sampled; only where `sampled`."""
        options = plugin_options.load("filter", self.filter, dict(self.options))
        with calls.calling(f"sampling of filter {self.filter!r}", calls.LOADING_SECONDS):
            return self.plugin.sampling(options)


def steps(entries: Sequence[Any], task: Task) -> list[Step]:
    """The steps that a list of the config means for a task.

    An entry is a mapping of the filter's name to its options, and may have `splits` beside it. Raises
    RlvrError or PluginError, whose message starts with the entry's place, such as `[1].tokens.max: `.
    """
    if len(entries) > MOST:
        raise RlvrError(f"{len(entries)} filters are not possible; allowed: up to {MOST}")
    found = []
    for position, entry in enumerate(entries):
        name, options, splits = _parts(entry, position)
        try:
            plugin = catalogue().filter(name)
        except PluginError as error:
            raise RlvrError(f"[{position}]: {error}") from None
        try:
            with calls.calling(f"checking filter {name!r}", calls.LOADING_SECONDS):
                checked = plugin_options.load("filter", name, options)
                if plugin.check:
                    plugin.check(checked, task)
        except (PluginError, RlvrError, ValueError) as error:
            raise RlvrError(problems.line(f"[{position}].{name}", str(error))) from None
        chosen = _splits(plugin, splits, position)
        dumped = plugin_options.dump("filter", name, checked)
        found.append(Step(f"{position + 1:02d}-{name}", name, dumped, chosen))
    for position, step in enumerate(found[:-1]):
        if step.sampled:
            raise RlvrError(f"[{position}].{step.filter}: samples the model, so it must be the last filter")
    return found


def _parts(entry: Any, position: int) -> tuple[str, dict[str, Any], list[str] | None]:
    if isinstance(entry, str):
        return entry, {}, None
    names = [key for key in entry if key != "splits"] if isinstance(entry, Mapping) else []
    if len(names) != 1:
        raise RlvrError(
            f"[{position}]: {str(entry)[:80]} is not possible; allowed: one filter, its options below it, and splits"
        )
    options = entry[names[0]]
    if not isinstance(options, Mapping | None):
        raise RlvrError(
            f"[{position}].{names[0]}: {str(options)[:80]!r} is not possible; allowed: a mapping of options"
        )
    return names[0], dict(options or {}), entry.get("splits")


def _splits(plugin: Filter, chosen: Any, position: int) -> tuple[str, ...]:
    if chosen is None:
        return plugin.splits
    if not isinstance(chosen, list) or not chosen or not set(map(str, chosen)) <= set(plugin.splits):
        allowed = f"a list such as [{plugin.splits[-1]}], out of {', '.join(plugin.splits)}"
        raise RlvrError(f"[{position}].splits: {chosen!r} is not possible; allowed: {allowed}")
    return tuple(split for split in plugin.splits if split in chosen)
