"""What lies in a folder and in no manifest is loaded by nobody: it is named and refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from rlvr import cli, folders, listing, packaged, provenance
from rlvr.auditing import audit
from rlvr.engines import models
from rlvr.errors import RlvrError
from rlvr.stages import base as base_stage


def model(folder: Path, *names: str) -> Path:
    """A folder `weights` in `folder`, with its manifest."""
    weights = folder / "weights"
    weights.mkdir(parents=True)
    for name in names or ("model.safetensors", "config.json"):
        (weights / name).parent.mkdir(exist_ok=True)
        (weights / name).write_text(name, encoding="utf-8")
    provenance.write_manifest(folder / "manifest.json", [weights], {"stage": "base"})
    return weights


def link_to_a_folder(weights: Path, name: str) -> None:
    (weights.parent / "elsewhere").mkdir()
    (weights.parent / "elsewhere" / "tokenizer.json").touch()
    (weights / name).symlink_to(weights.parent / "elsewhere")


LAID_IN = {
    "adapter_config.json": lambda weights, name: (weights / name).write_text("{}", encoding="utf-8"),
    ".hidden": lambda weights, name: (weights / name).touch(),
    "empty": lambda weights, name: (weights / name).touch(),
    "inner/deep/adapter_model.safetensors": lambda weights, name: (weights / name).touch(),
    "manifest.json": lambda weights, name: (weights / name).write_text('{"files": {}}', encoding="utf-8"),
    "a.link": lambda weights, name: (weights / name).symlink_to(weights / "config.json"),
    "broken.link": lambda weights, name: (weights / name).symlink_to("nowhere"),
    "linked": link_to_a_folder,
    "loop": lambda weights, name: (weights / name).symlink_to(weights),
    "pipe": lambda weights, name: os.mkfifo(weights / name),
    ".gitignore": lambda weights, name: (weights / name).symlink_to(weights / "config.json"),
    ".gitignore/adapter_config.json": lambda weights, name: (weights / name).touch(),
}


@pytest.mark.parametrize("name", LAID_IN)
def test_a_file_that_the_manifest_does_not_list_is_refused_by_name(tmp_path, name):
    weights = model(tmp_path)
    provenance.verify(weights)
    (weights / name).parent.mkdir(parents=True, exist_ok=True)
    LAID_IN[name](weights, name)
    for check in (lambda: provenance.verify(weights), lambda: provenance.verify_manifest(tmp_path / "manifest.json")):
        with pytest.raises(RlvrError) as refused:
            check()
        assert str(refused.value).startswith(f"{weights / name} is listed in no manifest")
        assert f"rm it, or delete {weights} and run again" in str(refused.value) and "\n" not in str(refused.value)


def test_a_strange_name_does_not_reach_the_terminal_as_it_is(tmp_path):
    weights = model(tmp_path)
    (weights / "a\x1b[2J\nb").touch()
    with pytest.raises(RlvrError, match=r"a\\x1b\[2J\\nb' is listed in no manifest") as refused:
        provenance.verify(weights)
    assert str(refused.value).isprintable()


def test_what_snakemake_and_dvc_leave_is_known(tmp_path):
    weights = model(tmp_path, "model.safetensors", "inner/config.json")
    (weights / ".snakemake_timestamp").touch()
    (weights / ".gitignore").write_text("/model.safetensors\n", encoding="utf-8")
    (weights / "inner" / "nothing").mkdir()
    assert provenance.verify(weights) == provenance.identity(weights)


def test_a_folder_linked_from_the_cache_is_looked_into(tmp_path):
    weights = model(tmp_path, "model.safetensors", "inner/config.json")
    shutil.move(weights / "inner", tmp_path / "stored")
    (weights / "inner").symlink_to(tmp_path / "stored")
    provenance.verify(weights)
    (tmp_path / "stored" / "more.json").touch()
    with pytest.raises(RlvrError, match=r"weights/inner/more\.json is listed in no manifest"):
        provenance.verify(weights)


STAGES_WITH_A_MODEL = [name for name, stage in cli.STAGES.items() if {"base", "base?", "model"} & {*stage.inputs}]


@pytest.mark.parametrize("stage", STAGES_WITH_A_MODEL)
def test_every_stage_that_reads_a_model_refuses_a_laid_in_adapter(tmp_path, capfd, stage):
    weights = model(tmp_path / "model")
    (weights / "adapter_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "slice.json").write_text("{}", encoding="utf-8")
    (tmp_path / "rows").touch()
    arguments = [stage, "--config", tmp_path / "slice.json", "--manifest", tmp_path / "out" / "manifest.json"]
    for item in cli.STAGES[stage].inputs:
        name = item.rstrip(cli.MARKS)
        arguments += [f"--{name.replace('_', '-')}", weights if name in ("base", "model") else tmp_path / "rows"]
    for name in cli.STAGES[stage].outputs:
        arguments += [f"--{name}", tmp_path / "out" / name]
    assert cli.main(list(map(str, arguments))) == 1
    assert f"rlvr {stage}: {weights}/adapter_config.json is listed in no manifest" in capfd.readouterr().err
    assert not (tmp_path / "out").exists(), "before work starts"


def test_a_policy_takes_the_place_of_an_earlier_one(tmp_path):
    class Saved:
        def save_pretrained(self, folder: Path) -> None:
            (folder / "model.safetensors").touch()

    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "adapter_config.json").touch()
    models.save_policy(Saved(), Saved(), policy)
    assert [file.name for file in policy.iterdir()] == ["model.safetensors"]
    (tmp_path / "homes" / "one").mkdir(parents=True)
    with pytest.raises(RlvrError, match=r"homes: holds the folder one, as no model .* allowed: a new folder"):
        folders.require_replaceable(tmp_path / "homes")


def test_a_packaged_model_with_a_laid_in_file_is_made_again(tmp_path, capfd):
    weights = model(tmp_path)
    assert packaged._sound(tmp_path)
    (weights / "adapter_config.json").touch()
    assert not packaged._sound(tmp_path)
    assert "adapter_config.json is listed in no manifest" in capfd.readouterr().err


def test_a_local_base_is_copied_without_what_is_no_part_of_it_and_verified_where_it_has_a_manifest(made, tmp_path):
    source = Path(shutil.copytree(made.base, tmp_path / "source"))
    (source / "adapter_config.json").write_text("{}", encoding="utf-8")
    shutil.copy(source / "model.safetensors", source / "adapter_model.safetensors")
    config = {"base": {"model": str(source)}, "seed": 0}
    base_stage.run(config, data=[], weights=tmp_path / "copy" / "weights")
    assert sorted(f.name for f in (tmp_path / "copy" / "weights").iterdir()) == sorted(
        f.name for f in made.base.iterdir()
    )
    provenance.write_manifest(tmp_path / "manifest.json", [source], {})
    (source / "more.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RlvrError, match=r"source/more\.json is listed in no manifest"):
        base_stage.run(config, data=[], weights=tmp_path / "copy" / "weights")


@pytest.mark.parametrize(
    "name", ["../other/model.safetensors", "/etc/passwd", "weights/../../x", "", "weights//x", "."]
)
def test_a_manifest_that_lists_what_is_not_in_its_folder_is_refused(tmp_path, name):
    weights = model(tmp_path)
    manifest = tmp_path / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["files"][name] = provenance.sha256(weights / "config.json")
    content[provenance.OWN] = provenance.own_digest(content)
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RlvrError, match=r"manifest\.json is damaged: it lists .*, which is not in its folder"):
        provenance.verify(weights)
    assert any("which is not in its folder" in line for line in audit.of(tmp_path).problems)


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", '{"files": []}', '{"files": {"weights/x": 1}}', "[" * 10**5])
def test_a_damaged_manifest_is_one_line(tmp_path, content):
    weights = model(tmp_path)
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(
        RlvrError, match=r"manifest\.json is damaged: it holds no .*; delete .*manifest\.json and run again"
    ):
        provenance.verify(weights)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(RlvrError, match=r"manifest\.json is damaged"):
        provenance.verify(weights)


def none(files: dict) -> None:
    files.clear()


def without_one(files: dict) -> None:
    del files["weights/config.json"]


@pytest.mark.parametrize("edit", [none, without_one])
def test_an_edited_manifest_is_refused_also_where_it_no_longer_lists_what_is_read(tmp_path, edit):
    """It would count as an input without a manifest, which is hashed and used."""
    weights, manifest = model(tmp_path), tmp_path / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    edit(content["files"])
    manifest.write_text(json.dumps(content), encoding="utf-8")
    (weights / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RlvrError, match=r"manifest\.json was edited: .*; delete .*manifest\.json and run again"):
        provenance.verify(weights)


def test_a_strange_name_in_a_manifest_does_not_reach_the_terminal_as_it_is(tmp_path):
    weights, name = model(tmp_path), "a\x1b[2J\nb"
    (weights / name).touch()
    provenance.write_manifest(tmp_path / "manifest.json", [weights], {})
    (weights / name).unlink()
    with pytest.raises(RlvrError, match=r"b' is missing") as refused:
        provenance.verify(weights)
    assert str(refused.value).isprintable()


def test_two_manifests_of_one_folder_are_refused(tmp_path):
    weights = model(tmp_path)
    shutil.copy(tmp_path / "manifest.json", tmp_path / "0.manifest.json")
    with pytest.raises(RlvrError, match=r"both .*0\.manifest\.json and manifest\.json list it; delete the one of no"):
        provenance.verify(weights)
    assert any("is listed in 0.manifest.json and in manifest.json" in line for line in audit.of(tmp_path).problems)


def test_a_model_is_verified_by_whatever_path_it_is_named(tmp_path, monkeypatch):
    weights = model(tmp_path / "model")
    (tmp_path / "link").symlink_to(weights)
    (weights / "more").touch()
    monkeypatch.chdir(weights)
    for path in (Path(), Path("../weights"), tmp_path / "link", weights / "..", weights.absolute()):
        given = path if path.name != ".." else path / "weights"
        with pytest.raises(RlvrError, match=r"more is listed in no manifest"):
            provenance.verify(given)


def test_the_audit_names_what_no_manifest_lists_and_knows_what_snakemake_dvc_and_unfinished_work_leave(tmp_path):
    results = tmp_path / "micro"
    model(results / "model" / "base")
    expected = ["logs/grpo/a.log", "config/grpo/dapo/seed0.json", "sft/.checkpoints/key/checkpoint-5/optimizer.pt"]
    expected += ["sft/trackers/wandb/run/file", "model/.gitignore", "model/base/weights/.snakemake_timestamp"]
    expected += ["model/sft/.weights.part/model.safetensors", "eval/.completions.parquet.part"]
    strays = ["notes.txt", "config/run.sh", "model/base/adapter_config.json", "model/base/weights/adapter_config.json"]
    strays += ["sft/policy/model.safetensors", "logs.txt", ".hidden"]
    for name in [*expected, *strays]:
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).touch()
    (tmp_path / "disk").mkdir()
    (results / "linked").symlink_to(tmp_path / "disk")
    found = [line for line in audit.of(results).problems if "is listed in no manifest" in line]
    assert {line.partition(": ")[0] for line in found} == {f"{results}/{name}" for name in [*strays, "linked"]}


def test_the_folders_of_a_list_are_read_once_where_links_go_round(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert list(listing.entries(tmp_path)) == ["a/file", "a/up/", "self"]
