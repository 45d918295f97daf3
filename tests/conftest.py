"""Shared by all tests: no network, one thread, and copies of the checkout to work in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import HealthCheck, settings

from checkouts import ROOT, copy_checkout
from rlvr_plugins.manager import catalogue
from stage_server import client as stage_server_client

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

STAGES = "RLVR_TEST_STAGES"
"""Names the folder of the stage server, where one is to be asked."""
MICRO = {
    "experiment": "micro",
    "base": {"model": "tiny", "tiny": {"hidden_size": 32, "layers": 1, "heads": 2, "vocabulary": 400}},
    "tasks": {"countdown": {"train": 64, "sft": 64, "eval": 12}},
    "filters": [{"duplicates": {}}, {"tokens": {"max": 500}}],
    "sft": {
        "trainer": {"max_steps": 3, "save_steps": 1, "per_device_train_batch_size": 8, "gradient_checkpointing": False}
    },
    "grpo": {
        "rewards": {"correctness": 1.0, "format": 0.1},
        "trainer": {
            "max_steps": 2,
            "save_steps": 1,
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": 8,
            "gradient_checkpointing": False,
        },
        "variants": {"dapo": {}, "dr_grpo": {"trainer": {"loss_type": "dr_grpo"}}},
    },
    "gate": {"mode": "off"},  # 5 seconds a model, nearly all of them imports; tests/workflow/test_gate.py has it on
    "evaluation": {"max_completion_tokens": 8, "batch_size": 4},
}


def write_config(checkout: Path, config: dict) -> None:
    (checkout / "config" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def snakemake(checkout: Path, *arguments: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
    """Runs snakemake in a checkout as a user would; standard error joins standard output."""
    path = [env.get(STAGES) or os.environ.get(STAGES), str(Path(sys.executable).parent), os.environ["PATH"]]
    result = subprocess.run(
        ["snakemake", "--cores", "1", *arguments],
        cwd=checkout,
        env={**os.environ, "PATH": os.pathsep.join(filter(None, path)), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if check:
        assert result.returncode == 0, result.stdout
    return result


def distribution(folder: Path, module: str, name: str = "stranger", version: str = "1.2") -> Path:
    """Puts a package with one plugin module into a folder, as pip would have left it there."""
    (folder / f"{name}_plugin.py").write_text(module)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[rlvr]\nx = {name}_plugin\n")
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs a plugin module for this process and its workers."""

    def install(module: str) -> None:
        monkeypatch.syspath_prepend(str(distribution(tmp_path, module)))
        catalogue.cache_clear()

    yield install
    catalogue.cache_clear()
    sys.modules.pop("stranger_plugin", None)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A tiny base model, and Countdown rows after the two filters of the micro experiment."""
    from rlvr import config, slices
    from rlvr.stages import base, data, filter

    folder = tmp_path_factory.mktemp("made")
    file = folder / "experiment.yaml"
    file.write_text(json.dumps(MICRO))
    cut = slices.of(config.load([file]))

    def files(name: str, *kinds: str) -> dict[str, Path]:
        (folder / name).mkdir()
        return {kind: folder / name / f"{kind}.parquet" for kind in kinds}

    raw = files("raw", "train", "eval", "sft", "stats")
    data.run(cut["data/countdown"], **raw)
    weights = folder / "base" / "weights"
    base.run(cut["base"], data=[raw["sft"]], weights=weights)
    rows = raw
    for step in ("01-duplicates", "02-tokens"):
        out = files(step, "train", "sft", "dropped", "stats")
        slice_ = cut[f"filter/countdown/{step}"]
        filter.run(slice_, base=weights, from_train=rows["train"], from_sft=rows["sft"], **out)
        rows = out
    return SimpleNamespace(base=weights, train=rows["train"], sft=rows["sft"], eval=raw["eval"], raw=raw, cut=cut)


@pytest.fixture(scope="session")
def stage_server() -> Iterator[Path]:
    """A folder with an `rlvr` whose stages do not import torch and its kin anew; for the PATH of snakemake."""
    folder = Path(tempfile.mkdtemp(prefix="rlvr-"))  # short: the name of a socket has at most 107 bytes
    address = folder / "socket"
    source = os.pathsep.join([str(ROOT / "workflow"), str(ROOT)])
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("stage_server.py"), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": source, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
    )
    while not address.exists():
        assert server.poll() is None
        time.sleep(0.05)
    stage_server_client(folder, address)
    yield folder
    server.stdin.close()
    server.wait(60)
    shutil.rmtree(folder)


@pytest.fixture
def preloaded(stage_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has snakemake run this checkout's stages by the stage server: not for what edits code, kills or measures."""
    monkeypatch.setenv(STAGES, str(stage_server))


def run_grpo(made: SimpleNamespace, folder: Path, **changes) -> dict[str, Path]:
    """Trains the micro experiment's first variant, with options of `trainer` laid over its own; its outputs by name."""
    from rlvr.stages import grpo

    cut = made.cut["grpo/dapo/seed0"]
    changes["trainer"] = cut["trainer"] | changes.get("trainer", {})
    outputs = {name: folder / name for name in ("policy", "metrics", "completions", "evaluated")}
    grpo.run(cut | changes, base=made.base, data=[made.train], held_out=[made.eval], **outputs)
    return outputs


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout with the micro experiment as its default; nothing has run in it."""
    copied = copy_checkout(tmp_path / "checkout")
    write_config(copied, MICRO)
    return copied


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, stage_server: Path) -> Path:
    """A copy in which the micro experiment has run; read only, copy it to change it."""
    copied = copy_checkout(tmp_path_factory.mktemp("finished") / "checkout")
    write_config(copied, MICRO)
    snakemake(copied, **{STAGES: str(stage_server)})
    return copied


@pytest.fixture
def after_run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished checkout that a test may change; times are kept."""
    return Path(shutil.copytree(finished, tmp_path / "after", symlinks=True))


def pytest_configure(config: pytest.Config) -> None:
    """Keeps a GPU from the tests that are not about one: a driver too old for torch would stop every stage."""
    if "not unsloth" in config.option.markexpr:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes ten minutes goes first, so that the other worker has all the rest to do beside it."""
    items.sort(key=lambda item: "default" not in getattr(item, "fixturenames", ()))
