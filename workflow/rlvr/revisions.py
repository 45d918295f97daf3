"""Branches and tags of the hub that a config names: each is looked up once, and its commit kept until asked otherwise.

The commits lie in `config/revisions.lock.yaml`, one file for all experiments of a checkout, to be kept in git.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr import console, plugin_options, yaml_files
from rlvr.errors import RlvrError
from rlvr_plugins.tasks import hub
from rlvr_plugins.tasks.sources import SourceOptions

if TYPE_CHECKING:
    from rlvr.config import Config

LOCK = Path("config/revisions.lock.yaml")
HEAD = """\
# The commits of the branches and tags that configs name, each looked up once: by the first run, or by `rlvr lock`.
# `rlvr lock --update NAME` moves one. Keep this file in git, beside the configs; docs/models.md says more.
"""
LOOKS = {
    *("--dag", "--rulegraph", "--filegraph", "--d3dag", "--summary", "-S", "--detailed-summary", "-D", "--unlock"),
    *("--lint", "--touch", "-t", "--list-rules", "--list", "-l", "--list-target-rules", "--lt", "--cleanup-metadata"),
    *("--list-input-changes", "--list-params-changes", "--list-code-changes", "--delete-all-output", "--cm"),
}
"""Options of snakemake with which it runs no job."""
_NAME = re.compile(r"(model|dataset)s/[^@\s]+@[^@\s]+")


@dataclass(frozen=True)
class Named:
    """A repository that a config names by a branch or tag. key: of the config. kind: `model` or `dataset`."""

    key: str
    kind: str
    repository: str
    revision: str

    @property
    def name(self) -> str:
        """Of its entry in the lock, such as `models/Qwen/Qwen3-4B@main`."""
        return f"{self.kind}s/{self.repository}@{self.revision}"


@dataclass(frozen=True)
class Entry:
    """A commit, and the day on which it was looked up, in UTC."""

    commit: str
    resolved: str


def named(config: Config) -> list[Named]:
    """What a config names by a branch or tag, in its order; what it leaves out is the default branch."""
    found = []
    if config.base.kind == "hub":
        found.append(Named("base.revision", "model", config.base.model, config.base.revision or hub.DEFAULT))
    for task, section in config.tasks.items():
        found += _of_options(f"tasks.{task}.options", task, section.options)
        if second := section.second_labels:
            found += _of_options(f"tasks.{task}.second_labels.options", second.task, second.options)
    return [each for each in found if not hub.is_commit(each.revision)]


def _of_options(where: str, task: str, values: dict[str, Any]) -> list[Named]:
    options = plugin_options.load("task", task, values)
    if not isinstance(options, SourceOptions) or options.source != "hub":
        return []
    return [Named(f"{where}.revision", "dataset", options.repository, options.revision or hub.DEFAULT)]


def with_commits(config: Config, commits: Mapping[str, str]) -> Config:
    """The config with commits, by the names of their entries, in place of branches and tags; others stay."""
    found = {each.key: commits[each.name] for each in named(config) if each.name in commits}

    def options(where: str, values: dict[str, Any]) -> dict[str, Any]:
        commit = found.get(f"{where}.options.revision")
        return {**values, "revision": commit} if commit else values

    tasks = {}
    for name, task in config.tasks.items():
        second, where = task.second_labels, f"tasks.{name}"
        if second:
            second = second.model_copy(update={"options": options(f"{where}.second_labels", second.options)})
        tasks[name] = task.model_copy(update={"options": options(where, task.options), "second_labels": second})
    base = config.base.model_copy(update={"revision": found.get("base.revision", config.base.revision)})
    return config.model_copy(update={"base": base, "tasks": tasks}) if found else config


def read(lock: Path = LOCK) -> dict[str, Entry]:
    """The entries of a lock, empty without one. Raises RlvrError, one line, where it can't be used."""
    cure = "take it from git, or delete it and give `rlvr lock`"
    try:
        content = yaml_files.load_text(lock.read_text(encoding="utf-8"), str(lock)) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise RlvrError(f"{lock}: can't be read ({error}); {cure}") from None
    except RlvrError as error:
        raise RlvrError(f"{error}; {cure}") from None
    if not isinstance(content, dict):
        raise RlvrError(f"{lock}: holds a {type(content).__name__}; allowed: a mapping; {cure}")
    found = {}
    for name, values in content.items():
        if not _NAME.fullmatch(str(name)):
            raise RlvrError(f"{lock}: {name!r} is not possible; allowed: such as models/OWNER/NAME@main; {cure}")
        if not isinstance(values, dict) or set(values) != {"commit", "resolved"}:
            raise RlvrError(f"{lock}: {name}: allowed: commit and resolved, and nothing else; {cure}")
        for key, pattern, allowed in (
            ("commit", "[0-9a-f]{40}", "40 hex digits in quotes"),
            ("resolved", r"\d{4}-\d\d-\d\d", "a day such as 2026-11-30, in quotes"),
        ):
            if not isinstance(values[key], str) or not re.fullmatch(pattern, values[key]):
                raise RlvrError(f"{lock}: {name}: {key}: {values[key]!r} is not possible; allowed: {allowed}; {cure}")
        found[name] = Entry(**values)
    return found


def known(config: Config, lock: Path = LOCK) -> dict[str, str]:
    """The commits, by the names of their entries, of what a config names and is locked. Asks nobody."""
    names = [each.name for each in named(config)]
    entries = read(lock) if names else {}
    return {name: entries[name].commit for name in names if name in entries}


def required(config: Config, lock: Path = LOCK) -> dict[str, str]:
    """The commits, by the names of their entries, of all that a config names.

    What is not locked yet is looked up and written, and said. Raises RlvrError, one line for each that can't be.
    """
    if {each.name for each in named(config)} - known(config, lock).keys():
        _change(config, lock, set())
    return known(config, lock)


def runs_nothing(arguments: Iterable[str]) -> bool:
    """Whether snakemake's command line runs no job, so that nothing has to be looked up."""
    return not LOOKS.isdisjoint(arguments)


def unlocked(config: Config, lock: Path = LOCK) -> list[str]:
    """A line on each revision that a run would look up."""
    there = known(config, lock)
    return [
        f"{each.key}: {each.repository} at {each.revision} is not locked to a commit yet; the first run looks it up, "
        "or `rlvr lock`"
        for each in named(config)
        if each.name not in there
    ]


def _change(config: Config, lock: Path, moved: set[str]) -> list[str]:
    """Looks up what a config names and is not locked, and the entries in `moved`; returns a line on each.

    All are written, or none.
    """
    with _held(lock):
        before = read(lock)
        wanted = {each.name: each for each in named(config) if each.name not in before or each.name in moved}
        found = _looked_up(wanted.values(), moved)
        today = datetime.now(UTC).date().isoformat()
        after = before | {name: Entry(commit, today) for name, commit in found.items() if not _is(before, name, commit)}
        if after != before:
            _write(lock, after)
    for name in found.keys() - before.keys():
        console.say(f"{lock}: {name} is locked to {found[name]}")
    return [_said(name, before.get(name), after[name], name in moved) for name in _names(config)]


def _is(entries: Mapping[str, Entry], name: str, commit: str) -> bool:
    return name in entries and entries[name].commit == commit


def _names(config: Config) -> list[str]:
    return list(dict.fromkeys(each.name for each in named(config)))


def _said(name: str, before: Entry | None, after: Entry, asked: bool) -> str:
    if before is None:
        return f"{name}: {after.commit}, new"
    if before != after:
        return f"{name}: {before.commit} -> {after.commit}; the next run makes anew what depends on it"
    return f"{name}: {after.commit}, {'has not moved' if asked else 'kept'} since {after.resolved}"


def _looked_up(wanted: Iterable[Named], moved: set[str]) -> dict[str, str]:
    """The commits by the names of their entries; without the hub those of its client's cache, but for an update."""
    away, found, problems = hub.out_of_reach() if wanted else None, {}, []
    for each in wanted:
        cached = hub.cached_commit(each.kind, each.repository, each.revision) if away else None
        if cached and each.name not in moved:
            found[each.name] = cached
            console.say(f"{each.key}: {away}; {each.repository} at {each.revision} is taken from the local cache")
            continue
        try:
            if away:
                raise hub.HubError(_not_locked(each, away))
            where = f"{each.key}: {each.repository} at {each.revision}"
            found[each.name] = hub.commit_of(where, each.kind, each.repository, each.revision)
        except hub.HubError as error:
            problems.append(str(error))
    if problems:
        raise RlvrError("\n".join(problems))
    return found


def _not_locked(each: Named, away: str) -> str:
    instead = "base to a folder" if each.kind == "model" else "source: path with files"
    return (
        f"{each.key}: {each.repository} at {each.revision} can't be looked up, as {away}; connect and give `rlvr lock` "
        f"or run again, or set {each.key} to a commit (40 hex digits), or {instead}"
    )


def _write(lock: Path, entries: Mapping[str, Entry]) -> None:
    """Writes a lock whole or not at all, sorted by name."""
    lines = [
        f"{json.dumps(name)}:\n  commit: {json.dumps(entry.commit)}\n  resolved: {json.dumps(entry.resolved)}\n"
        for name, entry in sorted(entries.items())
    ]
    part = lock.with_name(f".{lock.name}.part")
    part.write_text(HEAD + "".join(lines), encoding="utf-8")
    part.replace(lock)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Keeps other processes from changing a lock. Raises RlvrError where it can't be written."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.with_name(f".{lock.name}.flock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise RlvrError(f"{lock}: can't be written ({error.strerror or error})") from None


def add_to(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser("lock", help="look up the branches and tags of the hub that a config names, once")
    command.add_argument("--configfile", type=Path, nargs="+", default=[Path("config/config.yaml")])
    which = command.add_mutually_exclusive_group()
    which.add_argument("--update", metavar="NAME", nargs="+", default=[], help="move these, such as OWNER/NAME")
    which.add_argument("--update-all", action="store_true", help="move all that the config names")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from rlvr import config

    asked = config.read(arguments.configfile)
    names = {each.name: {each.name, each.repository} for each in named(asked)}
    moved = set(names) if arguments.update_all else set()
    for word in arguments.update:
        meant = {name for name, words in names.items() if word in words}
        if not meant:
            raise RlvrError(f"--update: {word!r} is not possible; allowed: {', '.join(names) or 'nothing'}")
        moved |= meant
    if not names:
        print("no branch or tag of the hub is named: nothing to lock")
    else:
        print("\n".join(_change(asked, LOCK, moved)))
