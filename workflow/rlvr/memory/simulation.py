"""Counts what torch would hold, part by part, by running steps on tensors without data."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.initialization import no_init_weights

from rlvr.memory.heap import Heap


class Ledger(TorchDispatchMode):
    """Bytes of all storages alive, by part, and those at the highest total so far."""

    def __init__(self, vocabulary: int, heap: Heap | None = None) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._heap = heap
        self._blocks: dict[int, int | None] = {}
        self._known: dict[int, tuple[weakref.ref, str, int]] = {}
        self.held: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf, self._part(func, leaf))
        return output

    def count(self, tensor: torch.Tensor, part: str) -> None:
        """Books a tensor under a part, whatever it was booked under before."""
        key = tensor.untyped_storage()._cdata
        if key in self._known:
            reference, before, size = self._known[key]
            self.held[before] -= size
            self._known[key] = (reference, part, size)
            self.held[part] += size
        else:
            self._add(tensor, part)

    def _part(self, func: Callable, tensor: torch.Tensor) -> str:
        if tensor.dim() > 1 and tensor.shape[-1] == self._vocabulary:
            return "logits"
        joined = func is torch.ops.aten.cat.default and tensor.dim() == 4 and not torch.is_grad_enabled()
        return "KV cache" if joined else "activations"

    def _add(self, tensor: torch.Tensor, part: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        self._known[key] = (weakref.ref(storage, lambda _: self._free(key)), part, storage.nbytes())
        self.held[part] += storage.nbytes()
        if self._heap:
            self._blocks[key] = self._heap.take(storage.nbytes())
        if self.held.total() > self.peak.total():
            self.peak = self.held.copy()

    def _free(self, key: int) -> None:
        _, part, size = self._known.pop(key)
        self.held[part] -= size
        if self._heap:
            self._heap.give(self._blocks.pop(key))


@contextmanager
def model_of(
    config: PreTrainedConfig, dtype: torch.dtype, adapter: dict[str, Any] | None, checkpointing: bool
) -> Iterator[torch.nn.Module]:
    """The model as training has it, with a fresh adapter where there is one, of tensors without data."""
    with torch.device("meta"), no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        model.tie_weights()
        if adapter:
            from peft import LoraConfig, get_peft_model

            wanted = LoraConfig(
                r=adapter["r"],
                lora_alpha=adapter["alpha"],
                lora_dropout=adapter["dropout"],
                target_modules=adapter["target_modules"],
                task_type="CAUSAL_LM",
            )
            model = get_peft_model(model, wanted)
            if adapter.get("load_in_4bit"):  # as TRL does
                for weights in model.parameters():
                    if weights.requires_grad:
                        weights.data = weights.data.to(torch.bfloat16)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            if adapter:
                model.enable_input_require_grads()
    with FakeTensorMode():
        _fake(model)
        yield model.train()


def _fake(model: torch.nn.Module) -> None:
    """Puts the tensors of a model on the meta device on a CPU without data, so that its own kernels are counted."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, old in module.named_parameters(recurse=False):
            if id(old) not in made:
                made[id(old)] = torch.nn.Parameter(_without_data(old), old.requires_grad)
            module._parameters[name] = made[id(old)]
        for name, old in module.named_buffers(recurse=False):
            module._buffers[name] = _without_data(old)


def _without_data(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
