"""Results that were made elsewhere are adopted when all of them hold, and not otherwise."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pandas as pd
import pytest

from conftest import MICRO, snakemake, write_config
from rlvr import circumstances, cli, digests, file_digests, provenance, snakemake_dag
from rlvr.adopting import adopt, origins
from rlvr.errors import RlvrError

NOTHING = "Nothing to be done"
RESULTS = Path("results/micro")
DAPO = RESULTS / "grpo/dapo/seed0"


@pytest.fixture(scope="module")
def without_records(finished: Path, tmp_path_factory) -> Path:
    """The finished checkout as DVC would give it: no record of Snakemake, times in no order; read only."""
    left_out = shutil.ignore_patterns(".snakemake", ".snakemake_timestamp", "tests", "__pycache__")
    folder = tmp_path_factory.mktemp("pulled") / "clone"
    shutil.copytree(finished, folder, symlinks=True, ignore=left_out)
    files = [path for path in (folder / RESULTS).rglob("*") if path.is_file()]
    for age, path in enumerate(sorted(files, key=lambda path: provenance.sha256(path))):
        os.utime(path, (time.time() - age, time.time() - age))
    return folder


@pytest.fixture
def clone(without_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of it, to change, from where commands are given in this process."""
    folder = Path(shutil.copytree(without_records, tmp_path / "clone", symlinks=True))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path[:])
    with mock.patch.dict(os.environ):
        yield folder


def left() -> set[str]:
    """Rules that snakemake would run."""
    return {job.rule.name for job in snakemake_dag.planned([]).needrun_jobs(exclude_finished=False)} - {
        "default",
        "config_slice",
    }


def refused(*arguments: str) -> str:
    """What adopt says when it changes nothing."""
    before = {path: path.stat().st_mtime_ns for path in RESULTS.rglob("*")}
    with pytest.raises(RlvrError) as raised:
        adopt.run(list(arguments))
    assert {path: path.stat().st_mtime_ns for path in RESULTS.rglob("*")} == before
    assert not list(Path(".snakemake/metadata").rglob("*"))
    return str(raised.value)


def rewritten(manifest: Path, **changes) -> None:
    """Writes a manifest anew, with its own digest, as if these facts had been recorded."""
    content = {**json.loads(manifest.read_text(encoding="utf-8")), **changes}
    content[provenance.OWN] = provenance.own_digest(content)
    manifest.write_text(json.dumps(content), encoding="utf-8")


def test_results_without_a_record_are_idle_once_they_are_adopted(clone):
    before = snakemake(clone, "--dry-run").stdout
    assert NOTHING not in before
    assert before.count("results/micro: 25 results were made elsewhere") == 1
    assert "`rlvr adopt` verifies them and takes them over" in before
    said = adopt.run([])
    assert said.startswith("results/micro: 25 results hold and are adopted (") and said.endswith(
        "snakemake has nothing to do"
    ), said
    after = snakemake(clone, "--dry-run").stdout
    assert NOTHING in after and "elsewhere" not in after


def test_what_is_adopted_runs_again_when_its_config_or_code_changes(clone, monkeypatch):
    adopt.run([])
    assert left() == set()
    with monkeypatch.context() as patch:
        patch.setattr(digests, "reward", lambda name: "edited")
        assert left() >= {"grpo", "report"} and "sft" not in left()
    write_config(clone, {**MICRO, "report": {"samples": 2}})
    assert left() == {"report"}


def test_every_damaged_or_missing_file_is_refused_by_name(clone):
    damaged = ["data/countdown/raw/eval.parquet", "model/base/weights/model.safetensors", "preflight/passed"]
    missing = ["grpo/dapo/seed0/metrics.parquet", "eval/sft/countdown/greedy/scores.parquet", "report/index.html"]
    for name in damaged:
        content = bytearray((RESULTS / name).read_bytes())
        content[len(content) // 2] ^= 1
        (RESULTS / name).write_bytes(content)
    for name in missing:
        (RESULTS / name).unlink()
    said = refused()
    assert all(f"{RESULTS / name} is damaged" in said for name in damaged)
    assert all(f"{RESULTS / name} is missing" in said for name in missing)


def test_every_folder_that_was_not_pulled_is_refused_by_name(clone):
    folders = ["grpo/dapo/seed0", "report", "preflight", "data/countdown/raw"]
    for folder in folders:
        shutil.rmtree(RESULTS / folder)
    said = refused()
    assert all(f"{RESULTS / folder}/manifest.json: is missing; give `dvc pull`" in said for folder in folders)


def test_an_edited_manifest_is_refused_by_name(clone):
    manifest = DAPO / "manifest.json"
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace('"threads": "1"', '"threads": "2"'), encoding="utf-8"
    )
    assert f"{manifest} was edited" in refused()
    manifest.write_text("{", encoding="utf-8")
    assert f"{manifest} is damaged" in refused()


def test_a_config_slice_that_its_result_was_not_made_with_is_refused_by_name(clone):
    slice_ = RESULTS / "config/sft.json"
    slice_.write_text(slice_.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    assert f"{slice_}: is not what results/micro/sft/manifest.json was made with" in refused()
    slice_.write_text("{", encoding="utf-8")
    assert f"{slice_}: is not what" in refused()


def test_a_manifest_of_another_shape_is_one_line(clone):
    changed = {
        "eval/base/countdown/greedy/scores.manifest.json": {"plugins": 3},
        "eval/sft/countdown/greedy/scores.manifest.json": {"inputs": []},
        "eval/grpo/dapo/seed0/countdown/greedy/scores.manifest.json": {"inputs": {"x\x1b[31m": "0"}},
        "model/grpo/dr_grpo/seed0/gate/manifest.json": {"versions": []},
    }
    for name, facts in changed.items():
        rewritten(RESULTS / name, **facts)
    said = refused()
    assert "\x1b" not in said
    for name in changed:
        begins = (f"{RESULTS / name}: ", f"{RESULTS / name} is damaged: ")
        assert [line.startswith(begins) for line in said.splitlines()].count(True) == 1, name


def test_a_manifest_that_leaves_a_file_out_is_refused(clone):
    manifest = DAPO / "manifest.json"
    files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    del files["metrics.parquet"]
    rewritten(manifest, files=files)
    assert f"{manifest}: does not list metrics.parquet" in refused()


def test_results_that_were_made_from_others_are_refused(clone):
    manifest = RESULTS / "sft/manifest.json"
    facts = json.loads(manifest.read_text(encoding="utf-8"))["inputs"]
    rewritten(manifest, inputs={name: "0" * 64 if recorded else None for name, recorded in facts.items()})
    said = refused()
    assert f"{manifest}: made from another version of results/micro/" in said and "(000000000000, now " in said


def test_what_another_config_made_is_named_and_runs_again_and_the_rest_is_adopted(clone):
    config = copy.deepcopy(MICRO)
    config["grpo"]["variants"] = {"dapo": {}, "dr_grpo": {"trainer": {"loss_type": "dr_grpo", "learning_rate": 1e-4}}}
    config["grpo"]["variants"]["more"] = {}
    write_config(clone, config)
    said = adopt.run([])
    assert "results/micro/grpo/dr_grpo/seed0: runs again, made with another config (trainer.learning_rate)" in said
    assert "results/micro/grpo/more/seed0: runs again, it was not asked for before" in said
    assert said.endswith("snakemake runs these only")
    planned = {
        str(job.output[0]) for job in snakemake_dag.planned([]).needrun_jobs(exclude_finished=False) if job.output
    }
    assert f"{DAPO}/policy" not in planned and "results/micro/model/base/weights" not in planned
    assert "results/micro/grpo/dr_grpo/seed0/policy" in planned


@pytest.mark.parametrize(
    ("kind", "name", "said", "again", "kept"),
    [
        ("reward", "format", f"{DAPO}: runs again, made by other code of reward/format (", "grpo", "sft"),
        ("source", "countdown", "data/countdown/raw: runs again, made by other code of task/countdown (so", "sft", ""),
        ("stage", "memory", f"{RESULTS}/preflight: runs again, made by other code of the stage m", "preflight", "sft"),
    ],
)
def test_what_other_code_made_is_named_and_runs_again(clone, monkeypatch, kind, name, said, again, kept):
    original = getattr(digests, kind)
    monkeypatch.setattr(digests, kind, lambda each: "0" * 16 if each == name else original(each))
    assert said in adopt.run([])
    assert again in left() and kept not in left()


def test_what_other_versions_made_runs_again(clone):
    manifest = RESULTS / "sft/manifest.json"
    versions = json.loads(manifest.read_text(encoding="utf-8"))["versions"]
    rewritten(manifest, versions={**versions, "trl": "1.0.0"})
    assert "results/micro/sft: runs again, made with trl 1.0.0 (now " in adopt.run([])
    assert "sft" in left() and "preflight" not in left()


def test_a_manifest_holds_every_digest_by_which_its_job_runs_again(tmp_path):
    """Adopting compares them; what only some configs ask for is among them."""
    rows, held_out = tmp_path / "train.parquet", tmp_path / "eval.parquet"
    pd.DataFrame({"task": ["countdown"]}).to_parquet(rows)
    pd.DataFrame({"task": ["countdown", "gsm8k"]}).to_parquet(held_out)
    leakage = {"task": "countdown", "filter": "decontaminate"}
    found = circumstances.facts("filter", leakage, {"evaluation": [held_out]})
    assert found["plugins"]["task/gsm8k (source)"] == digests.source("gsm8k")
    assert found["plugins"].keys() >= {"task/countdown (source)", "filter/decontaminate"}
    grpo = {"rewards": {}, "evaluate": {"every_steps": 1}}
    found = circumstances.facts("grpo", grpo, {"data": [rows], "held_out": [held_out]})
    assert found["parts"] == {"evaluation": digests.part("evaluation")}
    assert found["plugins"].keys() == {"task/countdown (verifier)", "task/gsm8k (verifier)"}


def test_files_from_elsewhere_that_changed_since_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, stats = Path("train.jsonl"), Path("stats.json")
    source.write_text("{}", encoding="utf-8")
    digest = provenance.sha256(source)
    stats.write_text(json.dumps({"files": {str(source): digest}}), encoding="utf-8")
    base = {"stage": "base", "code": "c", "config": {}, "files": {f"weights/{source}": digest}}
    data = {"stage": "data", "code": "c", "config": {"task": "countdown"}, "files": {}}

    def changes(content: dict, given: dict) -> list[str]:
        params = {"code": ["c", file_digests.file(str(source))] if content is data else "c"}
        return origins.code(SimpleNamespace(input=given, params=params, output=SimpleNamespace(stats=stats)), content)

    assert changes(base, {"source": [str(source)]}) == changes(data, {}) == []
    source.write_text("{} ", encoding="utf-8")
    assert changes(base, {"source": [str(source)]}) == ["from another train.jsonl"]
    assert changes(data, {})[0] == "from another train.jsonl"


def test_a_checkout_that_runs_or_holds_nothing_is_one_line(clone, capsys, tmp_path, monkeypatch):
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.input.lock").write_text("", encoding="utf-8")
    with pytest.raises(RlvrError, match="another snakemake runs in this folder"):
        adopt.run([])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["adopt"]) == 1
    assert "holds no workflow that can adopt" in capsys.readouterr().err
    monkeypatch.chdir(clone)
    shutil.rmtree(".snakemake")
    write_config(clone, {**MICRO, "seeds": "x"})
    assert "seeds" in refused() and "\n" not in refused()


def command(folder: Path, *words: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    author = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**os.environ, **author, "PATH": path}
    done = subprocess.run(
        words, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def publish(origin: Path) -> None:
    """Puts results into DVC and a commit."""
    command(origin, "dvc", "commit", "--quiet", "--force")
    command(origin, "dvc", "push", "--quiet")
    command(origin, "git", "add", "--all")
    command(origin, "git", "commit", "--quiet", "--message", "Results")


@pytest.mark.slow
def test_clones_of_today_and_of_an_old_commit_are_adopted(after_run):
    command(after_run, "git", "init", "--quiet")
    command(after_run, "dvc", "remote", "add", "--quiet", "--default", "store", str(after_run.parent / "store"))
    publish(after_run)
    write_config(after_run, {**MICRO, "report": {"samples": 2}})
    snakemake(after_run)
    publish(after_run)
    command(after_run.parent, "git", "clone", "--quiet", str(after_run), "clone")
    clone = after_run.parent / "clone"
    for checkout in ([], ["HEAD~1"], ["master"]):
        if checkout:
            command(clone, "git", "checkout", "--quiet", *checkout)
        command(clone, "dvc", "pull", "--quiet")
        assert NOTHING not in snakemake(clone, "--dry-run").stdout
        said = command(clone, sys.executable, "-m", "rlvr", "adopt")
        assert said.endswith("snakemake has nothing to do\n"), said
        assert NOTHING in snakemake(clone, "--dry-run").stdout
        assert "up to date" in command(clone, "dvc", "status")
        assert "samples: 2" in (clone / "config/config.yaml").read_text(encoding="utf-8") or checkout == ["HEAD~1"]
    reward = clone / "rlvr_plugins/rewards/format.py"
    reward.write_text(reward.read_text(encoding="utf-8").replace("1.0 if sample", "0.9 if sample"), encoding="utf-8")
    shutil.rmtree(clone / ".snakemake")
    said = command(clone, sys.executable, "-m", "rlvr", "adopt")
    assert said.count("made by other code of reward/format") == 2, (
        "the code of this checkout counts, not what is installed"
    )
