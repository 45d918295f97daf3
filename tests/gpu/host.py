"""What `acceptance.py` needs of a host, found in seconds, each lack one line.

`packages` asks for no package itself. `machine` imports, in processes of their own, all that the parts will.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from rlvr.doctor import packages as pinned

PYTHONS = ((3, 11), (3, 12))
ENGINES = ("unsloth", "vllm", "4-bit")
COMMANDS = {"snakemake": "--version", "rlvr": "--help"}
SECONDS = 300.0

IMPORTS = """
import importlib, pkgutil, re, sys
from importlib.metadata import packages_distributions
import rlvr
def plain(name): return re.sub("[-_.]+", "-", name).lower()
asked = set(map(plain, sys.argv[1:]))
there = sorted(module for module, names in packages_distributions().items() if asked & set(map(plain, names)))
wanted = [name for name in there if name.isidentifier() and not name.startswith("_")]
own = [each.name for each in pkgutil.walk_packages(rlvr.__path__, "rlvr.")]
wanted += [name for name in own if not name.endswith(("__main__", "unsloth", "vllm", "lm_eval", "second_opinion"))]
for name in wanted:
    try:
        importlib.import_module(name)
    except Exception as error:
        while error.__cause__: error = error.__cause__
        print(f"failed\\t{name}\\t{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
"""
"""Imports the distributions named as arguments and all of rlvr except the modules for Unsloth, vLLM and lm-eval."""


@dataclass(frozen=True)
class Line:
    """mark: `ok`; `note` for what is otherwise than usual; `lack` for what ends a part."""

    mark: str
    part: str
    text: str

    def __str__(self) -> str:
        return f"{self.mark:<5} {self.part:<13} {self.text}"


def lacking(lines: Iterable[Line]) -> bool:
    return any(line.mark == "lack" for line in lines)


def packages() -> list[Line]:
    """Whether Python is one of ours, and what requirements/base.txt pins is there, in full, and the commands run."""
    lines = []
    version = sys.version_info[:2]
    if version not in PYTHONS:
        lines.append(Line("lack", "python", f"{version[0]}.{version[1]} is not possible; allowed: 3.11 or 3.12"))
    for name, wanted in pinned.pins(*pinned.NORMAL).items():
        has = pinned.installed(name)
        if has is None:
            lines.append(Line("lack", name, f"not installed; requirements/base.txt pins {wanted}"))
        elif has.partition("+")[0] != wanted:
            lines.append(Line("note", name, f"{has}; pinned is {wanted}"))
    lines += damaged(entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry)
    return lines if lacking(lines) else [*lines, *commands()]


def damaged(folders: Iterable[str]) -> list[Line]:
    """The distributions in these folders whose files are not all there. folders: filled by `pip install --target`.

    A second `pip install --target` into a folder replaces in it whole folders that both sets have: `bin`, and
    packages that several distributions share, as `google`.
    """
    found = []
    for each in distributions(path=list(folders)):
        files = [file for file in each.files or [] if ".." not in file.parts and file.suffix != ".pyc"]
        gone = [file for file in files if not Path(str(each.locate_file(file))).exists()]
        if gone:
            text = f"{len(gone)} of its {len(files)} files are gone, {gone[0]} first; install all wheels with one pip"
            found.append(Line("lack", _name(each), text))
    return found


def _name(distribution: Distribution) -> str:
    return distribution.metadata["Name"] or "unnamed"


def commands() -> list[Line]:
    """Whether the commands run as modules, as acceptance calls them, and what is on the PATH under their names."""
    lines = []
    with ThreadPoolExecutor(len(COMMANDS)) as pool:
        tried = pool.map(lambda name: _run([sys.executable, "-m", name, COMMANDS[name]]), COMMANDS)
    for name, problem in zip(COMMANDS, tried, strict=True):
        where = shutil.which(name)
        if problem:
            lines.append(Line("lack", name, f"python -m {name} {COMMANDS[name]}: {problem}"))
        elif where is None:
            lines.append(Line("note", name, f"not on the PATH; called as {sys.executable} -m {name}"))
        else:
            lines.append(Line("ok", name, where))
    return lines


def _run(line: list[str]) -> str | None:
    """None where a command succeeds; else the last line that it printed."""
    try:
        done = subprocess.run(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, encoding="utf-8"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stdout.strip().splitlines() or [f"status {done.returncode}"])[-1]


def machine(configs: list[dict[str, Any]], folder: Path) -> list[Line]:
    """What the parts with these configs need of device, engines, compiler and disk. folder: where they will run."""
    from rlvr import availability, nvidia, user_cache
    from rlvr.doctor import diagnosis, needs, trials

    asked = set().union(*map(needs.of, configs))
    installed = {part for part in ENGINES if not availability.missing(part)}
    on_gpu = availability.NVIDIA.exists() or bool(nvidia.gpus())
    # what `auto` takes there; and what the agreement of the engines is measured with
    used = installed if on_gpu else installed & (asked | ({"vllm"} if "smollm2" in asked else set()))
    needed = asked | used | ({"cuda"} if on_gpu else set())
    probes: dict[str, list[str]] = {part: [] for part in ("torch", *sorted(used))}
    with ThreadPoolExecutor(1) as pool:
        imported = pool.submit(imports)
        answers = trials.run(probes, SECONDS)
        lines = imported.result()
    findings = diagnosis.computer(answers["torch"], pinned.installed("torch") or "")
    findings += [diagnosis.disk(folder, user_cache.folder())]
    findings += diagnosis.engines({"transformers": {}, **answers}, pinned.installed("trl"))
    lines += [_line(each, needed) for each in findings if each.part in needed or on_gpu]
    lines += compiler() if on_gpu else []
    return lines + (smollm2() if "smollm2" in asked else [])


def _line(finding: Any, needed: set[str]) -> Line:
    if finding.mark == "ok":
        return Line("ok", finding.part, finding.text)
    mark = "lack" if finding.mark == "lack" and finding.part in needed else "note"
    return Line(mark, finding.part, f"{finding.text}; {finding.cure}")


def imports() -> list[Line]:
    names = list(pinned.pins(*pinned.NORMAL))
    line = [sys.executable, "-c", IMPORTS, *names]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, encoding="utf-8")
    if done.returncode:
        return [Line("lack", "imports", (done.stderr.strip().splitlines() or ["they crashed"])[-1])]
    failed = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("failed\t")]
    lines = [Line("lack", name, f"does not import: {problem}") for _, name, problem in failed]
    return lines or [Line("ok", "imports", f"{len(names)} pinned packages and all of rlvr")]


def smollm2() -> list[Line]:
    from rlvr import packaged
    from rlvr.errors import RlvrError

    for name, model in packaged.MODELS.items():
        try:
            file = packaged.find(name, model)
        except RlvrError as error:
            return [Line("lack", "smollm2", str(error))]
    return [Line("ok", "smollm2", str(file))]


def compiler() -> list[Line]:
    """Whether Triton can compile what it starts its kernels with: C, with Python's headers."""
    found = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        return [Line("lack", "compiler", "no gcc or clang on the PATH; Triton builds with it; install gcc or set CC")]
    include = sysconfig.get_path("include")
    line = [found, "-x", "c", "-fsyntax-only", "-I", include, "-"]
    try:
        done = subprocess.run(
            line, input="#include <Python.h>\n", capture_output=True, text=True, timeout=SECONDS, encoding="utf-8"
        )
    except OSError as error:
        return [Line("lack", "compiler", f"{found}: {error}")]
    if done.returncode:
        text = f"{found} finds no Python.h in {include}; Triton builds with it; install Python's headers (python3-dev)"
        return [Line("lack", "compiler", text)]
    return [Line("ok", "compiler", f"{found}, with {include}/Python.h")]
