"""The commands for people who use and write plugins: `rlvr plugins`, `rlvr check`, `rlvr verify`."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import sys
from difflib import get_close_matches
from pathlib import Path

from tabulate import tabulate

from rlvr import digests, scaffold, verifying
from rlvr.errors import RlvrError
from rlvr_plugins.manager import KINDS, PluginError, catalogue
from rlvr_plugins.second import SCORERS

COLUMNS = ("name", "kind", "distribution", "version", "digest", "where")
MARKS = {True: "ok", False: "FAIL", None: "skip"}


def add_to(commands: argparse._SubParsersAction) -> None:
    """Adds the three commands to the parser."""
    plugins = commands.add_parser(
        "plugins", help="list the installed tasks, rewards and filters, or start a new package"
    )
    plugins.set_defaults(run=_list)
    inner = plugins.add_subparsers(dest="action", metavar="new | show")
    new = inner.add_parser("new", help="write a package with a reward, ready to install")
    new.add_argument("name", help="its name in the config, such as my-reward")
    kind = new.add_mutually_exclusive_group()
    kind.add_argument("--task", action="store_const", const="task", dest="kind", help="a task instead of a reward")
    kind.add_argument("--filter", action="store_const", const="filter", dest="kind", help="a filter instead")
    new.add_argument("--into", type=Path, default=Path(), help="the folder to make it in (default: here)")
    new.set_defaults(run=_new)
    show = inner.add_parser("show", help="what a plugin is, and its options")
    show.add_argument("name")
    show.set_defaults(run=_show)

    check = commands.add_parser("check", help="run the conformance suite on plugins, without a model")
    check.add_argument("names", nargs="+", metavar="NAME")
    check.add_argument("--options", help="JSON object: options of a task or filter, in place of its offline ones")
    check.set_defaults(run=_check)

    verify = commands.add_parser("verify", help="judge completions from a JSONL file with a task's verifier")
    verify.add_argument("task")
    verify.add_argument(
        "file", type=Path, help='a JSON object a line: "completion" and what the task needs; - for standard input'
    )
    verify.add_argument("--out", type=Path, help="where the verdicts go (default: standard output)")
    verify.add_argument("--second", choices=sorted(SCORERS), help="a second scorer; lists where it disagrees")
    verify.set_defaults(run=_verify)


def _list(arguments: argparse.Namespace) -> None:
    found = catalogue()
    rows = []
    for kind in KINDS:
        for name in sorted(found.table(kind)):
            provider = found.provider(kind, name)
            try:
                digest = digests.of(kind, name)
            except PluginError as error:
                digest = "unknown"
                print(f"rlvr plugins: {error}", file=sys.stderr)
            rows.append((name, kind, provider.distribution, provider.version, digest, provider.module))
    for provider, _ in found.finders:
        rows.append(("…:…", "tasks on demand", provider.distribution, provider.version, "", provider.module))
    print(tabulate(rows, headers=COLUMNS, tablefmt="plain", disable_numparse=True))
    for provider, error in found.broken.items():
        print(f"broken: {provider}: {error}", file=sys.stderr)
    if found.left_out:
        print(f"left out by RLVR_PLUGINS: {', '.join(found.left_out)}", file=sys.stderr)


def _new(arguments: argparse.Namespace) -> None:
    folder = scaffold.write(arguments.kind or "reward", arguments.name, arguments.into)
    print(f"{folder}\nnext: pip install -e {folder} && pytest {folder} && rlvr check {arguments.name}")


def _show(arguments: argparse.Namespace) -> None:
    for kind, name in _named(arguments.name):
        plugin, provider = catalogue().plugin(kind, name), catalogue().provider(kind, name)
        print(f"{kind} {name}, {provider}, digest {digests.of(kind, name)}\n{plugin.description}")
        if kind == "reward":
            print(f"bounds: {plugin.bounds[0]:g} to {plugin.bounds[1]:g}")
        else:
            fields = dataclasses.fields(plugin.options)
            rows = [(field.name, getattr(field.type, "__name__", field.type), _default(field)) for field in fields]
            where = f"tasks.{name}.options" if kind == "task" else f"filters[].{name}"
            print(f"{where}:\n{tabulate(rows, headers=('option', 'type', 'default'), tablefmt='plain')}")
            print(inspect.getdoc(plugin.options) or "")
        if kind == "filter":
            print(f"splits: {', '.join(plugin.splits)}\nneeds: {', '.join(plugin.needs) or 'the rows only'}")
        elif plugin.isolate:
            print(f"in a worker process: {plugin.isolate}")


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        return json.dumps(field.default, default=str)
    return (
        "required" if field.default_factory is dataclasses.MISSING else json.dumps(field.default_factory(), default=str)
    )


def _check(arguments: argparse.Namespace) -> int:
    from rlvr.config import task_options
    from rlvr_plugins.conformance import check

    failed, options = 0, _options(arguments.options)
    for kind, name in (pair for word in arguments.names for pair in _named(word)):
        if kind == "task" and options is not None:
            task_options(name, options)
        print(f"{kind} {name}, {catalogue().provider(kind, name)}", flush=True)
        findings = check(kind, name, None if kind == "reward" else options)
        for finding in findings:
            print(f"  {MARKS[finding.passed]:4}  {finding.check:13}  {finding.detail}")
            failed += finding.passed is False
    return 1 if failed else 0


def _options(text: str | None) -> dict | None:
    try:
        options = None if text is None else json.loads(text)
    except ValueError as error:
        raise RlvrError(f"--options: {text!r} is not JSON ({error})") from None
    if not isinstance(options, dict | None):
        raise RlvrError(
            f'--options: {text!r} is not possible; allowed: a JSON object such as {{"source": "synthetic"}}'
        )
    return options


def _named(name: str) -> list[tuple[str, str]]:
    """Kind and name of what a word means: the plugins of this name, or all that a distribution of this name provides.

    Raises PluginError, which says what is wrong with a broken package of this name.
    """
    found = catalogue()
    if ":" in name:
        found.task(name)
    named = [(kind, name) for kind in KINDS if name in found.table(kind)]
    if named:
        return named
    provided = [key for key, provider in found.providers.items() if provider.distribution == name]
    if provided:
        return provided
    for provider, error in found.broken.items():
        if name in (provider.distribution, provider.module):
            raise PluginError(f"{provider} is broken: {error}")
    near = get_close_matches(name, [each for kind in KINDS for each in found.table(kind)], 1)
    raise PluginError(
        f"no {', '.join(KINDS)} or package {name!r}; {f'did you mean {near[0]!r}? ' if near else ''}"
        + "; ".join(f"{kind}s: {', '.join(sorted(found.table(kind)))}" for kind in KINDS)
        + "".join(f"; broken: {provider}: {error}" for provider, error in found.broken.items())
    )


def _verify(arguments: argparse.Namespace) -> None:
    verifying.verify_file(arguments.task, arguments.file, arguments.out, arguments.second)
