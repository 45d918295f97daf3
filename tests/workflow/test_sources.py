"""Items from a file: an edit is noticed even where size and time stay the same."""

from __future__ import annotations

import copy
import json
import os

from test_dag import planned

from conftest import MICRO, snakemake, write_config

TARGET = "results/micro/data/countdown/02-tokens/manifest.json"


def test_an_edit_that_keeps_size_and_time_makes_the_data_anew(checkout):
    path = checkout / "items.jsonl"
    rows = [{"nums": [n, 3, 5], "target": n + 8} for n in range(10, 90)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = copy.deepcopy(MICRO)
    config["tasks"]["countdown"] = {"eval": 12, "options": {"source": "path", "train_path": str(path)}}
    write_config(checkout, config)
    snakemake(checkout, TARGET)
    stats = json.loads((checkout / "results/micro/data/countdown/raw/stats.json").read_text())
    assert stats["rows"] == {"train": 68, "eval": 12, "sft": 68}
    assert planned(checkout, TARGET) == {}

    state = path.stat()
    os.utime(path)
    assert planned(checkout, TARGET) == {}
    path.write_text(path.read_text().replace('"target": 18', '"target": 12'))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert planned(checkout, TARGET) == {"data": 1, "base": 1, "filter": 2}
