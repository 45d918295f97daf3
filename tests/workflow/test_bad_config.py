"""Bad input ends snakemake with one line, before any job, with nothing written."""

from __future__ import annotations

import pytest
import yaml

from conftest import MICRO, copy_checkout, snakemake

GOOD = yaml.safe_dump(MICRO, sort_keys=False)


@pytest.fixture(scope="module")
def shared_checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("bad") / "checkout")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace("filters:", "filter:"), "config/config.yaml: filter: unknown key; did you mean 'filters'?"),
        ("", "config/config.yaml: is empty"),
        ("experiment: [a\nb: }", "config/config.yaml, line 2"),
        (GOOD + "experiment: again\n", "key 'experiment' is given twice"),
        (GOOD.replace("countdown:", "countdow:"), "tasks.countdow: unknown task 'countdow'; did you mean 'countdown'?"),
        (GOOD + "export: {gguf: f16}\n", "export.gguf: needs convert_hf_to_gguf.py of llama.cpp"),
    ],
    ids=["typo", "empty", "not YAML", "duplicate", "unknown task", "no converter"],
)
def test_snakemake_stops_with_one_line(shared_checkout, text, expected):
    (shared_checkout / "config/config.yaml").write_text(text)
    before = sorted(shared_checkout.rglob("results/*"))
    result = snakemake(shared_checkout, check=False)
    assert result.returncode != 0
    lines = [line for line in result.stdout.splitlines() if not line.startswith("Using workflow specific profile")]
    assert len(lines) == 1 and expected in lines[0], result.stdout
    assert sorted(shared_checkout.rglob("results/*")) == before


def test_a_dvc_cache_of_links_is_refused(checkout):
    (checkout / ".dvc" / "config.local").write_text("[cache]\n    type = symlink\n")
    result = snakemake(checkout, "--dry-run", check=False)
    assert result.returncode != 0
    assert "cache.type symlink can leave a stale report; allowed: reflink, copy" in result.stdout
