"""Makes the tiny base model from the seed, or fetches the one that the config names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rlvr import console, tables, tiny
from rlvr.config import Base, Tiny
from rlvr.errors import RlvrError
from rlvr_plugins.tasks.hub import HubError, require_hub

WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.jinja", "tokenizer.model")
TOKENIZER_ROWS = 2000


def run(config: dict[str, Any], *, data: list[Path], weights: Path) -> dict[str, Any]:
    """Writes the model and its tokenizer to the folder `weights`, safetensors only."""
    base = Base(**config["base"])
    if base.kind == "tiny":
        return {"parameters": _make(base.tiny, config["seed"], data, weights)}
    if base.kind == "folder":
        _copy(Path(base.model).expanduser(), weights)
    else:
        _download(base.model, base.revision, weights)
    if not list(weights.glob("*.safetensors")):
        raise RlvrError(f"base: {base.model} has no *.safetensors file; other formats may hold code and are not read")
    return {}


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


def _copy(source: Path, weights: Path) -> None:
    weights.mkdir(parents=True, exist_ok=True)
    for pattern in WANTED:
        for file in source.glob(pattern):
            shutil.copyfile(file, weights / file.name)


def _download(model: str, revision: str, weights: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    arguments = {"revision": revision, "allow_patterns": list(WANTED)}
    try:
        cached = Path(snapshot_download(model, **arguments, local_files_only=True))
    except LocalEntryNotFoundError:
        cached = None
    if cached and _complete(cached):
        _copy(cached, weights)
        return
    wanted = f"base: {model} at {revision[:12]}"
    try:
        require_hub(wanted, "connect, or set base to a folder or to tiny")
        snapshot_download(model, **arguments, local_dir=weights)
    except (HubError, HfHubHTTPError, OSError) as error:
        raise RlvrError(str(error).splitlines()[0]) from None


def _complete(folder: Path) -> bool:
    """Whether a snapshot, which may be the rest of a broken download, has all that is needed."""
    index = folder / "model.safetensors.index.json"
    shards = {"model.safetensors"}
    if index.is_file():
        shards = set(json.loads(index.read_text())["weight_map"].values())
    return all((folder / name).is_file() for name in (*shards, "config.json", "tokenizer_config.json"))
