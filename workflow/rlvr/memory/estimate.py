"""Estimates the highest memory of each stage, part by part."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from transformers import PreTrainedConfig

from rlvr.memory import apart, steps, vllm_share
from rlvr.memory.heap import Heap
from rlvr.memory.machine import GIB
from rlvr.memory.shapes import Lengths
from rlvr.memory.simulation import Ledger, model_of
from rlvr.memory.sizes import NF4
from rlvr.trainer_options import default, generated_at_once, value

MIB = 2**20
RUNTIME = {"sft": 525 * MIB, "grpo": 520 * MIB, "rollouts": 480 * MIB, "evaluation": 480 * MIB}
"""Of a stage on a CPU whose model and data are next to nothing: interpreter and libraries."""
BESIDE = {
    "bitsandbytes": {"sft": 70 * MIB, "grpo": 70 * MIB, "rollouts": 55 * MIB, "evaluation": 55 * MIB},
    "vllm": {"grpo": 135 * MIB},
}
"""What PEFT and TRL import beside, where it is installed, used or not: with bitsandbytes also torchao and wandb."""
VLLM = {"cpu": 2 * GIB, "cuda": GIB}
"""Its cache, where it generates alone: on a CPU as set; on a GPU, which it fills, the least it needs (a guess)."""
ROW = 7 * 1024
"""Of one training row as Python objects and in the Dataset made of them."""
TOKEN = 900
"""Of one vocabulary entry in the tokenizer."""
STATES = {"adafactor": 0.1, "sgd": 0.0, "8bit": 2.05, "4bit": 1.1}
"""Bytes of optimiser state a trained weight, by a word in the optimiser's name; else two of the weight's own size."""


FILES = "mapped files"
"""The part for files that are read through mapped memory."""


@dataclass(frozen=True)
class Estimate:
    """Bytes of each part when a stage holds most. stage: such as `sft` or `grpo/dapo`."""

    stage: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    @property
    def needed(self) -> int:
        """Less what the kernel lets go of where memory is short."""
        return self.total - self.parts.get(FILES, 0)


def of(
    settings: dict[str, Any],
    model: PreTrainedConfig,
    lengths: Lengths,
    device: str,
    rows: dict[str, int],
    only: str | None = None,
) -> list[Estimate]:
    """One estimate a stage. settings: of `sampling.resolved`; rows: numbers of `sft` and `train` rows held at once.

    only: this stage alone. Raises apart.Failed where a stage can't be counted.
    """
    known = (model, lengths, device)
    jobs: dict[str, tuple] = {}
    if settings["sft"] is not None:
        jobs["sft"] = (_sft, settings, *known, rows.get("sft", 0))
    for sampled in settings["rollouts"]:
        jobs["rollouts"] = (_generation, "rollouts", sampled, settings["generation"], *known, rows.get("train", 0))
    for name, trainer in settings["grpo"].items():
        jobs[f"grpo/{name}"] = (_grpo, name, trainer, settings, *known, rows.get("train", 0))
    jobs["evaluation"] = (_generation, "evaluation", settings["evaluation"], settings["generation"], *known, 0)
    # A process each: the allocator of one that has counted before would hold blocks of then.
    apart.start([__name__, "peft", type(model).__module__.replace(".configuration_", ".modeling_")])
    return [_apart(name, job) for name, job in jobs.items() if only in (None, name)]


def _apart(name: str, job: tuple) -> Estimate:
    try:
        return apart.call(*job)
    except apart.Failed as error:
        raise apart.Failed(f"{name}: {error}") from None


def _sft(settings: dict, model: PreTrainedConfig, lengths: Lengths, device: str, rows: int) -> Estimate:
    trainer = settings["sft"]
    longest = value("sft", trainer, "max_length")
    length = min(lengths.whole, longest or lengths.whole)
    batch = value("sft", trainer, "per_device_train_batch_size")
    if trainer.get("packing"):
        length = longest or default("sft", "max_length")
    if trainer.get("packing") or trainer.get("padding_free"):
        batch, length = 1, batch * length
    liger = trainer.get("use_liger_kernel")
    loss = "chunked" if liger else (trainer.get("loss_type") or "chunked_nll").replace("chunked_nll", "chunked")
    scored = max(1, lengths.whole - lengths.prompt) if not trainer.get("packing") else length
    step = steps.Training(batch, length, scored, "chunked" if loss == "chunked" else "nll")
    parts = _training("sft", model, settings["adapter"], trainer, step, None, device)
    return Estimate("sft", parts | around("sft", model, device, rows))


def _grpo(
    name: str, trainer: dict, settings: dict, model: PreTrainedConfig, lengths: Lengths, device: str, rows: int
) -> Estimate:
    completion = value("grpo", trainer, "max_completion_length")
    batch = value("grpo", trainer, "per_device_train_batch_size")
    unsloth = settings["trains"] == "unsloth"  # scores a quarter of a completion at a time
    loss = "chunked" if unsloth or trainer.get("use_liger_kernel") else "policy"
    temperature, engine = value("grpo", trainer, "temperature"), value("grpo", trainer, "use_vllm")
    step = steps.Training(batch, lengths.prompt + completion, completion, loss, temperature, device == "cuda")
    sampling = None if engine else steps.Sampling(generated_at_once(trainer), lengths.prompt, completion)
    parts = _training("grpo", model, settings["adapter"], trainer, step, sampling, device, unsloth)
    if trainer.get("beta") and settings["adapter"] is None:
        parts["reference model"] = parts["weights"]
    if engine and trainer["vllm_mode"] == "colocate":
        parts["vLLM"] = _vllm(trainer, settings, model, lengths.prompt + completion, parts["weights"])
    return Estimate(f"grpo/{name}", parts | around("grpo", model, device, rows))


def _vllm(trainer: dict, settings: dict, model: PreTrainedConfig, length: int, weights: int) -> int:
    """Bytes of vLLM's share, under Unsloth less those weights, which are the ones that are trained."""
    adapter, capacity = settings["adapter"], settings["memory"]
    share = vllm_share.of(model, trainer, adapter, settings["trains"], length, capacity).share
    if settings["trains"] != "unsloth":
        return int(share * capacity)
    return max(0, int(share * (capacity - vllm_share.CONTEXT)) - weights)


def _generation(
    stage: str, settings: dict, engine: str, model: PreTrainedConfig, lengths: Lengths, device: str, rows: int
) -> Estimate:
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    step = steps.Sampling(settings["batch_size"], lengths.prompt, settings["max_completion_tokens"])
    with model_of(model, dtype, None, False) as fake:
        if engine == "vllm":
            held = sum(weights.numel() * weights.element_size() for weights in fake.parameters())
            return Estimate(stage, {"weights": held, "vLLM": VLLM[device]} | around(stage, model, device, rows))
        heap = Heap() if device == "cpu" else None
        ledger = Ledger(model.vocab_size, heap)
        for weights in fake.parameters():
            ledger.count(weights, "weights")
        with ledger:
            steps.sample(fake.eval(), step)
        parts = _with_kept(ledger, heap)
    return Estimate(stage, parts | around(stage, model, device, rows))


def _training(
    stage: str,
    config: PreTrainedConfig,
    adapter: dict | None,
    trainer: dict,
    step: steps.Training,
    sampling: steps.Sampling | None,
    device: str,
    unsloth: bool = False,
) -> dict[str, int]:
    """The parts at the highest point of sampling and a step, the optimiser's states there all along.

    On a CPU the second step finds the allocator as the first has left it.
    """
    cuda = device == "cuda"
    merged = value("grpo", trainer, "use_vllm") and not unsloth if stage == "grpo" else False  # at every step
    dtype = torch.bfloat16 if adapter and cuda and not merged else torch.float32
    fp16, bf16 = value(stage, trainer, "fp16"), value(stage, trainer, "bf16")
    mixed = fp16 or (cuda if bf16 is None else bf16)
    checkpointing = value(stage, trainer, "gradient_checkpointing")
    with model_of(config, dtype, adapter, checkpointing) as model:
        heap = None if cuda else Heap()
        ledger = Ledger(config.vocab_size, heap)
        trained = [weights for weights in model.parameters() if weights.requires_grad]
        for weights in model.parameters():
            ledger.count(weights, "adapter" if adapter and weights.requires_grad else "weights")
        for weights in trained:
            weights.register_post_accumulate_grad_hook(lambda w: ledger.count(w.grad, "gradients"))
        if sampling:
            with ledger:
                steps.sample(model.eval(), sampling)
            if checkpointing:
                model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
        states = sum(_state(weights, value(stage, trainer, "optim")) for weights in trained)
        passes = 2 if value(stage, trainer, "gradient_accumulation_steps") > 1 else 1
        for _ in range(1 if cuda else 2):
            with ledger, torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
                for _ in range(passes):
                    steps.train(model, step)
            for weights in trained:
                weights.grad = None
        parts = _with_kept(ledger, heap)
        if adapter and adapter.get("load_in_4bit"):
            parts = _quantised(parts, model)
    return {**parts, "optimiser": states}


def _with_kept(ledger: Ledger, heap: Heap | None) -> dict[str, int]:
    """The parts, and on a CPU what the allocator holds beyond them."""
    parts = dict(ledger.peak)
    if heap and heap.peak is not None:
        parts["kept by malloc"] = max(0, heap.peak - ledger.peak.total())
    return parts


def _quantised(parts: dict[str, int], model: torch.nn.Module) -> dict[str, int]:
    """With the base's linear layers in NF4, one of which at a time is unpacked to bfloat16."""
    layers = [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not module.weight.requires_grad and not name.endswith("lm_head")
    ]
    saved = sum(int(weight.numel() * (weight.element_size() - NF4)) for weight in layers)
    unpacked = max(weight.numel() for weight in layers) * 2
    return {**parts, "weights": parts["weights"] - saved, "activations": parts["activations"] + unpacked}


def _state(weights: torch.Tensor, optimiser: str) -> int:
    size = next((size for word, size in STATES.items() if word in optimiser), 2 * weights.element_size())
    return math.ceil(weights.numel() * size)


def around(stage: str, model: PreTrainedConfig, device: str, rows: int) -> dict[str, int]:
    """Bytes that a process takes beside tensors: interpreter, libraries, tokenizer, and `rows` training rows."""
    if device == "cuda":
        return {"runtime": vllm_share.CONTEXT}
    beside = sum(sizes.get(stage, 0) for package, sizes in BESIDE.items() if find_spec(package))
    runtime = RUNTIME[stage] + beside + model.vocab_size * TOKEN
    return {"runtime": runtime, **({"rows": rows * ROW} if rows else {})}
