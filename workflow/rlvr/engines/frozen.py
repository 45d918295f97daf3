"""Whether weights that are not trained are after training what they were before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rlvr import provenance
from rlvr.errors import RlvrError

ROUNDING = 1e-3
"""Largest change of a weight by its norm where an adapter is merged into the base and taken out again at each step."""


class Frozen:
    """What a model to be trained does not train, and the files of its base where that is nothing.

    base: folder of the base model. synced: TRL hands the weights to vLLM during training by merging the adapter and
    taking it out again in float32, which moves last digits; a change of up to `ROUNDING` of a weight's norm is then
    no error. Otherwise not a bit may differ.
    """

    def __init__(self, model: torch.nn.Module, base: Path, synced: bool = False) -> None:
        self._model = model
        self._base = base
        self._before = self._digests()
        self._copies = {name: each.detach().cpu().clone() for name, each in _floating(model)} if synced else {}

    def check(self) -> dict[str, Any]:
        """For the manifest: how many weights are frozen, and one digest of them all, before and after.

        Raises RlvrError naming the first that moved.
        """
        after = self._digests()
        moved = [name for name, digest in self._before.items() if after.get(name) != digest]
        beyond = [name for name in moved if not self._rounded(name)]
        if beyond:
            change = self._change(beyond[0])
            raise RlvrError(
                f"{self._base}: {beyond[0]} is frozen, but training changed it{change}; so did {len(beyond) - 1} other "
                f"weights of {len(self._before)}; what was trained belongs to no base that is stored"
            )
        frozen = len(self._before) if self._adapted() else 0
        return {"frozen": frozen, "before": _combined(self._before), "after": _combined(after)}

    def _adapted(self) -> bool:
        return next(_frozen(self._model), None) is not None

    def _digests(self) -> dict[str, str]:
        if self._adapted():
            return {name: _digest(each) for name, each in _frozen(self._model)}
        return {file.name: provenance.sha256(file) for file in sorted(self._base.iterdir()) if file.is_file()}

    def _rounded(self, name: str) -> bool:
        return name in self._copies and self._relative(name) <= ROUNDING

    def _relative(self, name: str) -> float:
        now = dict(_floating(self._model))[name].detach().cpu().float()
        before = self._copies[name].float()
        return ((now - before).norm() / before.norm()).item()

    def _change(self, name: str) -> str:
        return f" by {self._relative(name):.2%} of its norm; allowed: {ROUNDING:.1%}" if name in self._copies else ""


def _frozen(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters that are not trained, and, where there are such, the buffers that are stored with them."""
    parameters = [(name, each) for name, each in model.named_parameters() if not each.requires_grad]
    if not parameters:
        return
    yield from parameters
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(prefix, recurse=False):
            if name.rpartition(".")[2] not in module._non_persistent_buffers_set:
                yield name, buffer


def _floating(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, each) for name, each in _frozen(model) if each.is_floating_point())


def _digest(weights: torch.Tensor) -> str:
    """sha256 of a tensor's bytes, with those of the quantisation state where it is held in 4 bits."""
    h = hashlib.sha256(_bytes(weights))
    state = getattr(weights, "quant_state", None)
    if state is not None:
        for name, part in sorted(state.as_dict(packed=True).items()):
            h.update(name.encode())
            h.update(_bytes(part))
    return h.hexdigest()


def _bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _combined(digests: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
