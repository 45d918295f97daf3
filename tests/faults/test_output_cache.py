"""What comes from Snakemake's output cache is used only whole, and only as it was written by a holder of the key."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from conftest import snakemake
from rlvr import cli, output_cache, provenance, signatures
from rlvr.auditing import audit
from rlvr.errors import RlvrError

KEY = "3b48" * 16


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An output cache, and a user with a key for it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv(signatures.CACHE, str(folder))
    monkeypatch.setenv(signatures.OWN_KEY, str(tmp_path / "user" / "key"))
    signatures.require_key()
    return folder


def stored(cache: Path, folder: Path, key: str = KEY) -> Path:
    """A policy that a stage made in `folder` and Snakemake moved to the cache, linked there by entry."""
    policy = folder / "policy"
    (policy / "inner").mkdir(parents=True)
    (policy / "model.safetensors").write_text("1", encoding="utf-8")
    (policy / "inner" / "config.json").write_text("1", encoding="utf-8")
    (folder / "metrics.parquet").write_text("1", encoding="utf-8")
    provenance.write_manifest(folder / "manifest.json", [policy, folder / "metrics.parquet"], {"stage": "sft"})
    for name in ("policy", "metrics.parquet", "manifest.json"):
        entry = cache / f"{key}_{Path(name).stem}{Path(name).suffix}"
        shutil.move(folder / name, entry)
        if not entry.is_dir():
            (folder / name).symlink_to(entry)
    return fetched(cache, folder, key)


def fetched(cache: Path, folder: Path, key: str = KEY) -> Path:
    """The policy as another clone gets it: a folder with a link to each part of the entry."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("metrics.parquet", "manifest.json"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(cache / f"{key}_{name}")
    (folder / "policy").mkdir()
    (folder / "policy" / ".snakemake_timestamp").touch()
    for part in (cache / f"{key}_policy").iterdir():
        (folder / "policy" / part.name).symlink_to(part)
    return folder / "policy"


def rewritten(manifest: Path, **facts) -> None:
    """A manifest that says what lies in the cache now, with its own digest."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    policy = next(manifest.parent.glob("*_policy"))
    content["files"]["policy/model.safetensors"] = provenance.sha256(policy / "model.safetensors")
    content |= facts
    content[provenance.OWN] = provenance.own_digest(content)
    manifest.write_text(json.dumps(content), encoding="utf-8")


DAMAGES = {
    "changed": lambda policy: (policy / "model.safetensors").write_text("2", encoding="utf-8"),
    "missing": lambda policy: (policy / "model.safetensors").unlink(),
    "changed in a folder": lambda policy: (policy / "inner" / "config.json").write_text("2", encoding="utf-8"),
    "missing in a folder": lambda policy: (policy / "inner" / "config.json").unlink(),
    "laid in": lambda policy: (policy / "adapter_config.json").touch(),
    "laid into a folder": lambda policy: (policy / "inner" / "adapter_config.json").touch(),
    "no longer a folder": lambda policy: (shutil.rmtree(policy / "inner"), (policy / "inner").touch()),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("when", ["before it is fetched", "afterwards"])
def test_the_line_on_a_damaged_entry_names_all_entries_of_its_key(cache, tmp_path, damage, when):
    stored(cache, tmp_path / "first" / "sft")
    stored(cache, tmp_path / "other" / "sft", "5c17" * 16)
    if when == "afterwards":
        policy = fetched(cache, tmp_path / "second" / "sft")
        provenance.verify(policy)
        DAMAGES[damage](cache / f"{KEY}_policy")
        shutil.rmtree(policy)
        (tmp_path / "second" / "sft" / "manifest.json").unlink()
        policy = fetched(cache, tmp_path / "second" / "sft")
    else:
        DAMAGES[damage](cache / f"{KEY}_policy")
        policy = fetched(cache, tmp_path / "second" / "sft")
    with pytest.raises(RlvrError) as refused:
        provenance.verify(policy)
    line = str(refused.value)
    assert "\n" not in line and line.endswith(" and run again")
    entries = [cache / f"{KEY}_{name}" for name in ("manifest.json", "metrics.parquet", "policy")]
    assert f"({', '.join(map(str, entries))})" in line and "5c17" not in line
    outputs = [policy.parent / name for name in ("manifest.json", "metrics.parquet", "policy")]
    assert f"delete {', '.join(map(str, outputs))} and all that the output cache has of them" in line


REWRITTEN = {
    "weights": lambda manifest: rewritten(manifest),
    "facts": lambda manifest: rewritten(manifest, config={"seed": 1}),
    "no signature": lambda manifest: rewritten(manifest, **{provenance.SIGNED: None}),
    "a signature of no text": lambda manifest: rewritten(manifest, **{provenance.SIGNED: ["x"]}),
    "an empty signature": lambda manifest: rewritten(manifest, **{provenance.SIGNED: ""}),
    "a signature with other letters": lambda manifest: rewritten(manifest, **{provenance.SIGNED: "é" * 64}),
    "a signature that is no Unicode": lambda manifest: rewritten(manifest, **{provenance.SIGNED: "\ud800"}),
}


@pytest.mark.parametrize("how", REWRITTEN)
def test_a_rewritten_manifest_is_refused(cache, tmp_path, how):
    policy = stored(cache, tmp_path / "first" / "sft")
    provenance.verify(policy)
    if how == "weights":
        (cache / f"{KEY}_policy" / "model.safetensors").write_text("2", encoding="utf-8")
    REWRITTEN[how](cache / f"{KEY}_manifest.json")
    with pytest.raises(RlvrError, match=r"manifest\.json comes from the output cache and is not signed") as refused:
        provenance.verify(policy)
    assert f"{cache / f'{KEY}_policy'})" in str(refused.value) and "RLVR_CACHE_KEY" in str(refused.value)
    with pytest.raises(RlvrError, match=r"manifest\.json comes from the output cache and is not signed"):
        provenance.verify_manifest(policy.parent / "manifest.json")
    assert any("manifest.json: comes from the output cache" in line for line in audit.of(policy.parent).problems)


def test_the_entry_of_another_user_is_refused_without_a_copy_of_the_key(cache, tmp_path, monkeypatch):
    policy = stored(cache, tmp_path / "first" / "sft")
    for place in ("nowhere", "other/key"):
        monkeypatch.setenv(signatures.OWN_KEY, str(tmp_path / place))
        if place != "nowhere":
            signatures.require_key()
        with pytest.raises(RlvrError, match="another user made it"):
            provenance.verify(policy)
    shutil.copy(tmp_path / "user" / "key", tmp_path / "other" / "key")
    provenance.verify(policy)


def test_without_a_cache_nothing_is_signed_and_no_key_is_made(tmp_path, monkeypatch, made):
    monkeypatch.delenv(signatures.CACHE, raising=False)
    monkeypatch.setenv(signatures.OWN_KEY, str(tmp_path / "user" / "key"))
    provenance.write_manifest(tmp_path / "manifest.json", [], {})
    assert provenance.SIGNED not in provenance.read(tmp_path / "manifest.json")
    assert not (tmp_path / "user").exists()


def test_a_signature_is_no_edit_of_a_manifest(cache, tmp_path):
    policy = tmp_path / "micro" / "policy"
    policy.mkdir(parents=True)
    (policy / "x").touch()
    provenance.write_manifest(policy.parent / "manifest.json", [policy], {"given": {}})
    assert provenance.SIGNED in provenance.read(policy.parent / "manifest.json")
    assert not any("was edited" in line for line in audit.of(tmp_path / "micro").problems)


def test_the_key_is_made_once_and_for_its_user_alone(tmp_path, monkeypatch):
    monkeypatch.delenv(signatures.OWN_KEY, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    signatures.require_key()
    file = tmp_path / "config" / "rlvr" / "cache.key"
    assert signatures.key_file() == file and stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text(encoding="utf-8")
    signatures.require_key()
    signatures._make(file)
    assert file.read_text(encoding="utf-8") == before and [path.name for path in file.parent.iterdir()] == ["cache.key"]


BAD_KEYS = {
    "in the cache": (lambda cache, user: cache / "key", "lies in the output cache that it protects"),
    "no folder for it": (lambda cache, user: user / "key" / "key", "can't be written to"),
    "empty": (lambda cache, user: user / "empty", "holds no key; allowed: 64 hexadecimal digits"),
    "binary": (lambda cache, user: user / "binary", "holds no key"),
    "a folder": (lambda cache, user: user, "holds no key"),
    "of an unknown user": (lambda cache, user: "~nobody-here/key", "no home folder is known"),
}


@pytest.mark.parametrize("bad", BAD_KEYS)
def test_a_key_that_is_of_no_use_is_one_line_before_work_starts(cache, tmp_path, monkeypatch, capfd, bad):
    (tmp_path / "user" / "empty").touch()
    (tmp_path / "user" / "binary").write_bytes(bytes(range(200, 256)))
    place, said = BAD_KEYS[bad]
    monkeypatch.setenv(signatures.OWN_KEY, str(place(cache, tmp_path / "user")))
    (tmp_path / "slice.json").write_text("{}", encoding="utf-8")
    arguments = ["gguf", "--config", "slice.json", "--model", "m", "--file", "f.gguf", "--manifest", "manifest.json"]
    assert cli.main([f"{tmp_path}/{word}" if "." in word else word for word in arguments]) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("rlvr gguf: RLVR_CACHE_KEY: ") and said in line


def test_names_like_those_of_the_cache_and_blobs_of_the_hub_are_told_apart(tmp_path):
    blob = tmp_path / "blobs" / KEY
    blob.parent.mkdir()
    blob.touch()
    (tmp_path / "model.safetensors").symlink_to(blob)
    assert output_cache.entries_of(tmp_path / "model.safetensors") == []
    assert output_cache.entries_of(tmp_path / f"{KEY}_policy" / "x") == [tmp_path / f"{KEY}_policy"]


WORKFLOW = """
rule read:
    input: ancient("results/x/policy"), "results/x/manifest.json"
    output: "results/x/read"
    shell: "python ../stage.py read && touch {output}"
rule train:
    output: policy=directory("results/x/policy"), metrics="results/x/metrics", manifest="results/x/manifest.json"
    cache: True
    shell: "python ../stage.py train"
"""
STAGE = """
import sys
from pathlib import Path
from rlvr import provenance
from rlvr.errors import RlvrError
results = Path("results/x")
if sys.argv[1] == "read":
    try:
        provenance.verify(results / "policy")
    except RlvrError as error:
        sys.exit(f"rlvr read: {error}")
else:
    (results / "policy").mkdir(parents=True)
    (results / "policy" / "weights").write_text("sound")
    (results / "metrics").touch()
    outputs = [results / "policy", results / "metrics"]
    provenance.write_manifest(results / "manifest.json", outputs, {})
"""


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_after_what_the_line_names_is_deleted_snakemake_does_the_job_again(cache, tmp_path, monkeypatch, damage):
    (tmp_path / "stage.py").write_text(STAGE, encoding="utf-8")
    clones = [tmp_path / name for name in ("first", "second")]
    for clone in clones:
        clone.mkdir()
        (clone / "Snakefile").write_text(WORKFLOW, encoding="utf-8")
    snakemake(clones[0], "--cache")
    [entry] = cache.glob("*_policy")
    (entry / "weights").write_text("rotten", encoding="utf-8") if damage == "changed" else (entry / "weights").unlink()
    refused = snakemake(clones[1], "--cache", check=False)
    assert refused.returncode != 0
    line = next(line for line in refused.stdout.splitlines() if line.startswith("rlvr read: "))
    named = re.search(r"delete (.*) and all that the output cache has of them \((.*)\) and run", line).groups()
    for path in (clones[1] / name for name in ", ".join(named).split(", ")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    snakemake(clones[1], "--cache")
    assert (clones[1] / "results/x/policy/weights").read_text(encoding="utf-8") == "sound"
    for path in cache.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.chdir(clones[0])
    with pytest.raises(
        RlvrError, match=r"results/x/\w+.*: leads to .*, which the output cache no longer has"
    ) as refused:
        output_cache.check(Path("results/x"))
    subprocess.run(str(refused.value).rpartition(": ")[2], shell=True, check=True)
    output_cache.check(Path("results/x"))
    (clones[0] / "results/x/read").unlink()
    snakemake(clones[0], "--cache")
    assert (clones[0] / "results/x/policy/weights").read_text(encoding="utf-8") == "sound"


def test_a_broken_link_elsewhere_is_not_ours(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / f"{KEY}_policy").symlink_to(tmp_path)
    output_cache.check(tmp_path)
    output_cache.check(tmp_path / "not there")
