"""Rehearses `acceptance.py` on a host as bare as one with a GPU may be, at the size for a CPU.

    python tests/gpu/rehearse.py FOLDER              # what the host needs, then all parts
    python tests/gpu/rehearse.py FOLDER tiny         # some parts
    python tests/gpu/rehearse.py FOLDER --check      # only what the host needs

A package index is needed to fetch the wheels, once. Then they are installed with one `pip install --target`, without
index or config, for a Python without packages, and the rest runs without network (in a namespace of its own, where
`unshare` may make one), home, nvcc, git and make. What follows the folder goes to `acceptance.py`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from checkouts import ROOT, copy_checkout  # noqa: E402

Result = TypeVar("Result")
REQUIREMENTS = ROOT / "requirements"
SYSTEM = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
HIDDEN = ("nvcc", "git", "make", "dvc", "snakemake", "rlvr", "uv", "ruff", "python", "pip", "pytest")
"""Beginnings of the names of programs that the host does not have."""
CUDA = "/usr/local/cuda"
NAMESPACE = ["unshare", "--map-root-user", "--net", "--mount"]
INSIDE = f'ip link set lo up; test -d {CUDA} && mount -t tmpfs none {CUDA}; exec "$@"'
BEYOND = "cloudpickle"
"""What vLLM imports, and engines-cpu.txt leaves to the normal install, which has the packages for development too."""


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    folder, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    if folder.is_relative_to(ROOT):
        print(f"{folder} lies in the checkout; allowed: a folder outside")
        return 2
    wheels = folder / f"wheels-{digest()}"
    for each in (folder / "home", folder / "tmp", folder / "programs", wheels):
        each.mkdir(parents=True, exist_ok=True)
    python = folder / "host/bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "host"], check=True)
    _timed("wheels", lambda: fetch(python, wheels))
    _timed("install", lambda: install(python, wheels, folder / "site"))
    link_programs(folder / "programs")
    environment = host_environment(folder)
    line = [str(python), str(TESTS / "gpu/acceptance.py"), "--out", str(folder / "acceptance.json"), *arguments]
    apart = [*NAMESPACE, "sh", "-c", INSIDE, "sh"]
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, env=environment).returncode:
        print(f"no namespace of its own is possible here: the network is not cut, and {CUDA} not hidden")
        apart = []
    return _timed("acceptance", lambda: subprocess.run([*apart, *line], cwd=ROOT, env=environment).returncode)


def fetch(python: Path, wheels: Path) -> None:
    """Wheels of the normal install and what it needs, and of the engines, unless they are there; of this checkout."""
    pip = [python, "-m", "pip", "wheel", "--quiet", "--find-links", wheels, "--wheel-dir", wheels]
    pinned = ["--constraint", REQUIREMENTS / "constraints.txt"]
    if not (wheels / "all").exists():
        subprocess.run([*pip, *pinned, "--requirement", REQUIREMENTS / "base.txt"], check=True)
        subprocess.run([*pip, "--no-deps", "--requirement", REQUIREMENTS / "engines-cpu.txt"], check=True)
        subprocess.run([*pip, "--no-deps", *pinned, BEYOND], check=True)
        (wheels / "all").touch()
    with tempfile.TemporaryDirectory() as source:  # pip builds in place and leaves what it built
        subprocess.run([*pip, "--no-deps", copy_checkout(Path(source))], check=True)


def digest() -> str:
    """Of the pins, so that no two versions of a package come together."""
    content = "".join(file.read_text(encoding="utf-8") for file in sorted(REQUIREMENTS.glob("*.txt")))
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def install(python: Path, wheels: Path, site: Path) -> None:
    """All wheels with one command: another one would replace whole folders, `bin` first of all."""
    shutil.rmtree(site, ignore_errors=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    subprocess.run(
        [*pip, "--target", site, *sorted(wheels.glob("*.whl"))],
        check=True,
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull},
    )


def link_programs(target: Path) -> None:
    """Links to the system's programs, except the hidden ones."""
    for folder in map(Path, SYSTEM):
        for program in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not program.name.startswith(HIDDEN) and not (target / program.name).is_symlink():
                (target / program.name).symlink_to(program)


def host_environment(folder: Path) -> dict[str, str]:
    path = [folder / "site/bin", folder / "host/bin", folder / "programs"]
    return {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PATH": os.pathsep.join(map(str, path)),
        "PYTHONPATH": str(folder / "site"),
        "LANG": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }


def _timed(what: str, call: Callable[[], Result]) -> Result:
    began = time.monotonic()
    result = call()
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
