"""The `rlvr` command: one subcommand a stage, and a few for people."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlvr import (
    attempt_logs,
    circumstances,
    console,
    gpu_lock,
    interrupts,
    nvidia,
    plugin_commands,
    protocol,
    protocol_lock,
    provenance,
    revisions,
    signatures,
    slice_files,
    supervision,
    unfinished,
    utf8,
)
from rlvr.adopting import command as adopting
from rlvr.auditing import command as auditing
from rlvr.doctor import command as doctor
from rlvr.errors import RlvrError
from rlvr.memory import command as preflight
from rlvr.memory import oom
from rlvr_plugins.manager import PluginError


@dataclass(frozen=True)
class Stage:
    """The named files of a stage; at the end of a name + is one or more paths, * any number, ? one or none.

    settings: inputs of which the manifest records no digest, because they change no result or have manifests inside.
    gpu: it uses a GPU where its config does not say `cpu`; its rules ask for one.
    """

    help: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: tuple[str, ...] = ()
    gpu: bool = False


MARKS = "+*?"
STAGES = {
    "data": Stage("make or load a task's items", (), ("train", "eval", "sft", "stats")),
    "base": Stage("make or fetch the base model", ("data+",), ("weights",)),
    "filter": Stage(
        "pass training and SFT rows through one filter",
        ("base?", "evaluation*", "from_train", "from_sft"),
        ("train", "sft", "dropped", "stats"),
    ),
    "rollouts": Stage(
        "sample completions of the model that GRPO starts from", ("base", "sft?", "rows"), ("rollouts",), gpu=True
    ),
    "select": Stage(
        "keep training rows by their sampled completions",
        ("rows", "rollouts"),
        ("train", "dropped", "rates", "stats"),
    ),
    "dataset": Stage(
        "gather a task's rows with their records and a data card",
        (
            *("base", "pool*", "raw_train", "raw_sft", "raw_stats", "from_train", "from_sft", "from_eval"),
            *("step_stats*", "step_dropped*", "rates?"),
        ),
        ("train", "sft", "eval", "card", "stats", "dropped", "figures"),
    ),
    "memory": Stage(
        "check that rows and training will fit, as `rlvr preflight` does for people",
        ("base", "train*", "sft*", "held_out*", "slices*", "work?", "prompts?"),
        ("estimate", "probe", "passed"),
        settings=("slices", "work", "prompts"),
        gpu=True,
    ),
    "sft": Stage(
        "SFT warm-start",
        ("base", "start?", "data+", "tracking?"),
        ("policy", "metrics"),
        settings=("tracking",),
        gpu=True,
    ),
    "grpo": Stage(
        "GRPO",
        ("base", "sft?", "data+", "held_out*", "tracking?"),
        ("policy", "metrics", "completions", "evaluated"),
        settings=("tracking",),
        gpu=True,
    ),
    "export": Stage("merge into a 16-bit model", ("base", "policy"), ("weights",)),
    "gate": Stage(
        "hold a merged model against its policy", ("base", "policy", "weights", "data+"), ("measures",), gpu=True
    ),
    "gguf": Stage("convert a merged model for llama.cpp", ("model",), ("file",)),
    "generate": Stage("answer held-out items", ("model", "data"), ("completions",), gpu=True),
    "score": Stage("judge answers", ("data", "completions"), ("scores",)),
    "relabel": Stage("judge answers by another task's labels", ("data", "second", "completions"), ("scores",)),
    "repeat": Stage("answer some items once more", ("model", "data", "completions"), ("measured",), gpu=True),
    "lm_eval": Stage(
        "have lm-eval answer and judge", ("model", "data", "completions"), ("figures", "samples"), gpu=True
    ),
    "report": Stage("write the tables", ("results",), ("report",), settings=("results",)),
}


def main(arguments: list[str] | None = None) -> int:
    if arguments is None:
        utf8.ensure()
    parsed = _parser().parse_args(arguments)
    if arguments is None:
        return supervision.run(partial(_run, parsed), parsed.command)
    return _run(parsed)


def _run(parsed: argparse.Namespace) -> int:
    try:
        return parsed.run(parsed) or 0
    except (RlvrError, PluginError) as error:
        print(f"rlvr {parsed.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `rlvr plugins | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlvr", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, stage in STAGES.items():
        command = commands.add_parser(name, help=stage.help)
        command.add_argument("--config", type=Path, required=True, help="the stage's config slice, JSON")
        for item in (*stage.inputs, *stage.outputs):
            key = item.rstrip(MARKS)
            command.add_argument(
                f"--{key.replace('_', '-')}",
                type=Path,
                required=not item.endswith(("?", "*")),
                nargs=item[-1] if item.endswith(("+", "*")) else None,
                help="output" if item in stage.outputs else "input",
            )
        command.add_argument("--manifest", type=Path, required=True, help="output, written last")
        command.add_argument("--log", type=Path, help="where all but the progress goes")
        command.set_defaults(run=_run_stage)
    _add_slice(commands)
    plugin_commands.add_to(commands)
    doctor.add_to(commands)
    preflight.add_to(commands)
    revisions.add_to(commands)
    auditing.add_to(commands)
    adopting.add_to(commands)
    _add_schema(commands)
    return parser


def _run_stage(arguments: argparse.Namespace) -> int:
    interrupts.end_stage()
    name = arguments.command
    if "OMP_NUM_THREADS" in os.environ:  # set by snakemake; the tokenizers would take every core
        os.environ.setdefault("RAYON_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
    with console.quiet(arguments.log) as log:
        where = f"; log: {log}" if log else ""
        if log:
            earlier = attempt_logs.earlier(arguments.log, log)
            console.say(f"{name}: {arguments.manifest.parent}" + (f"; the log before: {earlier}" if earlier else ""))
        try:
            _take_gpu(name, arguments)
            _execute(name, arguments)
        except (RlvrError, PluginError) as error:
            console.say(f"rlvr {name}: {error}")
        except KeyboardInterrupt:
            console.say(f"rlvr {name}: interrupted; run the same command to go on")
            return 130
        except Exception as error:
            traceback.clear_frames(error.__traceback__)  # tensors, where memory ran out
            traceback.print_exc()
            first = (str(error).splitlines() or [""])[0]
            known = oom.line(error, name, slice_files.read(arguments.config, name))
            console.say(f"rlvr {name}: {known or f'{type(error).__name__}: {first}'}{where}")
        else:
            if log:
                attempt_logs.succeeded(arguments.log, log)
            return 0
    return 1


def _take_gpu(name: str, arguments: argparse.Namespace) -> None:
    """Before anything can use CUDA: one GPU is left to this process, by itself where the stage uses it."""
    if STAGES[name].gpu and slice_files.read(arguments.config, name).get("device") != "cpu":
        gpu_lock.take(name, arguments.manifest.parent)
    nvidia.use_one()


def _execute(name: str, arguments: argparse.Namespace) -> None:
    stage = STAGES[name]
    values = {
        key: getattr(arguments, key)
        for item in (*stage.inputs, *stage.outputs)
        if getattr(arguments, key := item.rstrip(MARKS)) is not None
    }
    config = slice_files.read(arguments.config, name)
    for output in stage.outputs:
        if provenance.below(arguments.manifest.parent, values[output]) is None:
            raise RlvrError(f"--manifest: must lie in a folder above --{output} ({values[output]})")
    if signatures.wanted():
        signatures.require_key()
    inputs = _verify_inputs(stage, values)
    inherited = protocol_lock.passed_on(map(Path, inputs))
    for output in stage.outputs:
        values[output].parent.mkdir(parents=True, exist_ok=True)
    module = importlib.import_module(f"rlvr.stages.{name}")
    ready = time.time()
    with unfinished.until_finished():
        more = module.run(config, **values) or {}
        done = time.time()
        provenance.write_manifest(
            arguments.manifest,
            [values[output] for output in stage.outputs],
            {
                **provenance.facts(name, config),
                **circumstances.facts(name, config, values),
                "given": _given(stage, values),
                "inputs": inputs,
                "protocol": protocol.facts(inherited),
                "seconds": {"start": round(ready - _process_start(), 2), "work": round(done - ready, 2)},
                **more,
            },
        )


def _verify_inputs(stage: Stage, values: dict) -> dict[str, str | None]:
    """What each input holds, by its path; None of a setting."""
    found = {}
    for item in stage.inputs:
        name = item.rstrip(MARKS)
        value = values.get(name, [])
        for path in value if isinstance(value, list) else [value]:
            if name not in stage.settings:
                found[str(path)] = provenance.verify(path)
            elif path.exists():
                found[str(path)] = None
            else:
                raise RlvrError(f"{path}: is not there")
    return found


def _given(stage: Stage, values: dict) -> dict[str, str | list[str]]:
    """The paths of a stage's inputs by their names, as it was called."""
    named = {item.rstrip(MARKS): values.get(item.rstrip(MARKS)) for item in stage.inputs}
    return {
        name: list(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in named.items()
        if value is not None
    }


def _process_start() -> float:
    import psutil

    return psutil.Process(os.getpid()).create_time()


def _add_slice(commands) -> None:
    command = commands.add_parser("slice", help="print the config slice of a stage, or list the slices")
    command.add_argument("name", nargs="?", help="such as sft or grpo/dapo/seed0")
    command.add_argument("--configfile", type=Path, nargs="+", default=[Path("config/config.yaml")])
    command.set_defaults(run=_slice)


def _slice(arguments: argparse.Namespace) -> None:
    from rlvr import config, slices

    cut = slices.of(config.load(arguments.configfile))
    if arguments.name is None:
        print("\n".join(sorted(cut)))
        return
    if arguments.name not in cut:
        raise RlvrError(f"no slice {arguments.name!r}; allowed: {', '.join(sorted(cut))}")
    print(json.dumps(cut[arguments.name], indent=1))


def _add_schema(commands) -> None:
    command = commands.add_parser("schema", help="write the files generated from the config models")
    command.set_defaults(run=_schema)


def _schema(arguments: argparse.Namespace) -> None:
    from rlvr import generated

    for path in generated.write():
        print(path)
