"""A DVC cache of links is refused however DVC was told to make one, and a broken configuration is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dvc.config import Config

from rlvr import dvc_settings
from rlvr.errors import RlvrError

LAYERS = ("SYSTEM/config", "GLOBAL/config", "project/.dvc/config", "project/.dvc/config.local")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project whose system and user settings lie beside it."""
    for layer in ("SYSTEM", "GLOBAL"):
        (tmp_path / layer).mkdir()
        monkeypatch.setenv(f"DVC_{layer}_CONFIG_DIR", str(tmp_path / layer))
    (tmp_path / "project" / ".dvc").mkdir(parents=True)
    (tmp_path / "project" / ".dvc" / "config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
    return tmp_path / "project"


def refused(folder: Path) -> str:
    with pytest.raises(RlvrError) as raised:
        dvc_settings.check(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("value", ["hardlink", '"hardlink,copy"', "'copy, symlink'", "reflink, hardlink", '"symlink",'])
@pytest.mark.parametrize(
    "layer", ["SYSTEM/config", "GLOBAL/config", "project/.dvc/config", "project/.dvc/config.local"]
)
def test_links_are_refused_in_every_layer_and_spelling(project, layer, value):
    file = project.parent / layer
    dvc_settings.check(project)
    file.write_text(f"[Cache]\n    TYPE = {value}\n", encoding="utf-8")
    kind = "symlink" if "symlink" in value else "hardlink"
    assert refused(project) == f"{file}: cache.type {kind} can leave a stale report; allowed: reflink, copy"


def test_what_dvc_itself_wrote_is_refused_and_what_it_lays_over_it_is_not(project):
    with Config(str(project / ".dvc")).edit("global") as settings:
        settings["cache"]["type"] = "hardlink,copy"
    assert refused(project).startswith(str(project.parent / "GLOBAL/config"))
    with Config(str(project / ".dvc")).edit("local") as settings:
        settings["cache"]["type"] = "reflink,copy"
    dvc_settings.check(project)


def test_a_cache_that_is_set_up_as_a_remote_is_refused(project):
    (project / ".dvc/config").write_text(
        "[cache]\n    local = near\n    type = copy\n['remote \"near\"']\n    url = /near\n    type = symlink\n",
        encoding="utf-8",
    )
    assert "cache.type symlink" in refused(project)
    (project / ".dvc/config").write_text("['remote \"near\"']\n    url = /near\n    type = symlink\n", encoding="utf-8")
    dvc_settings.check(project)


def test_a_folder_within_a_project_is_of_it(project):
    (project / ".dvc/config").write_text("[cache]\n    type = hardlink\n", encoding="utf-8")
    (project / "experiments/one").mkdir(parents=True)
    assert "cache.type hardlink" in refused(project / "experiments/one")


@pytest.mark.parametrize(
    "content",
    [
        b'[cache]\n    type = "hardlink\n',
        b"[cache]\n    type = hardlinks\n",
        b"[cache]\n    type = %(kind)s\n",
        b"[cache]\n    type = \xff\n",
        b"cache = hardlink\n",
        b"[cache]\n[cache]\n",
        b"[no]\n    such = section\n",
        b"[cache\n",
    ],
)
def test_a_broken_file_is_one_line_that_names_it(project, content):
    (project / ".dvc/config.local").write_bytes(content)
    assert refused(project).startswith(f"{project / '.dvc/config.local'}: ")


def test_a_folder_in_place_of_a_file_is_one_line(project):
    (project / ".dvc/config.local").mkdir()
    assert refused(project).startswith(f"{project / '.dvc/config.local'}: ")


def test_without_dvc_or_a_project_nothing_is_read(project, monkeypatch):
    (project.parent / "GLOBAL/config").write_text("[cache]\n    type = hardlink\n", encoding="utf-8")
    dvc_settings.check(project.parent)
    monkeypatch.setitem(sys.modules, "dvc.config", None)
    dvc_settings.check(project)


def test_no_project_costs_no_import(tmp_path):
    script = "import sys; from pathlib import Path; from rlvr import dvc_settings; dvc_settings.check(Path('.'))"
    command = [sys.executable, "-c", f"{script}; sys.exit('dvc' in sys.modules)"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
