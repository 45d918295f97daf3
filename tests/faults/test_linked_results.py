"""Results on another disk, behind a link, are the same results."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlvr import cli, output_cache, provenance
from rlvr.auditing import audit, reports
from rlvr.errors import RlvrError
from rlvr.reporting.chain import Chain
from rlvr.reporting.results import Arm, Results


def linked(tmp_path: Path, part: str) -> Path:
    """A folder `results/micro` of which a part is a link to another disk."""
    results = tmp_path / "checkout" / "results" / "micro"
    place = {"results": results.parent, "experiment": results, "stage": results / "model", "arm": results / "model/sft"}
    disk = tmp_path / "disk" / "of another name"
    disk.mkdir(parents=True)
    place[part].parent.mkdir(parents=True)
    place[part].symlink_to(disk, target_is_directory=True)
    weights = results / "model/sft/weights"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_text("1", encoding="utf-8")
    provenance.write_manifest(weights.parent / "manifest.json", [weights], {"stage": "export"})
    return results


@pytest.mark.parametrize("part", ["results", "experiment", "stage", "arm"])
def test_a_link_is_no_fault_in_manifests_audit_and_report(tmp_path, part):
    results = linked(tmp_path, part)
    weights = results / "model/sft/weights"
    listed = provenance.read(weights.parent / "manifest.json")["files"]
    assert list(listed) == ["weights/model.safetensors"]
    assert provenance.verify(weights) == provenance.verify(weights.resolve())
    assert list(Chain(results).manifests) == ["model/sft/manifest.json"]
    assert list(Results(results, [Arm("sft")], [], {}).verified()) == ["model/sft/manifest.json"]
    for folder in (results, results.resolve()):
        assert not [line for line in audit.of(folder).problems if "report/manifest.json: is missing" not in line]
    (weights / "model.safetensors").write_text("2", encoding="utf-8")
    with pytest.raises(RlvrError) as refused:
        provenance.verify(weights)
    assert "cache" not in str(refused.value), "the file is no copy in a cache"
    assert not output_cache.entries_of(weights / "model.safetensors")


@pytest.mark.parametrize("part", ["results", "experiment", "stage", "arm"])
def test_outputs_behind_a_link_lie_in_the_folder_of_their_manifest(tmp_path, part, monkeypatch):
    results = linked(tmp_path, part)
    folder = results / "model/sft"
    monkeypatch.chdir(tmp_path / "checkout")
    for manifest, artifact in (
        (folder, folder.resolve() / "weights"),
        (folder.resolve(), folder / "weights"),
        (Path("results/micro/model/sft"), folder / "weights"),
    ):
        assert provenance.below(manifest, artifact) == Path("weights")
        provenance.write_manifest(manifest / "manifest.json", [artifact], {})
        provenance.verify(folder / "weights")
    assert provenance.below(folder, folder) == provenance.below(folder, folder.resolve()) == Path()
    assert provenance.below(folder / "weights", folder) is None
    assert provenance.below(folder, folder / "..") is None


def test_an_output_that_is_a_link_to_the_cache_lies_where_the_link_does(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "policy").symlink_to(tmp_path / "cache")
    assert provenance.below(tmp_path / "out", tmp_path / "out" / "policy") == Path("policy")


def test_an_output_elsewhere_is_refused_before_work_starts(tmp_path, capfd):
    (tmp_path / "slice.json").write_text("{}", encoding="utf-8")
    arguments = ["gguf", "--config", "slice.json", "--model", "m", "--file", "elsewhere/file"]
    arguments = [f"{tmp_path}/{word}" if "." in word or "/" in word else word for word in arguments]
    assert cli.main([*arguments, "--manifest", f"{tmp_path}/out/manifest.json"]) == 1
    assert "rlvr gguf: --manifest: must lie in a folder above --file" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["results/micro", "disk/other"])
def test_the_report_is_written_again_under_the_name_that_it_was_written_under(tmp_path, name, monkeypatch):
    """Pages show the folder's name, which a link changes."""
    folder = tmp_path / name
    folder.mkdir(parents=True)
    (folder / "file").touch()
    if name != "results/micro":
        (tmp_path / "checkout").mkdir()
        (tmp_path / "checkout" / "results").symlink_to(folder.parent, target_is_directory=True)
    with reports._home(folder, {"given": {"results": "results/micro"}}) as home:
        assert home == Path("results/micro") and (home / "file").is_file()


def test_a_finished_run_holds_behind_links(finished, tmp_path):
    shutil.copytree(finished / "results" / "micro", tmp_path / "disk" / "other")
    shutil.move(tmp_path / "disk" / "other" / "eval", tmp_path / "second disk")
    (tmp_path / "disk" / "other" / "eval").symlink_to(tmp_path / "second disk", target_is_directory=True)
    results = tmp_path / "checkout" / "results" / "micro"
    results.parent.mkdir(parents=True)
    results.symlink_to(tmp_path / "disk" / "other", target_is_directory=True)
    for folder in (results, results.resolve()):
        found = audit.of(folder)
        assert found.problems == [] and found.counts["completions"] == 4 * 12, folder
