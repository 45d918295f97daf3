"""Refuses YAML that no config means, before anything is built from it: bombs, and numbers that mean something else.

`profiles/default/profile.yaml` runs this file alone, before snakemake reads `--configfile` by itself. It therefore
imports nothing of this package, and raises ValueError.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 256 * 1024
MOST_VALUES = 10_000
"""Of a whole file, each alias counted as what it stands for."""
MOST_LEVELS = 50
LONGEST_KEY = 200
LONGEST_NUMBER = 40

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"[-+]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9.][0-9_.:]*([eE][-+]?[0-9]+)?)")
_BASED = re.compile(r"[-+]?0[xXbBoO]")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_DATE = dict(yaml.SafeLoader.yaml_implicit_resolvers["0"])["tag:yaml.org,2002:timestamp"]


def check(text: str) -> None:
    """Raises ValueError with one line, that of the text first, where the YAML in it is refused or is none."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES // 1024} KiB, which no config is")
    walk = _Walk()
    try:
        for event in yaml.parse(text, _PARSER):
            walk.see(event)
    except yaml.YAMLError as error:
        raise ValueError(explained(_by_pyyaml(text) or error)) from None


def explained(error: yaml.YAMLError) -> str:
    """The line and the problem of an error of PyYAML."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"line {mark.line + 1}: {problem}" if mark else problem


def _by_pyyaml(text: str) -> yaml.YAMLError | None:
    """The error of the parser in Python, which says more than libyaml's; None where it finds none."""
    try:
        for _ in yaml.parse(text, yaml.SafeLoader):
            pass
    except yaml.YAMLError as error:
        return error
    return None


@dataclass
class _Open:
    """A mapping or list whose end has not come."""

    mapping: bool
    anchor: str | None
    values: int = 1
    key: str | None = None
    items: int = 0


class _Walk:
    """Follows YAML's events with the path of each value, and counts."""

    def __init__(self) -> None:
        self.open: list[_Open] = []
        self.sizes: dict[str, int] = {}
        self.values = 0

    def see(self, event: Any) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            self._start(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self.open.pop()
            if ended.anchor:
                self.sizes[ended.anchor] = ended.values
            self._add(ended.values)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)

    def _start(self, event: Any) -> None:
        self._no_tag(event)
        if self._at_key():
            self._refuse(event, "a key must be a name")
        if len(self.open) == MOST_LEVELS:
            self._refuse(event, f"more than {MOST_LEVELS} levels lie in each other, which no config has")
        self._count(event, 1)
        self.open.append(_Open(isinstance(event, yaml.MappingStartEvent), event.anchor))

    def _scalar(self, event: Any) -> None:
        self._no_tag(event)
        if event.anchor:
            self.sizes[event.anchor] = 1
        if event.implicit[0]:
            self._plain(event)
        if self._at_key():
            if len(event.value) > LONGEST_KEY:
                self._refuse(event, f"a key of {len(event.value)} characters; allowed: up to {LONGEST_KEY}")
            self.open[-1].key = event.value
            return
        self._count(event, 1)
        self._add(1)

    def _alias(self, event: Any) -> None:
        if self._at_key():
            self._refuse(event, "a key must be a name")
        if any(each.anchor == event.anchor for each in self.open):
            self._refuse(event, f"*{event.anchor} lies in what it stands for")
        size = self.sizes.get(event.anchor, 1)
        self._count(event, size)
        self._add(size)

    def _at_key(self) -> bool:
        return bool(self.open) and self.open[-1].mapping and self.open[-1].key is None

    def _add(self, values: int) -> None:
        """A value has ended in the innermost mapping or list."""
        if self.open:
            around = self.open[-1]
            around.values += values
            around.items += 1
            around.key = None

    def _count(self, event: Any, values: int) -> None:
        self.values += values
        if self.values > MOST_VALUES:
            self._refuse(event, f"more than {MOST_VALUES} values, with aliases written out, which no config has")

    def _no_tag(self, event: Any) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(event, f"the tag {tag[:60]} is not possible; allowed: values without one, text in quotes")

    def _plain(self, event: Any) -> None:
        """Refuses an unquoted value that looks like a number, or a date, and is none, or another one than it looks."""
        written = event.value
        if _DATE.match(written):
            try:
                yaml.SafeLoader("").construct_yaml_timestamp(yaml.ScalarNode(event.tag, written))
            except ValueError:
                self._refuse(event, f"{written} is no date; allowed: '{written}', in quotes", self._place())
        if self._at_key() or not _NUMBER.fullmatch(written):
            return
        if len(written) > LONGEST_NUMBER:
            self._refuse(
                event, f"a number of {len(written)} characters; allowed: up to {LONGEST_NUMBER}", self._place()
            )
        if said := _misread(written):
            quoted = f"'{written}' in quotes where a text is meant"
            self._refuse(event, f"{written} is not possible, {said}, or {quoted}", self._place())

    def _place(self) -> str:
        """The path of the value that comes next."""
        parts = [f".{each.key}" if each.mapping else f"[{each.items}]" for each in self.open]
        place = "".join(parts).removeprefix(".")
        place = place if place.isprintable() else ascii(place)
        return place if len(place) <= LONGEST_KEY else f"…{place[-LONGEST_KEY:]}"

    @staticmethod
    def _refuse(event: Any, problem: str, place: str = "") -> None:
        raise ValueError(f"line {event.start_mark.line + 1}: {place}{': ' if place else ''}{problem}")


def _misread(written: str) -> str | None:
    """What is wrong with a number as it is written, and what is allowed; None where it is one to every reader."""
    digits = written.replace("_", "")
    if _BASED.match(written):
        if not digits.lstrip("+-")[2:]:
            return "a number without digits; allowed: one with digits"
        return f"YAML's releases differ on it; allowed: {int(digits, 0)}"
    if _SEXAGESIMAL.fullmatch(written):
        whole, *parts = digits.lstrip("-+").split(":")
        read = float(whole)
        for part in parts:
            read = 60 * read + float(part)
        sign = "-" if written.startswith("-") else ""
        return f"which YAML 1.1 reads as {sign}{read:g}; allowed: {sign}{read:g}"
    if _LEADING_ZERO.fullmatch(written):
        octal = re.fullmatch(r"[-+]?0[0-7]*", digits)
        read = f"which YAML 1.1 reads as {int(digits, 8)}" if octal else "YAML's releases differ on it"
        return f"{read}; allowed: {int(digits)}"
    if "_" in written:
        return f"YAML's releases differ on it; allowed: {digits}"
    try:
        value = float(written)
    except ValueError:  # such as 1.2.3 or 12:99, text to every reader
        return None
    if abs(value) == float("inf") or (value == 0 and re.search("[1-9]", re.split("[eE]", written)[0])):
        return "no number of 64 bits holds it; allowed: one from 1e-300 to 1e300"
    if re.fullmatch(r"[-+]?[0-9]+", written) and abs(int(written)) >= 2**63:
        return "no integer of 64 bits holds it; allowed: below 2^63"
    return None


def check_command_line(arguments: list[str]) -> None:
    """Ends snakemake with one line where a config file or a `--config` of its command line is refused.

    arguments: as in sys.argv.
    """
    for name, text in _given(arguments):
        try:
            check(text)
        except ValueError as error:
            joint = ", " if str(error).startswith("line ") else ": "
            sys.exit(f"{name}{joint}{error}")


def _given(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """The names and texts of config files and of `--config` values; snakemake itself names files that are not there."""
    option = ""
    for argument in arguments[1:]:
        words = [argument]
        if argument.startswith("-"):
            option, mark, value = argument.partition("=")
            words = [value] if mark else []
        for word in words:
            if option.startswith("--configf") and Path(word).is_file():
                try:
                    text = Path(word).read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError) as error:
                    sys.exit(f"{word}: can't be read ({error})")
                if re.search(r"^__use_yte__\s*:", text, re.MULTILINE):
                    sys.exit(f"{word}: __use_yte__ is not possible, a config holds no code; allowed: plain YAML")
                yield word, text
            elif option in ("--config", "-C"):
                key, _, value = word.partition("=")
                yield f"--config {key}", value
