"""A kill while a stage finishes loses no training: checkpoints go once the manifest is on the disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import MICRO
from rlvr import cli, durable, provenance, unfinished
from rlvr.engines import models, training
from rlvr.errors import RlvrError
from rlvr.stages import rollouts


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def kill(*args, **kwargs):
    raise Killed


def before_the_manifest_is_renamed(path: Path) -> None:
    if path.name == ".manifest.json.part":
        raise Killed


def while_checkpoints_are_removed(path: Path, **options) -> None:
    if path.name == unfinished.REMOVED and path.exists():
        raise Killed


POINTS = {
    "before the policy": (models, "save_policy", kill),
    "before the metrics": (training, "write_metrics", kill),
    "before the manifest": (provenance, "write_manifest", kill),
    "before the manifest is renamed": (durable, "sync", before_the_manifest_is_renamed),
    "before checkpoints are removed": (unfinished, "_remove", kill),
    "while checkpoints are removed": (shutil, "rmtree", while_checkpoints_are_removed),
}


def command(stage: str, made, folder: Path) -> list[str]:
    config = {**made.cut[{"sft": "sft", "grpo": "grpo/dapo/seed0"}[stage]]}
    config["trainer"] = {**config["trainer"], "save_steps": 1, "save_strategy": "steps"}
    config["trainer"] |= {"max_steps": 2} if stage == "sft" else {}
    (folder / "slice.json").write_text(json.dumps(config), encoding="utf-8")
    given = {"config": folder / "slice.json", "base": made.base, "data": made.sft if stage == "sft" else made.train}
    outputs = {name: folder / "out" / name for name in cli.STAGES[stage].outputs}
    arguments = given | outputs | {"manifest": folder / "out" / "manifest.json"}
    return [stage, *(str(word) for name, value in arguments.items() for word in (f"--{name}", value))]


def made_by(stage: str, folder: Path) -> dict[str, str]:
    files = json.loads((folder / "out" / "manifest.json").read_text(encoding="utf-8"))["files"]
    return {name: digest for name, digest in files.items() if not name.startswith("metrics")}  # it holds times


def as_snakemake_deletes(stage: str, folder: Path) -> None:
    """What is declared as the output of a job that was killed is deleted before it is done again."""
    for name in (*cli.STAGES[stage].outputs, "manifest.json"):
        path = folder / "out" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_kill_at_the_end_loses_no_training_and_ends_with_the_same_bytes(made, tmp_path, monkeypatch, capfd, stage):
    (tmp_path / "whole").mkdir()
    assert cli.main(command(stage, made, tmp_path / "whole")) == 0
    whole = made_by(stage, tmp_path / "whole")
    assert not (tmp_path / "whole" / "out" / unfinished.FOLDER).exists()
    steps = MICRO[stage]["trainer"]["max_steps"] if stage == "grpo" else 2
    for number, (point, (module, name, stand_in)) in enumerate(POINTS.items()):
        folder = tmp_path / f"killed{number}"
        folder.mkdir()
        again = command(stage, made, folder)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(module, name, stand_in)
            cli.main(again)
        as_snakemake_deletes(stage, folder)
        capfd.readouterr()
        assert cli.main(again) == 0
        assert made_by(stage, folder) == whole, point
        went_on = f"{stage}: goes on from checkpoint-{steps}" in capfd.readouterr().err
        assert went_on == (point != "while checkpoints are removed"), point
        left = {path.name for path in (folder / "out").iterdir()}
        assert left == {*cli.STAGES[stage].outputs, "manifest.json"}, point


def test_files_are_on_the_disk_before_the_manifest_and_it_is_before_checkpoints_go(tmp_path, monkeypatch):
    done: list[tuple[str, str]] = []

    def watched(module, name: str, say: Callable[..., tuple[str, str]]) -> None:
        real = getattr(module, name)

        def called(*args, **kwargs):
            done.append(say(*args))
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, called)

    watched(os, "fsync", lambda opened: ("synced", Path(f"/proc/self/fd/{opened}").readlink().name))
    watched(Path, "replace", lambda self, target: ("renamed", Path(target).name))
    watched(Path, "rename", lambda self, target: ("removed", self.name))
    policy = tmp_path / "out" / "policy"
    with unfinished.until_finished():
        with unfinished.kept(policy, "key") as folder:
            (folder / "checkpoint").touch()
        policy.mkdir()
        (policy / "model.safetensors").touch()
        provenance.write_manifest(tmp_path / "out" / "manifest.json", [policy], {})
        assert folder.exists()
    assert done == [
        ("synced", "model.safetensors"),
        ("synced", "policy"),
        ("synced", ".manifest.json.part"),
        ("renamed", "manifest.json"),
        ("synced", "out"),
        ("removed", unfinished.FOLDER),
        ("synced", "out"),
    ]
    assert not (tmp_path / "out" / unfinished.FOLDER).exists()


@pytest.mark.parametrize("raised", [RlvrError("no"), Killed(), KeyboardInterrupt()], ids=repr)
def test_what_was_kept_stays_where_anything_is_raised_before_the_manifest_is_there(tmp_path, raised):
    with pytest.raises(type(raised)), unfinished.until_finished():
        with unfinished.kept(tmp_path / "policy", "key") as folder:
            (folder / "checkpoint").touch()
        raise raised
    with unfinished.kept(tmp_path / "policy", "key") as again:
        assert [file.name for file in again.iterdir()] == ["checkpoint"]


def test_no_other_run_begins_before_the_manifest_is_there(tmp_path):
    with unfinished.until_finished():
        with unfinished.kept(tmp_path / "policy", "key"):
            pass
        with (
            pytest.raises(RlvrError, match="another process is training here"),
            unfinished.kept(tmp_path / "policy", "other"),
        ):
            pass
        provenance.write_manifest(tmp_path / "manifest.json", [], {})
    with unfinished.kept(tmp_path / "policy", "key"):
        pass


def test_checkpoints_of_other_configs_go_too(tmp_path):
    for key in ("old", "new"):
        with unfinished.kept(tmp_path / "policy", key) as folder:
            (folder / "checkpoint").touch()
    (tmp_path / unfinished.REMOVED / "rest").mkdir(parents=True)  # of a kill while it was removed
    with unfinished.until_finished(), unfinished.kept(tmp_path / "policy", "new"):
        pass
    assert not list(tmp_path.iterdir())


def test_sampled_completions_are_kept_until_the_manifest_is_there(made, tmp_path, monkeypatch):
    config = {"sampling": {"completions": 1, "temperature": 1.0, "top_p": 1.0, "max_completion_tokens": 2}}
    config["sampling"] |= {"batch_size": 64, "target": None}
    config |= {"device": "cpu", "engine": "transformers", "seed": 0}
    (tmp_path / "slice.json").write_text(json.dumps(config), encoding="utf-8")
    arguments = ["rollouts", "--config", tmp_path / "slice.json", "--base", made.base, "--rows", made.train]
    arguments += ["--rollouts", tmp_path / "out" / "r.parquet", "--manifest", tmp_path / "out" / "manifest.json"]
    again = list(map(str, arguments))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(provenance, "write_manifest", kill)
        cli.main(again)
    with monkeypatch.context() as patch:
        patch.setattr(rollouts, "_complete", kill)  # nothing is sampled again
        assert cli.main(again) == 0
    assert not (tmp_path / "out" / unfinished.FOLDER).exists()
