"""Checks that the pins of this folder resolve, and that the pinned closures hold just what they need.

    python requirements/resolve.py            # a check; asks the package index, downloads no wheel
    python requirements/resolve.py --write    # renews the closures; a version is kept where it still fits

It resolves for each Python and for Linux on x86-64 with glibc 2.31 or later, whatever it runs on, from the
index that uv is set to (UV_DEFAULT_INDEX), else the one that pip is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
PYTHONS = ("3.11", "3.12")
PLATFORM = "x86_64-manylinux_2_31"
PLAIN = ("base.txt", "dev.txt", "language.txt", "lm-eval.txt", "math-verify.txt", "reasoning-gym.txt")
ALL = (*PLAIN, "gpu.txt", "tracking.txt")
CPU = (*PLAIN, "engines-cpu.in", "--override", "engines-cpu.overrides", "--excludes", "engines-cpu.excludes")
CONSTRAINTS, ENGINES = "constraints.txt", "engines-cpu.txt"
HEADS = {
    CONSTRAINTS: "# What the direct pins in the other requirement files resolve to; for the CPU and the GPU alike.\n"
    "# Made by `python requirements/resolve.py --write`.\n",
    ENGINES: "# The engines for tests on a CPU: after the normal install,\n"
    "#     pip install --no-deps -r requirements/engines-cpu.txt\n"
    "# without their needs, because some needs of theirs break a torch for the CPU (engines-cpu.excludes).\n"
    "# Made from engines-cpu.in, .overrides and .excludes by `python requirements/resolve.py --write`.\n",
}


class Unsolvable(Exception):
    """The pins contradict each other, or the index has not what they name."""


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--write"]):
        print(f"resolve: {' '.join(arguments)} is not possible; allowed: --write or nothing", file=sys.stderr)
        return 1
    held = {name: _lines(name) for name in HEADS}
    try:
        wanted = _closures(held, strict=not arguments)
    except Unsolvable as error:
        print(f"resolve: {error}", file=sys.stderr)
        return 1
    if arguments:
        for name, head in HEADS.items():
            (HERE / name).write_text(head + "".join(f"{line}\n" for line in sorted(wanted[name])), encoding="utf-8")
        return 0
    problems = []
    for name in HEADS:
        problems += [f"requirements/{name} lacks {line}" for line in sorted(wanted[name] - held[name])]
        problems += [
            f"requirements/{name} has {line}, which nothing needs" for line in sorted(held[name] - wanted[name])
        ]
    if problems:
        print(*problems, "renew them with: python requirements/resolve.py --write", sep="\n", file=sys.stderr)
        return 1
    print(f"the pins resolve on Python {' and '.join(PYTHONS)}")
    return 0


def _closures(held: dict[str, set[str]], strict: bool) -> dict[str, set[str]]:
    """The pins that each file should hold. `strict`: the versions in `held` are constraints, else preferences."""
    everything = _resolve(ALL, held[CONSTRAINTS], strict)
    overridden = {_name(line) for line in _lines("engines-cpu.overrides") | _lines("engines-cpu.in")}
    beside = {line for line in everything if _name(line) not in overridden} | held[ENGINES]
    return {
        CONSTRAINTS: everything,
        ENGINES: _resolve(CPU, beside, strict) - _resolve((*PLAIN, "--offline"), everything, strict=True),
    }


def _resolve(inputs: tuple[str, ...], held: set[str], strict: bool) -> set[str]:
    """What the inputs resolve to on any of the Pythons."""
    with ThreadPoolExecutor() as pool:
        found = set().union(*pool.map(partial(_resolve_on, inputs=inputs, held=held, strict=strict), PYTHONS))
    names = [_name(line) for line in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        versions = " and ".join(sorted(line for line in found if _name(line) == name))
        raise Unsolvable(f"{versions}: the Pythons get different ones; pin one of them in a requirement file")
    return found


def _resolve_on(python: str, inputs: tuple[str, ...], held: set[str], strict: bool) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "held.txt"
        kept.write_text("\n".join(sorted(held)), encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--no-python-downloads"]
        command += ["--python", sys.executable, "--python-version", python, "--python-platform", PLATFORM]
        command += ["--no-header", "--no-annotate", "--constraint" if strict else "--output-file", str(kept), *inputs]
        done = subprocess.run(command, cwd=HERE, env=_index(), capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise Unsolvable(f"Python {python}: {done.stderr.strip()}")
        return set(_pins(done.stdout if strict else kept.read_text(encoding="utf-8")))


def _index() -> dict[str, str]:
    if "UV_DEFAULT_INDEX" in os.environ:
        return dict(os.environ)
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    url = (
        os.environ.get("PIP_INDEX_URL")
        or subprocess.run(command, capture_output=True, text=True, encoding="utf-8").stdout.strip()
    )
    return os.environ | ({"UV_DEFAULT_INDEX": url} if url else {})


def _lines(name: str) -> set[str]:
    path = HERE / name
    return set(_pins(path.read_text(encoding="utf-8"))) if path.is_file() else set()


def _pins(text: str) -> list[str]:
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith(("#", "-"))]


def _name(line: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[=<>; \[]", line)[0]).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
