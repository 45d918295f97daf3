"""Shared by all tests: no network, one thread, and copies of the checkout to work in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import HealthCheck, settings

from checkouts import ROOT, copy_checkout  # noqa: F401  the tests take both from here
from rlvr_plugins.manager import catalogue

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

MICRO = {
    "experiment": "micro",
    "base": {"model": "tiny", "tiny": {"hidden_size": 32, "layers": 1, "heads": 2, "vocabulary": 400}},
    "tasks": {"countdown": {"train": 64, "sft": 64, "eval": 12}},
    "filters": [{"duplicates": {}}, {"tokens": {"max": 500}}],
    "sft": {"trainer": {"max_steps": 3, "per_device_train_batch_size": 8, "gradient_checkpointing": False}},
    "grpo": {
        "rewards": {"correctness": 1.0, "format": 0.1},
        "trainer": {
            "max_steps": 2,
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
    result = subprocess.run(
        ["snakemake", "--cores", "1", *arguments],
        cwd=checkout,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **env},
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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout with the micro experiment as its default; nothing has run in it."""
    copied = copy_checkout(tmp_path / "checkout")
    write_config(copied, MICRO)
    return copied


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which the micro experiment has run; read only, copy it to change it."""
    copied = copy_checkout(tmp_path_factory.mktemp("finished") / "checkout")
    write_config(copied, MICRO)
    snakemake(copied)
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
