"""Finds tasks and rewards: the built-in ones and those of installed packages, through one door."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points, version
from types import ModuleType
from typing import TypeVar

import pluggy

from rlvr_plugins import hookspecs
from rlvr_plugins.types import Reward, Task

BUILTIN = (
    "rlvr_plugins.tasks.countdown",
    "rlvr_plugins.tasks.gsm8k",
    "rlvr_plugins.rewards.correctness",
    "rlvr_plugins.rewards.format",
)
BUILTIN_DISTRIBUTION = "rlvr"

Plugin = TypeVar("Plugin", Task, Reward)


class PluginError(ValueError):
    """A plugin that is missing, doubled or broken; the message is one line."""


@dataclass(frozen=True)
class Provider:
    """Where a plugin comes from."""

    distribution: str
    version: str
    module: str

    def __str__(self) -> str:
        return f"{self.module} ({self.distribution} {self.version})"


@dataclass
class Catalogue:
    """Every task and reward there is, by name."""

    tasks: dict[str, Task] = field(default_factory=dict)
    rewards: dict[str, Reward] = field(default_factory=dict)
    providers: dict[tuple[str, str], Provider] = field(default_factory=dict)
    broken: dict[Provider, str] = field(default_factory=dict)

    def task(self, name: str) -> Task:
        return self._get("task", self.tasks, name)

    def reward(self, name: str) -> Reward:
        return self._get("reward", self.rewards, name)

    def _get(self, kind: str, table: Mapping[str, Plugin], name: str) -> Plugin:
        if name in table:
            return table[name]
        near = get_close_matches(name, table, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        message = f"unknown {kind} {name!r}; {hint}installed: {', '.join(sorted(table))}"
        for provider, error in self.broken.items():
            message += f"; broken: {provider}: {error}"
        raise PluginError(message)

    def _add(self, kind: str, table: dict, plugins: Iterable, provider: Provider) -> None:
        for plugin in plugins:
            if plugin.name in table:
                other = self.providers[kind, plugin.name]
                raise PluginError(
                    f"{kind} {plugin.name!r} is provided twice: by {other} and by {provider}; "
                    "uninstall one of the two packages"
                )
            table[plugin.name] = plugin
            self.providers[kind, plugin.name] = provider


def _modules(broken: dict[Provider, str]) -> Iterable[tuple[Provider, ModuleType]]:
    try:
        own = version(BUILTIN_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        own = "not installed"
    for name in BUILTIN:
        yield Provider(BUILTIN_DISTRIBUTION, own, name), importlib.import_module(name)
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.value):
        dist = entry.dist
        provider = Provider(dist.name if dist else "?", dist.version if dist else "?", entry.module)
        try:
            yield provider, entry.load()
        except Exception as error:  # a stranger's module may fail in any way; unused, it only warns
            broken[provider] = _first_line(error)


def _first_line(error: Exception) -> str:
    return traceback.format_exception_only(error)[-1].strip()


@cache
def catalogue() -> Catalogue:
    """Loads all plugins once.

    Raises PluginError when two plugins share a name. A plugin that fails to import is listed in
    `broken` and named when a name cannot be found.
    """
    found = Catalogue()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for provider, module in _modules(found.broken):
        if manager.is_registered(module):
            continue
        manager.register(module, name=f"{provider.distribution}:{provider.module}")
        for hook in manager.get_hookcallers(module) or ():
            for implementation in hook.get_hookimpls():
                if implementation.plugin is module:
                    kind = hook.name.removeprefix("rlvr_").removesuffix("s")
                    table = {"task": found.tasks, "reward": found.rewards}[kind]
                    try:
                        plugins = list(implementation.function())
                        if not all(isinstance(plugin, Task | Reward) for plugin in plugins):
                            raise TypeError(f"{hook.name} must yield Task or Reward objects")
                    except Exception as error:
                        found.broken[provider] = _first_line(error)
                        continue
                    found._add(kind, table, plugins, provider)
    return found
