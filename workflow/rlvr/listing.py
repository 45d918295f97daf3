"""What lies in a folder, held against the names that a list has of it.

Links are followed, as Snakemake's output cache links a folder's content. What a list does not name is never ours: a
loader that looks for files by their names would take it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

KNOWN = (".snakemake_timestamp", ".gitignore")
"""What Snakemake leaves in a folder that is an output, and DVC beside files that it keeps; no loader reads them."""


def entries(folder: Path) -> Iterator[str]:
    """All that lies in a folder, by its path below it, sorted; a folder that is a link ends with a slash.

    Folders are not named themselves but for their content. A link to a folder above is not followed.
    """
    return _entries(str(folder), "", {os.path.realpath(folder)})


def _entries(folder: str, prefix: str, above: set[str]) -> Iterator[str]:
    with os.scandir(folder) as scanned:
        found = sorted(scanned, key=lambda entry: entry.name)
    for entry in found:
        name = prefix + entry.name
        if not Path(entry.path).is_dir():  # False for a link to itself, at which `entry.is_dir` raises
            yield name
            continue
        if entry.is_symlink():
            yield f"{name}/"
        real = os.path.realpath(entry.path)
        if real not in above:
            yield from _entries(entry.path, f"{name}/", {*above, real})


def files(folder: Path) -> list[str]:
    """The regular files in a folder, links followed, but those that are `KNOWN`."""
    return [name for name in entries(folder) if (folder / name).is_file() and not known(folder / name)]


def unlisted(folder: Path, listed: Collection[str]) -> Iterator[str]:
    """What lies in a folder and is neither listed, by its path below the folder, nor known by name."""
    for name in entries(folder):
        if name.endswith("/"):
            if not any(each.startswith(name) for each in listed):
                yield name
        elif name not in listed and not known(folder / name):
            yield name


def known(file: Path) -> bool:
    return file.name in KNOWN and file.is_file() and not file.is_symlink()


def is_below(name: str) -> bool:
    """Whether a listed name is that of a file below the folder of its list, written in one way only."""
    return isinstance(name, str) and "\0" not in name and not {"", ".", ".."}.intersection(name.split("/"))


def shown(path: Path | str) -> str:
    """A path as one line for a terminal."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
