"""Refuses the one DVC setting under which a report can go stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import RlvrError

if TYPE_CHECKING:
    from dvc.config import Config

UNSAFE = {"hardlink", "symlink"}


def check(root: Path) -> None:
    """Raises RlvrError when the cache of the DVC project around `root` is set to hard links or symbolic links.

    A linked file keeps the time of its first checkout, so Snakemake can take an old report for a current one. Read by
    DVC itself, from all of its layers; where there is no DVC, or no project, nothing is read.
    """
    project = _project(root.resolve())
    if project is None:
        return
    try:
        from dvc.config import Config
    except ImportError:
        return
    try:
        config = Config(str(project))
        chosen = UNSAFE.intersection(_types(config))
    except Exception as error:  # what DVC raises on a broken file has no class in common
        raise RlvrError(_broken(Config, project, error)) from None
    if chosen:
        named = ", ".join(sorted(chosen))
        raise RlvrError(
            f"{_origin(config, chosen)}: cache.type {named} can leave a stale report; allowed: reflink, copy"
        )


def _project(folder: Path) -> Path | None:
    """The `.dvc` of the project that a folder is in."""
    for each in (folder, *folder.parents):
        if (each / ".dvc").is_dir():
            return each / ".dvc"
        if each.is_mount():
            return None
    return None


def _types(config: dict[str, Any]) -> list[str]:
    """How DVC would link files of its cache, by its precedence, as `dvc.cachemgr.CacheManager` finds it."""
    cache = config.get("cache", {})
    section = config.get("remote", {}).get(cache["local"], {}) if cache.get("local") else cache
    return _kinds(section.get("type"))


def _kinds(types: str | list[str] | None) -> list[str]:
    """Kinds of links, which a file holds as one text or as a list."""
    return [kind.strip() for kind in (types.split(",") if isinstance(types, str) else types or [])]


def _files(config: type[Config] | Config, project: Path) -> Iterator[Path]:
    for layer in config.SYSTEM_LEVELS:
        yield Path(config.get_dir(layer), config.CONFIG)
    yield from (project / config.CONFIG, project / config.CONFIG_LOCAL)


def _origin(config: Config, chosen: set[str]) -> Path:
    """The file that asks for links; of several the one that counts, which is the last."""
    found = config.files["repo"]
    for file in filter(Path.is_file, _files(config, Path(config.dvc_dir))):
        read = config.load_file(str(file))
        for section in (read.get("cache", {}), *read.get("remote", {}).values()):
            if chosen.intersection(_kinds(section.get("type"))):
                found = file
    return Path(found)


def _broken(config: type[Config], project: Path, error: Exception) -> str:
    """One line that names the first file DVC can't read."""
    for file in _files(config, project):
        try:
            if file.exists():
                config.validate(config.load_file(str(file)))
        except Exception as found:
            return f"{file}: {_line(found)}; DVC can't read it"
    return f"{project / config.CONFIG}: {_line(error)}; DVC can't read it"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].removeprefix("config file error: ") or type(error).__name__
