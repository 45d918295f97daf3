"""Which layers an adapter may sit on: those that share weights with others would be trained apart and merged together.

With tied embeddings the output layer and the input embedding are one matrix. PEFT puts an adapter on either alone and
only warns; merged into the one matrix, it changes both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr import model_files
from rlvr.errors import RlvrError

if TYPE_CHECKING:
    from rlvr.base_section import Base

ALL_LINEAR = "all-linear"
"""PEFT's word for every linear layer but the output layer."""

EMBEDDINGS = (
    *("lm_head", "embed_out", "output", "model.embed_tokens", "embed_tokens", "model.decoder.embed_tokens"),
    *("model.language_model.embed_tokens", "transformer.wte", "transformer.word_embeddings", "word_embeddings"),
    *("gpt_neox.embed_in", "model.embedding", "backbone.embeddings", "model.tok_embeddings"),
)
"""Names that transformers' causal language models give to their input embedding and output layer."""


def check(targets: str | list[str]) -> None:
    """Raises ValueError where `adapter.target_modules` names nothing or is no regular expression."""
    if not targets:
        raise ValueError(f"target_modules: {targets!r} is not possible; allowed: {ALL_LINEAR}, or at least one layer")
    if isinstance(targets, str) and targets.lower() != ALL_LINEAR:
        try:
            re.compile(targets)
        except re.error as error:
            raise ValueError(
                f"target_modules: {targets!r} is no regular expression ({error}); allowed: {ALL_LINEAR}, a list of "
                "layers, or a regular expression over their names"
            ) from None


def embeddings(targets: str | list[str]) -> list[str]:
    """Input embeddings and output layers that get an adapter, by PEFT's rules."""
    if isinstance(targets, str):
        if targets.lower() == ALL_LINEAR:
            return []
        return [name for name in EMBEDDINGS if re.fullmatch(targets, name)]
    return [name for name in EMBEDDINGS if any(name == each or name.endswith(f".{each}") for each in targets)]


def require_untied(targets: str | list[str], tied: bool, model: str) -> None:
    """Raises RlvrError where an adapter sits on tied embeddings. model: the base as the config names it."""
    if tied and (found := embeddings(targets)):
        raise RlvrError(
            f"adapter.target_modules: {found[0]} is not possible, as {model} ties its output layer to its input "
            "embedding, and an adapter on one would be merged into both; allowed: all-linear, which leaves both out, "
            "other layers, or a copy of the base saved with tie_word_embeddings: false"
        )


def known_to_be_tied(base: Base) -> bool:
    """Whether a base ties its embeddings; False for one of a hub, which is asked once it has been fetched."""
    if base.kind in ("tiny", "packaged"):
        return True
    return base.kind == "folder" and tied(Path(base.model).expanduser(), base.model)


def tied(folder: Path, model: str) -> bool:
    """Whether the model in a folder ties its embeddings, by its config.json or the default of its type.

    Raises RlvrError where transformers can't read the config.
    """
    config = model_files.transformers_config(folder, model).get_text_config()
    return bool(config.tie_word_embeddings)
