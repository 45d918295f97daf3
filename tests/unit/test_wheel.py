"""The project's wheel, which is all that a host without the checkout and without a registry gets of it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from checkouts import ROOT, copy_checkout


def test_the_wheel_holds_all_code_templates_and_tables_and_the_command(tmp_path):
    source = copy_checkout(tmp_path / "source")
    build = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        [metadata], [commands] = (
            [wheel.read(name).decode() for name in wheel.namelist() if name.endswith(f".dist-info/{file}")]
            for file in ("METADATA", "entry_points.txt")
        )
    files = [
        file.relative_to(root)
        for root, package in ((ROOT / "workflow", "rlvr"), (ROOT, "rlvr_plugins"))
        for file in (root / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    assert held == set(map(Path.as_posix, files))
    assert "rlvr = rlvr.cli:main" in commands
    needed = [line for line in (ROOT / "requirements/base.txt").read_text().splitlines() if "==" in line]
    normal = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert normal == [f"Requires-Dist: {line}" for line in needed]
