"""What acceptance says of a host before it starts."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import host
import pytest
import rehearse

from rlvr import nvidia
from rlvr.doctor import trials

SMALL = {"base": {"model": "tiny"}}


def put(site: Path, name: str, *files: str) -> None:
    """Leaves a distribution in a folder as pip does."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).touch()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    listed = [*files, f"{info.name}/METADATA", f"{info.name}/RECORD", f"../../bin/{name}", f"{name}/__init__.pyc"]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in listed), encoding="utf-8")


def marks(lines: list[host.Line]) -> dict[str, str]:
    return {line.part: line.mark for line in lines}


def test_a_package_that_a_second_install_has_replaced_in_part_is_named(tmp_path):
    put(tmp_path, "protobuf", "google/protobuf/__init__.py", "google/_upb/_message.so")
    put(tmp_path, "numpy", "numpy/__init__.py")
    assert host.damaged([str(tmp_path)]) == []
    shutil.rmtree(tmp_path / "google")
    put(tmp_path, "googleapis", "google/rpc/__init__.py")
    [found] = host.damaged([str(tmp_path)])
    assert (found.mark, found.part) == ("lack", "protobuf")
    assert "2 of its 4 files are gone, google/protobuf/__init__.py first; install all wheels with one pip" in found.text


def test_each_pinned_package_that_is_not_there_is_a_line_and_another_version_a_note(monkeypatch):
    monkeypatch.setattr(host.pinned, "pins", lambda *files: {"pluggy": "0.0.1", "no-such": "1.2", "nor-this": "3"})
    lines = [line for line in host.packages() if line.part in ("pluggy", "no-such", "nor-this")]
    assert marks(lines) == {"pluggy": "note", "no-such": "lack", "nor-this": "lack"}
    assert str(lines[1]) == "lack  no-such       not installed; requirements/base.txt pins 1.2"
    assert "pinned is 0.0.1" in lines[0].text


def test_another_python_is_refused(monkeypatch):
    monkeypatch.setattr(host, "PYTHONS", ((3, 5),))
    assert "allowed: 3.11 or 3.12" in host.packages()[0].text


def test_a_command_that_does_not_run_says_why_and_one_off_the_path_how_it_is_called(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "COMMANDS", {"no_such_command": "--help", "rlvr": "--help"})
    monkeypatch.setenv("PATH", str(tmp_path))
    broken, called = host.commands()
    assert broken.mark == "lack" and "No module named no_such_command" in broken.text
    assert called.mark == "note" and called.text == f"not on the PATH; called as {sys.executable} -m rlvr"


def test_a_package_that_does_not_import_is_a_line_with_the_first_cause(monkeypatch, tmp_path):
    put(tmp_path, "brittle", "brittle/__init__.py")
    source = (
        "try:\n    import no_such_package\nexcept ImportError as error:\n    raise RuntimeError('look up') from error\n"
    )
    (tmp_path / "brittle/__init__.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(host.pinned, "pins", lambda *files: {"Brittle": "1.0"})
    monkeypatch.setattr(host, "IMPORTS", host.IMPORTS.replace('pkgutil.walk_packages(rlvr.__path__, "rlvr.")', "()"))
    assert [str(line) for line in host.imports() if line.part == "brittle"] == [
        "lack  brittle       does not import: ModuleNotFoundError: No module named 'no_such_package'"
    ]


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No compiler, and no variable that says where one is."""
    for name in ("CUDA_HOME", "CUDA_PATH", "CC", "VLLM_USE_FLASHINFER_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return monkeypatch


def program(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_what_triton_compiles_with_is_tried(bare, tmp_path):
    assert "no gcc or clang on the PATH" in host.compiler()[0].text
    program(tmp_path / "bin/clang")
    [found] = host.compiler()
    assert found.mark == "lack" and f"{tmp_path}/bin/clang finds no Python.h in " in found.text
    (tmp_path / "bin/clang").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    assert host.compiler()[0].mark == "ok"


def test_a_gpu_that_torch_can_not_use_is_a_lack_and_without_one_nothing_is_asked_of_it(monkeypatch, tmp_path):
    answer = {"torch": {"cuda": False, "build": "13.0", "devices": [], "why": "the driver is too old"}}
    monkeypatch.setattr(
        trials, "run", lambda probes, seconds: answer | {part: {} for part in probes if part != "torch"}
    )
    monkeypatch.setattr(host, "imports", list)
    monkeypatch.setattr(host, "ENGINES", ())
    monkeypatch.setattr(host, "compiler", list)
    monkeypatch.setattr(nvidia, "gpus", list)
    monkeypatch.setattr("rlvr.availability.NVIDIA", tmp_path / "none")
    assert "cuda" not in set(marks(host.machine([SMALL], tmp_path)))
    monkeypatch.setattr(nvidia, "gpus", lambda: ["GPU 0: one"])
    found = host.machine([SMALL], tmp_path)
    assert marks(found)["cuda"] == "lack"
    assert any("the driver is too old" in line.text for line in found)


def test_the_rehearsal_hides_the_programs_that_a_bare_host_lacks(monkeypatch, tmp_path):
    system, programs = tmp_path / "system", tmp_path / "programs"
    programs.mkdir()
    for name in ("gcc", "sh", "nvcc", "git", "make", "python3.11", "pip3", "snakemake"):
        program(system / name)
    monkeypatch.setattr(rehearse, "SYSTEM", (str(system), str(tmp_path / "none")))
    for _ in range(2):
        rehearse.link_programs(programs)
        assert {link.name: link.resolve() for link in programs.iterdir()} == {
            "gcc": system / "gcc",
            "sh": system / "sh",
        }
    environment = rehearse.host_environment(tmp_path)
    assert environment["PATH"].split(os.pathsep) == [
        str(tmp_path / name) for name in ("site/bin", "host/bin", "programs")
    ]
    assert environment["HOME"] != os.environ.get("HOME") and not any("CUDA" in name for name in environment)
