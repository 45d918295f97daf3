"""Lineage and audit: what made a cell, and whatever does not hold is named."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import MICRO, write_config
from rlvr import cli, provenance, tables
from rlvr.auditing import audit, rescore, rows
from rlvr.errors import RlvrError
from rlvr.reporting import chain, lineage, page
from rlvr_plugins import parquet

CELL = "grpo/dapo/seed0/countdown/greedy"
PLACE = f"eval/{CELL}"


@pytest.fixture(scope="module")
def copied(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited") / "results" / "micro"
    return Path(shutil.copytree(finished / "results" / "micro", folder))


@pytest.fixture
def results(copied: Path):
    """The results of the micro run; what a test changes in `eval` and `report` is put back."""
    kept = {path: path.read_bytes() for part in ("eval", "report") for path in (copied / part).rglob("*.*")}
    yield copied
    for path, content in kept.items():
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    for part in ("eval", "report"):
        for path in (copied / part).rglob("*.*"):
            if path not in kept:
                path.unlink()


@pytest.fixture
def in_checkout(tmp_path, monkeypatch) -> Path:
    """A folder with the config of the micro run, from where commands are given."""
    (tmp_path / "config").mkdir()
    write_config(tmp_path, MICRO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(folder: Path) -> list[str]:
    return audit.of(folder).problems


def sealed(manifest: Path, change: Callable[[dict], None] | None = None) -> None:
    """Writes a manifest anew for the files as they are, as if nothing had been edited."""
    content = json.loads(manifest.read_text())
    if change:
        change(content)
    files = [manifest.parent / name for name in content.pop("files")]
    content.pop(provenance.OWN)
    provenance.write_manifest(manifest, files, content)


def test_the_finished_run_holds_and_to_know_it_takes_neither_model_nor_torch(results):
    script = (
        "import sys; from rlvr.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'torch' in sys.modules or 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", script, "audit", results]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = audit.of(results)
    assert found.problems == [] and found.notes == []
    assert found.counts["completions"] == 4 * 12
    assert found.counts["manifests"] == len(list(results.rglob("*manifest.json")))
    assert found.counts["numbers"] > 100
    assert shown == f"{results}: {found.summary()}\n"


def test_a_run_that_does_not_hold_ends_with_status_1(results, capsys):
    (results / "report/metrics.json").write_text("{}")
    assert cli.main(["audit", str(results)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"{results}/report/metrics.json: is not what manifest.json says")
    assert shown[-1].startswith(f"{results}: 2 problems in ")


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 1.0])
def test_one_changed_byte_anywhere_in_the_completions_is_named(results, place):
    file = results / PLACE / "completions.parquet"
    content = bytearray(file.read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    file.write_bytes(content)
    named = [line for line in problems(results) if line.startswith(str(file))]
    assert any("is not what manifest.json says" in line for line in named)


def test_no_changed_byte_is_too_strange_to_be_told(results, tmp_path):
    content = (results / PLACE / "completions.parquet").read_bytes()
    scores = tables.read(results / PLACE / "scores.parquet")
    file, told = tmp_path / "c.parquet", 0
    for place in range(0, len(content), 23):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :])
        told += bool(parquet.unreadable(file))
        with contextlib.suppress(*parquet.UNREADABLE):
            rows.changed(rows.table(file, rows.ANSWER), scores)
    assert told > 50


def test_a_page_is_escaped():
    assert "&lt;b&gt;" in page.render("cell", title="x", text="<b>")


def test_a_damaged_page_is_named_by_column_and_rows(results):
    file = results / PLACE / "completions.parquet"
    chunk = pq.read_metadata(file).row_group(0).column(0)
    content = bytearray(file.read_bytes())
    content[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 1] ^= 1
    file.write_bytes(content)
    assert any(f"{file}: column 'key' can't be read in row group 1, rows 1 to 12" in line for line in problems(results))


def test_a_truncated_file_is_named(results):
    file = results / PLACE / "completions.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    assert any(
        line.startswith(f"{file}: can't be read at all, so that no row can be named") for line in problems(results)
    )


def test_an_edited_completion_is_named_by_its_row(results):
    file = results / PLACE / "completions.parquet"
    answers = tables.read(file)
    answers[4]["completion"] += " "
    tables.write(file, answers, tables.ANSWER)
    line = f"{file}: row 5 (key {answers[4]['key']!r}) is not the answer that was judged"
    assert line in problems(results)
    sealed(file.with_name("manifest.json"))
    found = problems(results)
    assert line in found
    assert any(f"{PLACE}/scores.manifest.json: made from another version of {PLACE}/completions" in x for x in found)


def test_a_removed_row_is_named_though_the_manifest_was_written_anew(results):
    file = results / PLACE / "completions.parquet"
    answers = tables.read(file)
    del answers[7]
    tables.write(file, answers, tables.ANSWER)
    sealed(file.with_name("manifest.json"))
    assert f"{file}: from row 8 on: 11 rows, but 12 were judged" in problems(results)


def edit_score(results: Path) -> Path:
    file = results / PLACE / "scores.parquet"
    answers = tables.read(file)
    answers[2] |= {"strict": not answers[2]["strict"]}
    tables.write(file, answers, tables.SCORE)
    sealed(file.with_name("scores.manifest.json"))
    return file


def test_an_edited_score_is_named_though_the_manifest_was_written_anew(results):
    file = edit_score(results)
    found = problems(results)
    assert any(
        line.startswith(f"{file}: row 3 (key ") and "strict: holds True, judged again False" in line for line in found
    )
    assert any(
        line.startswith(f"{results}/report/pass_at_1.csv, line ") and "column 'strict'" in line for line in found
    )


def test_scores_of_another_verifier_are_told_from_edited_ones(results):
    file = edit_score(results)
    sealed(
        file.with_name("scores.manifest.json"),
        lambda content: content["plugins"].update({"task/countdown (verifier)": "0123456789abcdef"}),
    )
    [line] = [line for line in problems(results) if line.startswith(str(file))]
    assert "judged by another version of the verifier (task/countdown: 0123456789ab, now" in line
    assert line.endswith("1 of 12 rows would now be judged otherwise; rlvr rescore")


@pytest.mark.parametrize("name", ["pass_at_1.csv", "pass_at_1.md", "index.html", f"cells/{lineage.slug(CELL)}.html"])
def test_an_edited_number_of_the_report_is_named_whether_or_not_the_manifest_was_written_anew(results, name):
    file = results / "report" / name
    text = file.read_text()
    assert "12" in text
    file.write_text(text.replace("12", "13", 1))
    assert any(line.startswith(f"{file}: is not what manifest.json says") for line in problems(results))
    sealed(results / "report" / "manifest.json")
    [line] = problems(results)
    assert line.startswith(f"{file}, line ") and "13" in line and "written again" in line


@pytest.mark.parametrize("name", ["pass_at_1.md", "index.html"])
def test_a_report_of_another_version_fails_only_where_its_tables_differ(results, name):
    file = results / "report" / name
    file.write_text(file.read_text().replace("12", "13", 1))
    sealed(results / "report" / "manifest.json", lambda content: content.update(code="0123456789abcdef"))
    found = audit.of(results)
    [line] = found.problems if name.endswith("md") else found.notes
    assert "written by another version of the report (0123456789abcdef, now " in line
    assert bool(found.problems) == name.endswith("md")


def test_an_edited_manifest_is_named(results):
    manifest = results / PLACE / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"stage": "generate"', '"stage": "generated"'))
    assert f"{manifest}: was edited: its digest is not that of what it says" in problems(results)
    manifest.write_text("{")
    found = problems(results)
    assert any(line.startswith(f"{manifest}: ") for line in found)
    assert any(line.endswith("and the report was made from it") for line in found)


def test_all_that_is_wrong_is_named_at_once(results):
    (results / PLACE / "completions.parquet").unlink()
    (results / "report" / "metrics.json").write_text("{}")
    base = results / "eval/base/countdown/greedy/manifest.json"
    base.write_text(base.read_text().replace("generate", "x"))
    found = "\n".join(problems(results))
    for name in (f"{PLACE}/completions.parquet: is missing", "report/metrics.json: is not", f"{base}: was edited"):
        assert name in found


def test_a_file_that_the_report_would_not_hold_is_named(results):
    (results / "report/more.csv").write_text("arm,strict\nbase,0.999\n")
    assert f"{results}/report/more.csv: is no file of the report" in problems(results)


def test_a_manifest_that_lost_its_own_digest_is_named(results):
    manifest = results / PLACE / "manifest.json"
    content = json.loads(manifest.read_text())
    del content[provenance.OWN]
    manifest.write_text(json.dumps({**content, "seeds": {"seed": 7}}))
    assert f"{manifest}: was edited: its digest is not that of what it says" in problems(results)


def test_a_summary_with_another_table_is_named_though_a_job_was_done_again(results):
    sealed(results / PLACE / "manifest.json", lambda content: content.update(finished="2030-01-01T00:00:00+00:00"))
    summary = results / "report/summary.txt"
    summary.write_text(summary.read_text().replace("| base ", "| best ", 1))
    sealed(results / "report/manifest.json")
    assert any(line.startswith(f"{summary}, line ") for line in problems(results))


def test_a_job_done_again_with_the_same_result_is_no_fault(results):
    sealed(results / PLACE / "manifest.json", lambda content: content.update(finished="2030-01-01T00:00:00+00:00"))
    found = audit.of(results)
    assert found.problems == []
    assert found.notes == [
        f"report: made before {PLACE}/manifest.json was, from the same content; times it shows are older"
    ]


def test_lineage_goes_from_the_scores_back_to_the_data_and_says_how_to_make_them_again(results, capsys, in_checkout):
    assert cli.main(["lineage", CELL.removesuffix("/greedy"), "--results", str(results), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    stages = [artifact["stage"] for artifact in found["artifacts"]]
    assert stages[:4] == ["score", "generate", "export", "grpo"] and stages[-1] == "data"
    assert found["rebuild"] == f"snakemake --cores 1 results/micro/{PLACE}/scores.parquet" and not found["notes"]
    by_stage = {artifact["stage"]: artifact for artifact in found["artifacts"]}
    assert set(by_stage["grpo"]["plugins"]) == {"reward/correctness", "reward/format", "task/countdown (verifier)"}
    assert by_stage["grpo"]["seeds"] == {"seed": 0} and by_stage["grpo"]["flags"]["torch.threads"] == 1
    assert by_stage["grpo"]["flags"]["PYTHONHASHSEED"] == "0"
    assert by_stage["score"]["plugins"].keys() == {"task/countdown (verifier)"}
    assert not any(name.startswith("torch") for name in by_stage["score"]["flags"])
    assert all(artifact["code"] and artifact["machine"] for artifact in found["artifacts"])
    assert all(
        given["state"] == chain.SAME for one in found["artifacts"] for given in one["inputs"] if given["recorded"]
    )
    page = (results / "report/cells" / f"{lineage.slug(CELL)}.html").read_text()
    for artifact in found["artifacts"]:
        assert artifact["manifest"] in page and artifact["code"] in page
    assert f'href="cells/{lineage.slug(CELL)}.html"' in (results / "report/index.html").read_text()


def test_lineage_says_where_the_config_files_have_changed(results, capsys, in_checkout):
    write_config(in_checkout, {**MICRO, "sft": {"trainer": {**MICRO["sft"]["trainer"], "learning_rate": 1e-4}}})
    assert cli.main(["lineage", CELL, "--results", str(results)]) == 0
    assert capsys.readouterr().out.endswith("Note: the config files would now ask otherwise of: sft.\n")


def test_lineage_marks_what_was_made_from_another_version(results):
    file = results / PLACE / "completions.parquet"
    tables.write(file, tables.read(file)[:-1], tables.ANSWER)
    sealed(file.with_name("manifest.json"))
    shown = lineage.text(chain.Chain(results).of(CELL), CELL, "micro")
    assert "  ! made from another version: there now " in shown


def test_a_cell_that_is_not_there_is_refused_with_those_that_are(results, capsys):
    assert cli.main(["lineage", "grpo/other/seed0/countdown", "--results", str(results)]) == 1
    said = capsys.readouterr().err
    assert "grpo/other/seed0/countdown: no such cell" in said and "allowed: base/countdown/greedy, grpo/dapo" in said


def test_the_command_that_makes_a_cell_again_names_config_files_and_overrides(results):
    head, *rest = chain.Chain(results).of(CELL)
    asked = {"configfiles": ["my config.yaml", "b.yaml"], "config": {"seeds": [0, 1], "device": "cpu"}}
    asked["revisions"] = {"models/acme/Tiny@main": "a" * 40}
    other = chain.Artifact(head.path, {**head.content, "asked": asked, "threads": "2"}, head.made, head.inputs)
    command, notes = lineage.rebuild([other, *rest], "micro")
    assert command == (
        f"snakemake --cores 2 results/micro/{PLACE}/scores.parquet --configfile 'my config.yaml' b.yaml "
        "--config 'seeds=[0, 1]' device=cpu"
    )
    assert notes[0] == "an override (--config) was laid over the config files" and "other config files" in notes[2]
    assert notes[1] == f"models/acme/Tiny@main was locked to {'a' * 40}"


def test_rescoring_without_completions_says_so(finished, tmp_path, monkeypatch):
    shutil.copytree(finished / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RlvrError, match=r"base/countdown/greedy/completions\.parquet: is missing \(4 of 4 are\)"):
        rescore.run([], [], 1)


@pytest.mark.slow
def test_rescoring_judges_and_reports_and_does_nothing_else(after_run):
    from test_dag import edit, planned

    results = after_run / "results/micro"

    def rescored() -> dict[str, str]:
        """The artifacts that a rescore made anew."""
        before = finished_at()
        made = subprocess.run([sys.executable, "-m", "rlvr", "rescore"], cwd=after_run, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        return {name: content for name, content in finished_at().items() if before[name] != content}

    def finished_at() -> dict[str, str]:
        return {str(path.relative_to(results)): path.read_text() for path in results.rglob("*manifest.json")}

    cells = [path.parent for path in results.glob("eval/**/completions.parquet")]
    expected = {*(f"{cell.relative_to(results)}/scores.manifest.json" for cell in cells), "report/manifest.json"}
    assert rescored().keys() == expected
    assert planned(after_run) == {}
    assert audit.of(results).problems == []

    edit(after_run / "rlvr_plugins/verifiers/expressions.py", "MAX_CHARACTERS = 200", "MAX_CHARACTERS = 199")
    scores = f"{PLACE}/scores.manifest.json"
    verifier = json.loads(finished_at()[scores])["plugins"]
    made = rescored()
    assert made.keys() == expected
    assert json.loads(made[scores])["plugins"] != verifier
    plan = planned(after_run)
    assert plan["grpo"] == 2 and "sft" not in plan, "the reward asks the verifier"
