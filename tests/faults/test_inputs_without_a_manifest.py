"""A stage run by hand knows what it read though no manifest says it: the files are hashed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rlvr import cli, provenance, tables, unfinished
from rlvr.auditing import audit
from rlvr.reporting import chain
from rlvr.stages import rollouts, sft


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_has_no_manifest_has_the_identity_that_a_manifest_would_give_it(tmp_path, kind):
    artifact = tmp_path / "artifact"
    (tmp_path / "artifact" / "inner").mkdir(parents=True) if kind == "folder" else artifact.write_text(
        "1", encoding="utf-8"
    )
    if kind == "folder":
        (artifact / "inner" / "rows").write_text("1", encoding="utf-8")
    found = provenance.verify(artifact)
    provenance.write_manifest(tmp_path / "manifest.json", [artifact], {})
    assert provenance.verify(artifact) == found
    (tmp_path / "manifest.json").unlink()
    (artifact / "inner" / "rows" if kind == "folder" else artifact).write_text("2", encoding="utf-8")
    assert provenance.verify(artifact) != found
    if kind == "folder":
        (artifact / "adapter_config.json").touch()
        assert provenance.verify(artifact) not in (found, provenance.identity_of({}))


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("changed", ["base", "rows", "sft"])
def test_a_run_by_hand_does_not_go_on_with_what_was_made_of_other_inputs(made, tmp_path, monkeypatch, changed):
    """The folder that is gone on from is another one for other inputs, in each stage that has one."""
    folders = []

    def stop(beside: Path, name: str) -> None:
        folders.append(name)
        raise Stopped

    monkeypatch.setattr(unfinished, "kept", stop)
    base = shutil.copytree(made.base, tmp_path / "base")
    policy = shutil.copytree(made.base, tmp_path / "policy")
    rows = shutil.copy(made.sft, tmp_path / "rows.parquet")
    given = {"base": base, "sft": policy, "rows": rows}

    def keys() -> list[str]:
        folders.clear()
        out = tmp_path / "out"
        warm = {"base": base, "start": policy, "data": [Path(rows)]}
        sampling = {"device": "cpu", "engine": "transformers", "seed": 0}
        runs = [
            lambda: rollouts.run(sampling, base=base, sft=policy, rows=Path(rows), rollouts=out / "r"),
            lambda: sft.run(made.cut["sft"], **warm, policy=out / "p", metrics=out / "m"),
            lambda: grpo_keys(made, base, policy, Path(rows), out),
        ]
        for run in runs:
            with pytest.raises(Stopped):
                run()
        return list(folders)

    before = keys()
    assert keys() == before
    if changed == "rows":
        content = tables.read(Path(rows))
        tables.write(Path(rows), content[::-1], tables.DEMONSTRATION)
    else:
        (Path(given[changed]) / "more.json").write_text("{}", encoding="utf-8")
    assert not {*before} & {*keys()}


def grpo_keys(made, base: Path, policy: Path, rows: Path, out: Path) -> None:
    from rlvr.stages import grpo

    outputs = {name: out / name for name in ("policy", "metrics", "completions", "evaluated")}
    grpo.run(made.cut["grpo/dapo/seed0"], base=base, sft=policy, data=[rows], **outputs)


def test_the_manifest_records_what_a_stage_by_hand_was_given_and_the_audit_holds_it_against_that(made, tmp_path):
    results, data = tmp_path / "results" / "hand", Path(shutil.copy(made.eval, tmp_path / "eval.parquet"))
    answers = [
        {"key": row["key"], "prompt": row["prompt"], "completion": "", "tokens": 1, "finish": "stop", "logprobs": [0.0]}
        for row in tables.read(data)
    ]
    tables.write(tmp_path / "completions.parquet", answers, tables.ANSWER)
    (tmp_path / "slice.json").write_text(json.dumps({"task": "countdown"}), encoding="utf-8")
    arguments = ["score", "--config", tmp_path / "slice.json", "--data", data]
    arguments += ["--completions", tmp_path / "completions.parquet", "--scores", results / "scores.parquet"]
    assert cli.main([*map(str, arguments), "--manifest", str(results / "scores.manifest.json")]) == 0
    recorded = json.loads((results / "scores.manifest.json").read_text(encoding="utf-8"))["inputs"]
    assert recorded[str(data)] == provenance.contents(data)
    found = chain.Chain(results).artifact("scores.manifest.json").inputs
    assert {each.state for each in found} == {chain.SAME}
    tables.write(data, tables.read(data)[::-1], tables.ITEM)
    assert any(f"made from another version of {data}" in line for line in audit.of(results).problems)


@pytest.mark.parametrize("stage", ["report", "sft", "grpo", "memory"])
def test_settings_are_not_hashed(tmp_path, stage):
    """Config slices change no result there, and a folder with all artifacts is verified one by one."""
    (tmp_path / "slice.json").write_text("{}", encoding="utf-8")
    settings = cli.STAGES[stage].settings
    values = {name: [tmp_path / "slice.json"] for name in settings}
    only = cli.Stage("", tuple(f"{name}*" for name in settings), (), settings)
    assert cli._verify_inputs(only, values) == {str(tmp_path / "slice.json"): None}
    with pytest.raises(cli.RlvrError, match="is not there"):
        cli._verify_inputs(only, {name: [tmp_path / "none"] for name in settings})
