"""What a result was made from and by, held against what would make it today."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr import circumstances, digests, file_digests, provenance

SHOWN = 12
"""Digits of a digest that are shown."""


def broken(content: Mapping[str, Any], folder: Path) -> list[str]:
    """The inputs that are not those a result was made from. folder: of the experiment, such as `results/tiny`."""
    found = []
    for path, recorded in content.get("inputs", {}).items():
        if recorded is not None and not _is_slice(path, folder):
            found += _differing(path, recorded, _identity(Path(path)))
    for name, recorded in content.get("made_from", {}).items():
        manifest = folder / name
        now = provenance.identity_of(provenance.read(manifest)["files"]) if manifest.is_file() else None
        found += _differing(str(manifest), recorded["files"], now)
    return found


def _identity(path: Path) -> str | None:
    """Of a file or folder: that of its manifest, or the digest of a file without one."""
    return provenance.identity(path) or (provenance.sha256(path) if path.is_file() else None)


def _differing(path: str, recorded: str, now: str | None) -> list[str]:
    if recorded == now:
        return []
    return [f"made from another version of {path} ({recorded[:SHOWN]}, now {(now or 'missing')[:SHOWN]})"]


def changes(dag: Any, job: Any, content: Mapping[str, Any], slice_text: str) -> list[str]:
    """What would make a result otherwise today, such as `by other code of reward/format`; none where nothing would."""
    return [
        *_config(content.get("config"), json.loads(slice_text)),
        *code(job, content),
        *_versions(job, content),
        *_inputs(dag, job, content),
    ]


def _config(recorded: Any, now: Any) -> list[str]:
    differing = list(_keys(recorded, now))
    return [f"with another config ({', '.join(differing[:3])})"] if differing else []


def _keys(recorded: Any, now: Any, where: str = "") -> Iterator[str]:
    """The keys at which two configs differ."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in sorted({*recorded, *now}):
            yield from _keys(recorded.get(key), now.get(key), f"{where}.{key}" if where else key)
    elif recorded != now:
        yield where or "all of it"


def code(job: Any, content: Mapping[str, Any]) -> list[str]:
    """The code and files by which Snakemake would run a job again, where the manifest does not know all of them."""
    files = _source_files(job, content)
    plugins = {**content.get("plugins", {}), **content.get("parts", {})}
    if set(_flat(job.params.get("code", []))) <= {content.get("code"), *plugins.values(), *files.values()}:
        return _copied(job, content)
    stage, config = content["stage"], content["config"]
    named = [f"from another {path}" for path, digest in files.items() if file_digests.file(path) != digest]
    if content.get("code") != digests.stage(stage):
        named.append(f"by other code of the stage {stage}")
    now = {**circumstances.plugins(stage, config, content.get("given", {})), **circumstances.parts(stage, config)}
    for name in sorted({*plugins, *now}):
        if plugins.get(name) != now.get(name):
            then, today = ((each.get(name) or "none")[:SHOWN] for each in (plugins, now))
            named.append(f"by other code of {name} ({then}, now {today})")
    return named or ["by other code or from other files"]


def _source_files(job: Any, content: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the files that a task's items were read from."""
    if content.get("stage") != "data":
        return {}
    return json.loads(Path(job.output.stats).read_text(encoding="utf-8")).get("files", {})


def _copied(job: Any, content: Mapping[str, Any]) -> list[str]:
    """The files of a local model that are not those that were copied."""
    if content["stage"] != "base":
        return []
    copied = {Path(name).name: digest for name, digest in content["files"].items()}
    sources = [path for path in job.input.get("source", []) if Path(path).name in copied]
    return [f"from another {path}" for path in sources if copied[Path(path).name] != file_digests.file(path)]


def _versions(job: Any, content: Mapping[str, Any]) -> list[str]:
    recorded = content.get("versions", {})
    return [
        f"with {package} {recorded.get(package, 'of unknown version')} (now {release})"
        for package, release in job.params.get("versions", {}).items()
        if recorded.get(package) != release
    ]


def _inputs(dag: Any, job: Any, content: Mapping[str, Any]) -> list[str]:
    """Files that a result was made from and would not be today, or the other way round."""
    folder = Path(*Path(job.output.manifest).parts[:2])
    recorded = {path for path in content.get("inputs", {}) if not _is_slice(path, folder)}
    if recorded == {str(folder)}:  # the report, whose config names what it reads
        return []
    made = {str(file) for files in dag.dependencies[job].values() for file in files}
    now = {
        str(file)
        for file in job.input
        if file in made
        and not str(file).endswith(provenance.NAME)
        and not _is_slice(str(file), folder)
        and not (file.is_ancient and not Path(file).is_dir())  # asked for, and not read
    }
    return [f"from {path}" for path in sorted(recorded - now)] + [f"without {path}" for path in sorted(now - recorded)]


def same_json(file: Path, text: str) -> bool:
    """Whether a file holds the same as a text, in whatever layout."""
    try:
        return json.loads(file.read_text(encoding="utf-8")) == json.loads(text)
    except ValueError:
        return False


def _is_slice(path: str, folder: Path) -> bool:
    return Path(path).is_relative_to(folder / "config")


def _flat(values: str | Iterable[Any]) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    else:
        for value in values:
            yield from _flat(value)
