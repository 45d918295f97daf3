"""The whole workflow on a micro experiment: what it leaves, and that each stage runs by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from conftest import snakemake
from rlvr import provenance
from rlvr.cli import STAGES


@pytest.fixture(scope="module")
def report(finished: Path) -> Path:
    return finished / "results" / "micro" / "report"


def test_the_table_has_a_row_an_arm_and_the_promised_columns(report):
    table = pd.read_csv(report / "pass_at_1.csv", keep_default_na=False)
    assert list(table.columns) == [
        "arm", "variant", "seed", "task", "n", "strict", "flexible", "strict_low", "strict_high",
        "truncated", "no_answer", "cell",
    ]  # fmt: skip
    assert [*zip(table["arm"], table["variant"], table["seed"], strict=True)] == [
        ("base", "", ""),
        ("sft", "", ""),
        ("grpo", "dapo", "0"),
        ("grpo", "dr_grpo", "0"),
    ]
    assert (table["n"] == 12).all()
    assert table["strict"].between(table["strict_low"], table["strict_high"]).all()
    assert (table["strict"] <= table["flexible"]).all()


def test_the_same_table_stands_in_markdown_and_latex(report):
    lines = (report / "pass_at_1.md").read_text().splitlines()
    assert sum(line.startswith("|") for line in lines) == 6
    assert any("12 items" in line for line in lines[6:]), "what so few items can show"
    assert r"\bottomrule" in (report / "pass_at_1.tex").read_text()


def test_comparisons_seeds_and_what_moved_lie_beside_the_table(report):
    table = pd.read_csv(report / "comparisons.csv", keep_default_na=False)
    assert ("base", "grpo/dapo/seed0") in set(zip(table["from"], table["to"], strict=True))
    assert set(table["verdict"]) <= {"evidence", "none"}
    assert list(pd.read_csv(report / "seeds.csv")["deviation"]) == ["not estimable"] * 2, "one seed a variant"
    summary, index = pd.read_csv(report / "moved.csv"), (report / "index.html").read_text()
    for row in summary.itertuples(index=False):
        slug = "--".join(str(arm).replace("/", "-") for arm in row[1:3])
        assert len(pd.read_csv(report / "moved" / f"{slug}.csv")) == row.gained + row.lost
        assert f'href="moved/{slug}.html"' in index and (report / "moved" / f"{slug}.html").is_file()
    for file in [*report.glob("*.md"), *report.glob("*.tex")]:
        assert "nan" not in file.read_text().lower(), file


def test_each_reward_is_logged_by_itself_beside_the_total(finished):
    metrics = pd.read_parquet(finished / "results/micro/grpo/dapo/seed0/metrics.parquet")
    wanted = {"reward", "entropy", "grad_norm", "frac_reward_zero_std", "completions/clipped_ratio"}
    wanted |= {f"rewards/{name}/{value}" for name in ("correctness", "format") for value in ("mean", "std")}
    assert wanted <= set(metrics.columns)
    assert len(metrics) == 2


def test_the_page_names_the_rewards_of_each_variant(report):
    page = (report / "index.html").read_text()
    assert page.count("1 × correctness + 0.1 × format") == 2


def test_sampled_completions_are_kept_with_their_rewards(finished):
    rows = pd.read_parquet(finished / "results/micro/grpo/dapo/seed0/completions.parquet")
    assert len(rows) == 16
    assert {
        "step",
        "task",
        "key",
        "completion",
        "tokens",
        "strict",
        "rewards/correctness",
        "rewards/format",
        "status",
        "failures",
    } <= set(rows.columns)


def test_curves_are_drawn_for_every_training_run_in_both_formats(report):
    names = {path.name for path in (report / "curves").iterdir() if path.name != ".snakemake_timestamp"}
    runs = ("sft", "grpo-dapo-seed0", "grpo-dr_grpo-seed0")
    assert names == {f"{run}.{ending}" for run in runs for ending in ("png", "svg")}


def test_every_link_of_the_pages_leads_to_a_file(report):
    class Links(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag, attributes):
            self.found += [value for key, value in attributes if key in ("href", "src")]

    for page in (report / "index.html", *(report / "samples").glob("*.html")):
        parser = Links()
        parser.found = []
        parser.feed(page.read_text())
        assert parser.found
        for link in parser.found:
            assert (page.parent / link).is_file(), f"{page}: {link}"


def test_the_command_ends_with_the_table_and_where_it_is(after_run):
    (after_run / "results/micro/report/summary.txt").unlink()
    lines = snakemake(after_run).stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| arm"))
    assert "results/micro/report/index.html" in lines[start:]
    assert len(lines) - lines.index("results/micro/report/index.html") <= 3, "only snakemake's own closing lines follow"


def test_every_manifest_holds_and_names_its_config_versions_and_times(finished):
    manifests = [*finished.joinpath("results/micro").rglob(f"*{provenance.NAME}")]
    assert len(manifests) == 1 + 1 + 3 + 1 + 1 + 1 + 2 + 3 + 3 + 4 + 4 + 1
    for manifest in manifests:
        content = json.loads(manifest.read_text())
        assert content["files"] and content["versions"]["torch"] and content["seconds"]["work"] >= 0
        for name, digest in content["files"].items():
            assert provenance.sha256(manifest.parent / name) == digest


def test_the_export_is_16_bit_safetensors_with_tokenizer_and_a_way_to_its_card(finished):
    from safetensors import safe_open

    folder = finished / "results/micro/model/grpo/dapo/seed0/weights"
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {str(weights.get_tensor(key).dtype) for key in weights.keys()} == {"torch.bfloat16"}  # noqa: SIM118
    assert (folder / "tokenizer.json").is_file()
    assert "`report/models/grpo-dapo-seed0.md`" in (folder / "README.md").read_text()


def test_a_stage_says_in_its_log_which_device_it_took_and_why(finished):
    log = (finished / "results/micro/logs/sft.log").read_text()
    assert re.search(r"device: (cpu|cuda) \(.*\); auto: ", log)


def test_train_and_evaluation_items_are_disjoint(finished):
    data = finished / "results/micro/dataset/countdown"
    keys = {split: set(pd.read_parquet(data / f"{split}.parquet")["key"]) for split in ("train", "sft", "eval")}
    assert not keys["eval"] & (keys["train"] | keys["sft"])


def test_a_damaged_input_is_refused_by_name(after_run):
    results = after_run / "results/micro"
    weights = results / "model/sft/weights/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    output = snakemake(after_run, "--forcerun", "generate", check=False).stdout
    assert "model/sft/weights/model.safetensors is damaged" in output


def test_every_rule_is_a_shell_line_over_one_command(finished):
    text = "".join(path.read_text() for path in (finished / "workflow/rules").glob("*.smk"))
    assert set(re.findall(r'"rlvr (\w+)', text)) == set(STAGES)
    assert not re.search(r"^\s*(run|script):", text, re.MULTILINE)


def test_a_stage_runs_by_hand(finished, tmp_path):
    data = finished / "results/micro/data/countdown/raw/eval.parquet"
    completions = finished / "results/micro/eval/sft/countdown/greedy/completions.parquet"
    slice_file = tmp_path / "slice.json"
    slice_file.write_text(json.dumps({"task": "countdown"}))
    subprocess.run(
        [
            *(sys.executable, "-m", "rlvr", "score", "--config", slice_file),
            *("--data", data, "--completions", completions),
            *("--scores", tmp_path / "scores.parquet", "--manifest", tmp_path / "manifest.json"),
        ],
        check=True,
    )
    stored = completions.with_name("scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), pd.read_parquet(stored))
