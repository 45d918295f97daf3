"""Names of source files and model folders that mean something to Snakemake or to a shell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from conftest import MICRO, copy_checkout, snakemake
from rlvr import config
from rlvr.errors import RlvrError

ROW = {"question": "What is 1 + 1?", "answer": "#### 2"}
REFUSED = ["a{b}.jsonl", "a{.jsonl", "a}.jsonl", "a<b>.jsonl", "a<.jsonl", "a>.jsonl", "a\nb.jsonl", "a\x1b[1m.jsonl"]
REFUSED += [" a.jsonl", "a\tb.jsonl", "{{a}}.jsonl"]
TAKEN = 'it\'s a "quoted" *?[x]$HOME;&|`#%\\ä=,(1).jsonl'


def experiment(source: Path, base: object = MICRO["base"]) -> dict:
    options = {"source": "path", "train_path": str(source), "eval_path": str(source)}
    task = {"train": 8, "sft": 8, "eval": 8, "options": options}
    return {**MICRO, "base": base, "tasks": {"gsm8k": task}, "leakage": None}


def rows(file: Path) -> Path:
    file.write_text(
        "".join(f"{json.dumps({**ROW, 'question': f'What is {n} + 1?'})}\n" for n in range(20)), encoding="utf-8"
    )
    return file


@pytest.mark.parametrize("name", REFUSED)
def test_a_source_that_snakemake_would_misread_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(experiment(rows(Path(name)))), encoding="utf-8")
    with pytest.raises(RlvrError) as raised:
        config.read([file])
    assert str(raised.value).startswith(f"{file}: tasks.gsm8k.options.train_path: ")
    assert "allowed: a name without { } < >" in str(raised.value)
    assert "\n" not in str(raised.value) and "\x1b" not in str(raised.value)


def test_a_base_folder_that_snakemake_would_misread_is_refused(made, tmp_path):
    source = rows(tmp_path / "a.jsonl")
    file = tmp_path / "x.yaml"
    for folder, extra in (("m{x}", "notes.txt"), ("m", "notes <1>.txt")):
        shutil.copytree(made.base, tmp_path / folder)
        (tmp_path / folder / extra).touch()
        file.write_text(yaml.safe_dump(experiment(source, str(tmp_path / folder))), encoding="utf-8")
        with pytest.raises(RlvrError, match=r"x\.yaml: base\.model: .* allowed: a name without \{ \} < >"):
            config.read([file])


@pytest.mark.slow
def test_blanks_quotes_and_what_a_shell_acts_on_are_taken(tmp_path):
    checkout = copy_checkout(tmp_path / "checkout")
    (checkout / "config/config.yaml").write_text(yaml.safe_dump(experiment(rows(tmp_path / TAKEN))), encoding="utf-8")
    snakemake(checkout, "results/micro/data/gsm8k/raw/manifest.json", HOME="/nowhere")
    made = json.loads((checkout / "results/micro/data/gsm8k/raw/manifest.json").read_text(encoding="utf-8"))
    assert made["files"]["train.parquet"]
