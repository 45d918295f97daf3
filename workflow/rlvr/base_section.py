"""The config section of the model that training starts from."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from rlvr import file_names, model_files, packaged
from rlvr.errors import RlvrError
from rlvr.sections import Count, Section
from rlvr_plugins.tasks import hub


class Tiny(Section):
    """Shape of the embedded model."""

    hidden_size: Count = Field(128, description="Width of the residual stream; a multiple of `heads`.")
    layers: Count = Field(3, description="Transformer blocks.")
    heads: Count = Field(4, description="Attention heads.")
    vocabulary: int = Field(512, ge=300, description="Size of the byte-level BPE vocabulary, tokens.")
    max_positions: Count = Field(256, description="Longest sequence, tokens.")

    @model_validator(mode="after")
    def _divisible(self) -> Tiny:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size: {self.hidden_size} is not possible; allowed: multiples of twice heads ({2 * self.heads})"
            )
        return self


class Base(Section):
    """The model that training starts from."""

    model: str = Field(
        "tiny",
        description="`tiny` (made from the seed), `smollm2-135m-instruct` (from a package), a folder, or a hub id such "
        "as `Qwen/Qwen2.5-0.5B-Instruct`.",
    )
    revision: str | None = Field(
        None,
        description="Of a hub id: a commit (40 hex digits), a branch or a tag; null: the default branch. A name is "
        "looked up once and kept in `config/revisions.lock.yaml`; `rlvr lock --update` moves it.",
    )
    tiny: Tiny | None = Field(None, description="Shape of the embedded model; only with `model: tiny`.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @property
    def kind(self) -> Literal["tiny", "packaged", "folder", "hub"]:
        if self.model == "tiny":
            return "tiny"
        if self.model in packaged.MODELS:
            return "packaged"
        return "folder" if self.model.startswith((".", "/", "~")) else "hub"

    @model_validator(mode="after")
    def _consistent(self) -> Base:
        if self.kind == "hub":
            self._check_hub()
        elif self.revision:
            raise ValueError("revision: goes with a hub id only")
        if self.kind != "tiny" and self.tiny:
            raise ValueError("tiny: goes with model: tiny only")
        if self.kind == "folder" and not (Path(self.model).expanduser() / "config.json").is_file():
            raise ValueError(f"model: no config.json in folder {self.model!r}; allowed: a saved model")
        if self.kind == "folder":
            try:
                file_names.check(self.model)
                for file in sorted(Path(self.model).expanduser().iterdir()):
                    file_names.check(file.name)
                model_files.require_readable(Path(self.model).expanduser(), self.model)
            except (RlvrError, ValueError, OSError) as error:
                raise ValueError(f"model: {str(error).removeprefix('base: ')}") from None
        return self

    def _check_hub(self) -> None:
        if not hub.is_commit(self.revision) and "/" not in self.model:
            near = get_close_matches(self.model, ["tiny", *packaged.MODELS], 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"model: {self.model!r} is not possible; {hint}allowed: tiny, {', '.join(packaged.MODELS)}, a folder "
                "(./NAME), or a hub id as OWNER/NAME"
            )
        if self.revision is not None:
            try:
                hub.check_revision(self.revision)
            except ValueError as error:
                raise ValueError(f"revision: {error}") from None
