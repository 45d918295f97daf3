"""A checkpoint that is not sound is passed over and named, and the newest sound one is gone on from."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlvr import provenance
from rlvr.engines import checkpoints
from rlvr.engines.checkpoints import SEAL


def seal(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "inner").mkdir(parents=True)
    for name in ("optimizer.pt", "inner/model.safetensors"):
        (checkpoint / name).write_bytes(name.encode())
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
    checkpoints.Sealer().on_save(SimpleNamespace(output_dir=folder), SimpleNamespace(global_step=step), None)
    return checkpoint


def list_outside(checkpoint: Path) -> None:
    other = checkpoint.parent / "other"
    other.touch()
    sealed = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
    (checkpoint / SEAL).write_text(json.dumps(sealed | {"../other": provenance.sha256(other)}), encoding="utf-8")


def write_seal(content: bytes):
    return lambda checkpoint: (checkpoint / SEAL).write_bytes(content)


def replace_seal(make):
    def replace(checkpoint: Path) -> None:
        (checkpoint / SEAL).unlink()
        make(checkpoint / SEAL)

    return replace


DAMAGES = {
    "empty": (write_seal(b""), "its seal is damaged"),
    "truncated": (lambda c: (c / SEAL).write_bytes((c / SEAL).read_bytes()[:-9]), "its seal is damaged"),
    "no JSON": (write_seal(b"sealed"), "its seal is damaged"),
    "binary": (write_seal(bytes(range(256))), "its seal is damaged"),
    "deep": (write_seal(b"[" * 10**5), "its seal is damaged"),
    "a list": (write_seal(b'["optimizer.pt"]'), "its seal is damaged"),
    "null": (write_seal(b"null"), "its seal is damaged"),
    "nothing sealed": (write_seal(b"{}"), "its seal is damaged"),
    "no digests": (write_seal(b'{"optimizer.pt": {}}'), "optimizer.pt is damaged"),
    "outside": (list_outside, "its seal is damaged"),
    "a folder": (replace_seal(Path.mkdir), "it can't be read"),
    "a broken link": (replace_seal(lambda seal: seal.symlink_to("nowhere")), "it can't be read"),
    "a link to itself": (replace_seal(lambda seal: seal.symlink_to(seal.name)), "it can't be read"),
    "no seal": (lambda c: (c / SEAL).unlink(), "it was not finished"),
    "an unlisted file": (lambda c: (c / "adapter_config.json").touch(), "adapter_config.json is not in its seal"),
    "an unlisted link": (lambda c: (c / "linked").symlink_to(c.parent), "linked/ is not in its seal"),
    "a changed file": (lambda c: (c / "optimizer.pt").write_bytes(b"x"), "optimizer.pt is damaged"),
    "a missing file": (lambda c: (c / "inner/model.safetensors").unlink(), "inner/model.safetensors is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_sound_checkpoint_is_used_and_a_damaged_one_is_named(tmp_path, capfd, damage):
    older, newer = seal(tmp_path, 5), seal(tmp_path, 10)
    assert checkpoints.latest(tmp_path) == newer
    make, said = DAMAGES[damage]
    make(newer)
    assert checkpoints.latest(tmp_path) == older
    assert f"{newer} is passed over: {said}" in capfd.readouterr().err
    assert not os.path.lexists(newer), "the trainer would write into it"
    seal(tmp_path, 10)
    assert checkpoints.latest(tmp_path) == newer


def test_an_unreadable_seal_is_passed_over(tmp_path, monkeypatch, capfd):
    older, newer = seal(tmp_path, 5), seal(tmp_path, 10)
    read = Path.read_text

    def refused(self, *args, **kwargs):
        if self == newer / SEAL:
            raise PermissionError(13, "Permission denied")
        return read(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refused)
    assert checkpoints.latest(tmp_path) == older
    assert f"{newer} is passed over: it can't be read (Permission denied)" in capfd.readouterr().err


NAMES = ["checkpoint-tmp", "checkpoint-", "checkpoint-12.bak", "checkpoint-007", "checkpoint--9", "checkpoint-9٣"]


def test_folders_of_other_names_are_passed_over_and_named(tmp_path, capfd):
    newest = seal(tmp_path, 5)
    for name in (*NAMES, "checkpoint-\x1b[2J"):
        (tmp_path / name).mkdir()
    assert checkpoints.latest(tmp_path) == newest
    said = capfd.readouterr().err
    for name in NAMES:
        assert f"{tmp_path / name} is passed over: it is no checkpoint" in said
        assert not (tmp_path / name).exists(), "the trainer counts some of them among those that it keeps"
    assert "\x1b" not in said and r"\x1b[2J' is passed over" in said


def test_a_copy_under_the_name_of_another_step_is_passed_over(tmp_path, capfd):
    """The run would say that it was resumed at that step, and the trainer at its own."""
    sound = seal(tmp_path, 5)
    shutil.copytree(sound, tmp_path / "checkpoint-7")
    assert checkpoints.latest(tmp_path) == sound
    assert f"{tmp_path / 'checkpoint-7'} is passed over: it is of step 5" in capfd.readouterr().err


def test_a_file_and_a_broken_link_of_the_name_of_a_checkpoint_are_out_of_the_trainers_way(tmp_path, capfd):
    newest = seal(tmp_path, 5)
    for _ in range(2):
        (tmp_path / "checkpoint-10").touch()
        (tmp_path / "checkpoint-15").symlink_to("nowhere")
        assert checkpoints.latest(tmp_path) == newest
        assert capfd.readouterr().err.count("is passed over: it is no folder") == 2
        assert not os.path.lexists(tmp_path / "checkpoint-10") and not os.path.lexists(tmp_path / "checkpoint-15")


def test_without_a_sound_checkpoint_training_starts_over(tmp_path):
    assert checkpoints.latest(tmp_path) is None
    (seal(tmp_path, 5) / SEAL).write_text("[]", encoding="utf-8")
    assert checkpoints.latest(tmp_path) is None


def test_the_files_of_a_checkpoint_are_on_the_disk_before_its_seal(tmp_path, monkeypatch):
    done = []
    real, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda f: (done.append(Path(f"/proc/self/fd/{f}").readlink().name), real(f))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append("renamed"), rename(self, to))[1])
    seal(tmp_path, 5)
    assert set(done[:5]) == {"optimizer.pt", "trainer_state.json", "model.safetensors", "inner", "checkpoint-5"}
    assert done[5:] == [f".{SEAL}.part", "renamed", "checkpoint-5"]
