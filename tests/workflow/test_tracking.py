"""Trackers get the metrics of a run, keep them through a kill, and decide nothing."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_dag import changed, planned
from test_stages import SFT, TRAINER, run_sft

from conftest import MICRO, write_config
from rlvr import availability, trackers
from rlvr.engines import checkpoints
from rlvr.errors import RlvrError


def needs(package: str):
    return pytest.mark.skipif(bool(availability.missing(package)), reason=f"{package} is not installed")


def settings(folder: Path, *asked: str) -> Path:
    file = folder / "tracking.json"
    file.write_text(json.dumps(trackers.settings({"report_to": list(asked)}, "micro", "sft")))
    return file


def test_a_run_is_named_after_the_experiment_and_the_arm_unless_told():
    assert trackers.settings({}, "x", "sft") == trackers.settings({"report_to": "none"}, "y", "z") == {"report_to": []}
    named = trackers.settings({"report_to": "wandb"}, "x", "grpo/dapo/seed0")
    assert named == {"report_to": ["wandb"], "run_name": "x/grpo/dapo/seed0", "project": "rlvr"}
    own = trackers.settings({"report_to": ["wandb"], "run_name": "r", "project": "p", "max_steps": 3}, "x", "sft")
    assert own == {"report_to": ["wandb"], "run_name": "r", "project": "p"}


def test_a_tracker_that_is_not_installed_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr(availability, "missing", lambda part: [part])
    with pytest.raises(RlvrError, match=r"trainer.report_to: wandb is not installed; allowed: `pip install wandb`"):
        run_sft(made, tmp_path, tracking=settings(tmp_path, "wandb"))
    assert not (tmp_path / "policy").exists() and not (tmp_path / "trackers").exists()


def test_asking_for_a_tracker_trains_nothing_again(after_run, tmp_path):
    site = tmp_path / "site"
    (site / "tensorboard").mkdir(parents=True)
    (site / "tensorboard" / "__init__.py").touch()
    trainer = {**MICRO["sft"]["trainer"], "report_to": "tensorboard", "run_name": "mine"}
    grpo = {**MICRO["grpo"]["trainer"], "report_to": ["tensorboard"]}
    write_config(after_run, changed(sft={"trainer": trainer}, grpo={"trainer": grpo}))
    assert planned(after_run, PYTHONPATH=str(site)) == {}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@needs("tensorboard")
def test_tensorboard_gets_every_step_also_of_a_run_that_was_killed(made, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def kill(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise Killed

    before = dict(os.environ)
    tracking = settings(tmp_path, "tensorboard")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints.Sealer, "on_step_begin", kill)
        run_sft(made, tmp_path, tracking=tracking)
    run_sft(made, tmp_path, tracking=tracking)
    assert dict(os.environ) == before
    [folder] = (tmp_path / "trackers" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    logged = {event.step: event.value for event in events.Scalars("train/loss")}
    metrics = pd.read_parquet(tmp_path / "metrics.parquet")
    assert logged == pytest.approx(dict(zip(metrics["step"], metrics["loss"], strict=True)))


@pytest.mark.slow
@needs("wandb")
def test_wandb_keeps_a_run_offline_without_the_network(made, tmp_path):
    """Half a minute, in a process of its own, whose only way out is a proxy that counts who comes."""
    (tmp_path / "slice.json").write_text(json.dumps({**SFT, "trainer": {**TRAINER, "max_steps": 2}}))
    files = {"base": made.base, "data": made.sft, "tracking": settings(tmp_path, "wandb")}
    files |= {name: tmp_path / name for name in ("policy", "metrics.parquet", "manifest.json")}
    named = [word for name, path in files.items() for word in (f"--{name.partition('.')[0]}", path)]
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        env = {**os.environ, "WANDB_MODE": "offline", "HTTPS_PROXY": address, "HTTP_PROXY": address}
        command = [sys.executable, "-m", "rlvr", "sft", "--config", tmp_path / "slice.json", *named]
        done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        proxy.settimeout(0.5)
        with pytest.raises(TimeoutError):
            proxy.accept()
    assert not (tmp_path / "wandb").exists(), "nothing in the working directory"
    [log] = (tmp_path / "trackers" / "wandb").glob("offline-run-*/run-*.wandb")
    records = list(_records(log))
    [run] = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (run.display_name, run.project) == ("micro/sft", "rlvr")
    history = [record.history for record in records if record.WhichOneof("record_type") == "history"]
    losses = [
        json.loads(item.value_json)
        for row in history
        for item in row.item
        if "train/loss" in (item.key, *item.nested_key)
    ]
    assert losses == pytest.approx(pd.read_parquet(tmp_path / "metrics.parquet")["loss"].tolist())


def _records(log: Path):
    """The records of wandb's own log: blocks of 32 KiB with pieces of a checksum, a length and a type."""
    from wandb.proto import wandb_internal_pb2

    content, at, data = log.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        data += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            data = b""
            yield record
