"""What SFT and GRPO ask of the engine that loads their model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rlvr import adapter_targets, provenance
from rlvr.engines.device import half


@dataclass(frozen=True)
class Request:
    """A model to train.

    start: an earlier stage's policy, an adapter on `base` or full weights; None: `base` itself.
    adapter: the config's section; None: all weights are trained.
    device: a torch device. longest: prompt and completion together, tokens.
    checkpointing: activations are computed again instead of kept.
    vllm: share of the GPU's memory for a vLLM engine beside the trained model; None: no such engine.
    at_once: completions that this engine works on at once, at most.
    synced: weights are handed to vLLM during training.
    scratch: folder for files that an engine writes while it trains; removed with the run's checkpoints.

    Raises RlvrError where `start` was trained on another base.
    """

    base: Path
    start: Path | None
    adapter: dict[str, Any] | None
    device: Any
    longest: int
    seed: int
    checkpointing: bool = True
    vllm: float | None = None
    at_once: int | None = None
    synced: bool = False
    scratch: Path = Path()

    def __post_init__(self) -> None:
        if self.start is not None:
            provenance.require_trained_on(self.start, self.base)

    @property
    def dtype(self) -> str:
        """Of weights that are not in 4 bits: what is trained is kept in float32, a frozen base on a GPU in 16 bits."""
        return half(self.device) if self.adapter and self.device.type == "cuda" else "float32"


class Engine(Protocol):
    """A module that loads models to be trained."""

    __name__: str
    MERGES_TO_SYNC: bool
    """Whether handing weights to vLLM merges the adapter into the base and takes it out again."""

    def arguments(self, stage: str, options: dict[str, Any]) -> dict[str, Any]:
        """The options for TRL's config class, so that they mean what they mean to TRL. stage: `sft` or `grpo`."""

    def load(self, request: Request) -> tuple[Any, Any]:
        """The model and, when it needs a fresh adapter, that adapter's config. To be called through `load` below."""


def load(engine: Engine, request: Request) -> tuple[Any, Any]:
    """The model and, when it needs a fresh adapter, that adapter's config; its generation config is that of the base.

    An engine may build a model from its config alone (Unsloth, where vLLM loads the weights), which loses the end
    tokens that only generation_config.json names.
    """
    from rlvr.engines.models import generation_config_of

    if request.adapter and adapter_targets.embeddings(request.adapter["target_modules"]):
        tied = adapter_targets.tied(request.base, "the base")
        adapter_targets.require_untied(request.adapter["target_modules"], tied, "the base")
    model, fresh_adapter = engine.load(request)
    model.generation_config = generation_config_of(request.base)
    if hasattr(model, "peft_config"):
        model.get_base_model().generation_config = model.generation_config
    return model, fresh_adapter


def engine(name: str) -> Engine:
    """`transformers` or `unsloth`. To be called before anything imports TRL, transformers or PEFT."""
    if name == "unsloth":
        from rlvr.engines import load_unsloth

        return load_unsloth
    from rlvr.engines import load_transformers

    return load_transformers
