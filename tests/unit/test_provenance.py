from __future__ import annotations

import json

import pytest

from rlvr import provenance
from rlvr.errors import RlvrError


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / ".snakemake_timestamp").touch()
    (tmp_path / "metrics.parquet").write_bytes(b"metrics")
    provenance.write_manifest(tmp_path / "manifest.json", [folder, tmp_path / "metrics.parquet"], {"stage": "sft"})
    return folder


def test_a_manifest_lists_each_file_with_its_digest(artifact):
    content = json.loads((artifact.parent / "manifest.json").read_text())
    assert content["stage"] == "sft"
    assert set(content["files"]) == {"policy/model.safetensors", "metrics.parquet"}
    assert not list(artifact.parent.glob(".*part"))


def test_a_manifest_carries_the_digest_of_what_it_says(artifact):
    content = json.loads((artifact.parent / "manifest.json").read_text())
    assert content[provenance.OWN] == provenance.own_digest(content)
    assert provenance.own_digest({**content, "stage": "grpo"}) != content[provenance.OWN]


def test_a_sound_artifact_has_the_identity_of_its_own_files_whenever_it_was_made(artifact):
    metrics = artifact.parent / "metrics.parquet"
    first = provenance.verify(artifact)
    assert first and first != provenance.verify(metrics)
    metrics.write_bytes(b"other metrics")
    provenance.write_manifest(artifact.parent / "manifest.json", [artifact, metrics], {"finished": "later"})
    assert provenance.verify(artifact) == first
    (artifact / "model.safetensors").write_bytes(b"other weights")
    provenance.write_manifest(artifact.parent / "manifest.json", [artifact, metrics], {})
    assert provenance.verify(artifact) != first


def test_a_policy_of_another_base_is_refused(artifact, tmp_path):
    def base(name: str, content: bytes):
        weights = tmp_path / name / "weights"
        weights.mkdir(parents=True)
        (weights / "model.safetensors").write_bytes(content)
        provenance.write_manifest(weights.parent / "manifest.json", [weights], {"finished": name})
        return weights

    own, again, other = base("own", b"x"), base("again", b"x"), base("other", b"y")
    inputs = {str(own): provenance.identity(own)}
    provenance.write_manifest(tmp_path / "manifest.json", [artifact], {"inputs": inputs})
    provenance.require_trained_on(artifact, own)
    provenance.require_trained_on(artifact, again)
    with pytest.raises(RlvrError, match=rf"policy: was trained on another base model \({own}\) than {other}; allowed:"):
        provenance.require_trained_on(artifact, other)


def test_a_changed_byte_is_named(artifact):
    (artifact / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(
        RlvrError, match=r"policy/model\.safetensors is damaged: its sha256 is not that of its manifest"
    ):
        provenance.verify(artifact)
    provenance.verify(artifact.parent / "metrics.parquet")


def test_a_missing_file_is_named(artifact):
    (artifact / "model.safetensors").unlink()
    with pytest.raises(RlvrError, match=r"policy/model\.safetensors is missing"):
        provenance.verify(artifact)


def test_a_damaged_cache_entry_is_named_with_the_file_it_links_to(artifact, tmp_path):
    stored = tmp_path / "cache" / "entry"
    stored.parent.mkdir()
    stored.write_bytes(b"rotten")
    (artifact / "model.safetensors").unlink()
    (artifact / "model.safetensors").symlink_to(stored)
    with pytest.raises(RlvrError, match=rf"is damaged.*delete {artifact} and {stored} \(its copy in the cache\)"):
        provenance.verify(artifact)


def test_what_has_no_manifest_is_hashed(tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"x")
    assert provenance.identity(tmp_path / "rows.parquet") is None
    assert provenance.verify(tmp_path / "rows.parquet") == provenance.contents(tmp_path / "rows.parquet")
    with pytest.raises(RlvrError, match="is not there"):
        provenance.verify(tmp_path / "other.parquet")


def test_peak_memory_is_that_of_this_process():
    before = provenance.peak_memory()
    block = bytearray(64 * 2**20)
    assert provenance.peak_memory() >= before
    assert provenance.peak_memory() > len(block)
