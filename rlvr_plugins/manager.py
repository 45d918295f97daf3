"""Finds tasks, rewards and filters: the built-in ones and those of installed packages, through one door."""

from __future__ import annotations

import importlib
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from types import ModuleType

import pluggy

from rlvr_plugins import calls, hookspecs, validation
from rlvr_plugins.calls import PluginError
from rlvr_plugins.filter_types import Filter
from rlvr_plugins.types import Reward, Task

BUILTIN = (
    "rlvr_plugins.tasks.countdown",
    "rlvr_plugins.tasks.gsm8k",
    "rlvr_plugins.tasks.gsm8k_platinum",
    "rlvr_plugins.tasks.openmath",
    "rlvr_plugins.tasks.reasoning_gym",
    "rlvr_plugins.rewards.boxed",
    "rlvr_plugins.rewards.correctness",
    "rlvr_plugins.rewards.countdown_correctness",
    "rlvr_plugins.rewards.countdown_partial",
    "rlvr_plugins.rewards.format",
    "rlvr_plugins.rewards.format_only",
    "rlvr_plugins.rewards.hard_format",
    "rlvr_plugins.rewards.integer",
    "rlvr_plugins.rewards.length_penalty",
    "rlvr_plugins.rewards.marks",
    "rlvr_plugins.rewards.random_control",
    "rlvr_plugins.rewards.repetition_penalty",
    "rlvr_plugins.rewards.soft_format",
    "rlvr_plugins.rewards.strict_format",
    "rlvr_plugins.filters.characters",
    "rlvr_plugins.filters.correct",
    "rlvr_plugins.filters.decontaminate",
    "rlvr_plugins.filters.duplicates",
    "rlvr_plugins.filters.gold",
    "rlvr_plugins.filters.language",
    "rlvr_plugins.filters.near_duplicates",
    "rlvr_plugins.filters.pass_rate",
    "rlvr_plugins.filters.tokens",
)
DISTRIBUTION = "rlvr"
LIMIT = "RLVR_PLUGINS"
HOOKS = {"rlvr_tasks": ("task", Task), "rlvr_rewards": ("reward", Reward), "rlvr_filters": ("filter", Filter)}
KINDS = tuple(kind for kind, _ in HOOKS.values())

Plugin = Task | Reward | Filter


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
    """Every task, reward and filter there is, by name.

    broken: what went wrong with each package that could not be used, one line each.
    left_out: distributions that `RLVR_PLUGINS` does not name.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    rewards: dict[str, Reward] = field(default_factory=dict)
    filters: dict[str, Filter] = field(default_factory=dict)
    providers: dict[tuple[str, str], Provider] = field(default_factory=dict)
    broken: dict[Provider, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    finders: list[tuple[Provider, Callable[[str], Task | None]]] = field(default_factory=list)

    def task(self, name: str) -> Task:
        """The task of this name. Raises PluginError, which lists what there is."""
        if name not in self.tasks and ":" in name:
            self._find(name)
        return self._get("task", name)

    def reward(self, name: str) -> Reward:
        """The reward of this name. Raises PluginError, which lists what there is."""
        return self._get("reward", name)

    def filter(self, name: str) -> Filter:
        """The filter of this name. Raises PluginError, which lists what there is."""
        return self._get("filter", name)

    def plugin(self, kind: str, name: str) -> Plugin:
        return self.task(name) if kind == "task" else self._get(kind, name)

    def provider(self, kind: str, name: str) -> Provider:
        self.plugin(kind, name)
        return self.providers[kind, name]

    def table(self, kind: str) -> dict:
        return {"task": self.tasks, "reward": self.rewards, "filter": self.filters}[kind]

    def add(self, kind: str, plugin: Plugin, provider: Provider) -> None:
        """Raises PluginError when the name is taken."""
        other = self.providers.get((kind, plugin.name))
        if other:
            raise PluginError(
                f"{kind} {plugin.name!r} is provided twice: by {other} and by {provider}; "
                f"rename one, uninstall one, or name those that may load in {LIMIT}"
            )
        self.table(kind)[plugin.name] = plugin
        self.providers[kind, plugin.name] = provider

    def _find(self, name: str) -> None:
        """Adds the task that a finder makes of a name. Raises PluginError when one says it can't be made."""
        refusal = ""
        for provider, find in self.finders:
            try:
                with calls.calling(f"rlvr_find_task({name!r}) of {provider}", calls.LOADING_SECONDS):
                    task = find(name)
                if task is None:
                    continue
                validation.require(task, Task)
                if task.name != name:
                    raise TypeError(f"rlvr_find_task gave {task.name!r} for {name!r}")
            except ValueError as error:
                refusal = f"task {name!r}: {error} (from {provider})"
            except Exception as error:
                self.broken[provider] = _first_line(error)
            else:
                self.add("task", task, provider)
                return
        if refusal:
            raise PluginError(refusal)

    def _get(self, kind: str, name: str) -> Plugin:
        table = self.table(kind)
        if name in table:
            return table[name]
        near = get_close_matches(name, table, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        message = f"unknown {kind} {name!r}; {hint}installed: {', '.join(sorted(table))}"
        for provider, error in self.broken.items():
            message += f"; broken: {provider}: {error}"
        if self.left_out:
            message += f"; left out by {LIMIT}: {', '.join(self.left_out)}"
        raise PluginError(message)


@cache
def catalogue() -> Catalogue:
    """Loads all plugins once; `RLVR_PLUGINS`, a comma-separated list of distributions, limits which.

    Raises PluginError when two plugins share a name or `RLVR_PLUGINS` names what is not installed. A
    package that fails otherwise is listed in `broken` and named when a name cannot be found.
    """
    found = Catalogue()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        own = version(DISTRIBUTION)
    except PackageNotFoundError:
        own = "not installed"
    for name in BUILTIN:
        _collect(found, manager, Provider(DISTRIBUTION, own, name), importlib.import_module(name))
    for entry in _entries(found):
        provider = Provider(entry.dist.name, entry.dist.version, entry.module)
        with calls.calling(f"loading plugin {provider}", calls.LOADING_SECONDS):
            try:
                _collect(found, manager, provider, entry.load())
            except PluginError:
                raise
            except BaseException as error:  # a stranger's module may fail in any way; unused, it only warns
                if not calls.theirs(error):
                    raise
                found.broken[provider] = _first_line(error)
    return found


def _entries(found: Catalogue) -> Iterator[EntryPoint]:
    """The entry points that may load, in a fixed order."""
    entries = sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.value)
    limit = os.environ.get(LIMIT)
    if limit is None:
        yield from entries
        return
    wanted = {_canonical(name) for name in limit.split(",") if name.strip()}
    installed = {_canonical(entry.dist.name) for entry in entries}
    if wanted - installed:
        raise PluginError(
            f"{LIMIT}: no plugin package {', '.join(sorted(wanted - installed))}; "
            f"allowed: {', '.join(sorted(installed)) or 'nothing, none is installed'}"
        )
    found.left_out = sorted(installed - wanted)
    yield from (entry for entry in entries if _canonical(entry.dist.name) in wanted)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _collect(found: Catalogue, manager: pluggy.PluginManager, provider: Provider, module: ModuleType) -> None:
    """Adds what a module hands out. Raises where it does not keep to the contract."""
    if manager.is_registered(module):
        return
    manager.register(module, name=f"{provider.distribution}:{provider.module}")
    callers = {caller.name: caller for caller in manager.get_hookcallers(module) or ()}
    _require_known(module, callers)
    collected, finders = [], []
    for name, caller in callers.items():
        (function,) = [each.function for each in caller.get_hookimpls() if each.plugin is module]
        if name == "rlvr_find_task":
            finders.append((provider, function))
            continue
        kind, expected = HOOKS[name]
        handed_out = function() or ()
        if isinstance(handed_out, Plugin):
            raise TypeError(f"{name} must yield its objects or return a list of them, not one {kind}")
        for plugin in handed_out:
            validation.require(plugin, expected)
            collected.append((kind, plugin))
    for kind, plugin in collected:
        found.add(kind, plugin, provider)
    found.finders += finders


def _require_known(module: ModuleType, callers: dict) -> None:
    """Raises TypeError on a misspelt hook, one without its marker, or a module without any."""
    known = [name for name in vars(hookspecs) if name.startswith("rlvr_")]
    for name, caller in callers.items():
        if not caller.has_spec():
            raise TypeError(_unknown(name, known))
    for name, value in vars(module).items():
        if name.startswith("rlvr_") and callable(value) and name not in callers:
            raise TypeError(f"{name} lacks @hookimpl" if name in known else _unknown(name, known))
    if not callers:
        raise TypeError(f"implements no hook; hooks: {', '.join(known)}")


def _unknown(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"unknown hook {name!r}; " + (f"did you mean {near[0]!r}? " if near else "") + f"hooks: {', '.join(known)}"


def _first_line(error: BaseException) -> str:
    """The error in one line, and where it arose if that was in the plugin's own code."""
    line = calls.one_line("".join(traceback.format_exception_only(error)))
    standard = str(Path(os.__file__).parent)
    others = (str(Path(__file__).parent), str(Path(pluggy.__file__).parent), f"{standard}/importlib", "<")
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(others)]
    return f"{line} ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else line
