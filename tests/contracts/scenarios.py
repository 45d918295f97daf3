"""What Unsloth does to TRL on a GPU, as JSON: run in a process in which CUDA is spoofed, in an empty folder.

    python scenarios.py facts.json

Each scenario calls Unsloth's own code through the engine that the stages use; where one fails, its traceback stands
in place of its facts. Steps of training are real ones, on the CPU, of Unsloth's trainers with a tiny model.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import spoofed_cuda

spoofed_cuda.spoof()

from rlvr.engines import loading  # noqa: E402

BEFORE = dict(os.environ)
ENGINE = loading.engine("unsloth")
"""As the stages load it: before anything has imported TRL."""

import steps  # noqa: E402
import torch  # noqa: E402
import trl  # noqa: E402
import unsloth  # noqa: E402
import vllm_scenarios  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from unsloth_zoo import empty_model, vllm_utils  # noqa: E402

from rlvr import tiny, trainer_values  # noqa: E402
from rlvr.engines import models  # noqa: E402
from rlvr.engines.loading import Request  # noqa: E402
from rlvr.engines.sampling import WatchedTrainer  # noqa: E402
from rlvr.errors import RlvrError  # noqa: E402

BASE = Path("base")
CONFIGS = {"grpo": trl.GRPOConfig, "sft": trl.SFTConfig}
OPTIONS = {
    "grpo": [
        {},
        {"num_generations": 4, "gradient_accumulation_steps": 2, "learning_rate": 2e-5},
        *({"loss_type": loss} for loss in trainer_values.CHOICES["grpo"]["loss_type"]),
        *({"loss_type": "dr_grpo", "scale_rewards": scale} for scale in ("group", "batch", "none", True, False)),
        *({"loss_type": "dapo", "scale_rewards": scale} for scale in ("batch", "none")),
        {"loss_type": "dapo", "epsilon": 0.1, "beta": 0.01},
        {"loss_type": "dapo", "epsilon_high": 0.28, "mask_truncated_completions": True},
        {"loss_type": "cispo", "epsilon_high": 5.0},
        {"max_completion_length": 300, "top_p": 0.9, "top_k": 20, "temperature": 0.7},
        {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.55, "top_k": 20},
        {"vllm_importance_sampling_mode": "token_truncate", "vllm_max_model_length": 700},
    ],
    "sft": [{}, {"packing": True, "max_length": 300}, {"learning_rate": 1e-4, "padding_free": True}],
}
"""What users set; under Unsloth, each has to come to what TRL alone makes of it."""
COMPARED = [
    *({"loss_type": loss} for loss in trainer_values.CHOICES["grpo"]["loss_type"]),
    *(
        {"loss_type": loss, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
        for loss in ("grpo", "dapo", "dr_grpo")
    ),
    {"loss_type": "dapo", "mask_truncated_completions": True},
    {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    {"scale_rewards": "batch"},
    {"scale_rewards": "none"},
    {"beta": 0.1},
    {"entropy_coef": 0.1},
    {"temperature": 0.7},
]
"""Options under which a step has to be the same step."""


def imported() -> dict[str, Any]:
    changed = {name: value for name, value in os.environ.items() if BEFORE.get(name) != value}
    return {
        "mro": [each.__name__ for each in WatchedTrainer.__mro__],
        "configs": {stage: inspect.getfile(inspect.unwrap(kind.__init__)) for stage, kind in CONFIGS.items()},
        "sft": trl.SFTTrainer.__name__,
        "environment": changed,
        "generated": sorted(each.name for each in Path(os.environ["UNSLOTH_COMPILE_LOCATION"]).glob("*.py")),
        "signatures": {
            name: list(inspect.signature(getattr(trl.GRPOTrainer, name)).parameters)
            for name in dir(trl.GRPOTrainer)
            if inspect.isfunction(getattr(trl.GRPOTrainer, name))
        },
    }


def configured() -> dict[str, Any]:
    """Of each set of options: what differs between Unsloth's config and TRL's own, [Unsloth's, TRL's]."""
    found = {}
    for stage, kind in CONFIGS.items():
        plain = kind.__mro__[1]
        found[stage] = {
            "bare": _differing(kind(output_dir="o"), plain(output_dir="o")),
            "through": [
                [options, _differing(kind(output_dir="o", **ENGINE.arguments(stage, options)), plain("o", **options))]
                for options in OPTIONS[stage]
            ],
            "defaults": {key: _plain(value) for key, value in vars(plain(output_dir="o")).items()},
        }
    uneven = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 1, "num_generations": 4}
    found["uneven"] = trl.GRPOConfig("o", **uneven).per_device_train_batch_size
    return found


def _differing(changed: Any, plain: Any) -> dict[str, list]:
    sides = [{key: _plain(value) for key, value in vars(each).items()} for each in (changed, plain)]
    keys = sorted(set(sides[0]) | set(sides[1]))
    pairs = {key: [side.get(key, "absent") for side in sides] for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def rebuilt() -> dict[str, Any]:
    """A model as `fast_inference` makes it of vLLM's weights, here of the base's own."""
    for module in (vllm_utils, empty_model):
        if hasattr(module, "get_target_device"):
            module.get_target_device = lambda *args: torch.device("cpu")
    base = AutoModelForCausalLM.from_pretrained(BASE)
    found = {"base": base.generation_config.eos_token_id, "config": base.config.eos_token_id}
    for name in ("unnamed", "named"):  # Unsloth sets the path on some configs, and then reads the files
        if name == "named":
            base.config.model_name = str(BASE)
        model = vllm_utils.convert_vllm_to_huggingface(dict(base.state_dict()), base.config, torch.float32)
        same = all(torch.equal(each, base.get_parameter(key)) for key, each in model.named_parameters())
        found[name] = {"ends": model.generation_config.eos_token_id, "same_weights": same}
    return found


class Probe(trl.GRPOTrainer):
    """Unsloth's trainer; says what there is after sampling and after the loss."""

    def _generate_and_score_completions(self, inputs):
        found = super()._generate_and_score_completions(inputs)
        self.sampled = {"batch": sorted(found), "metrics": sorted(self._metrics["train"])}
        return found

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self.trained = sorted(self._metrics["train"])
        return loss


def _trainer(engine: Any = None, adapted: bool = False, gpus: int = 0, watch: float | None = None, **options: Any):
    """engine: in place of vLLM. adapted: the adapter has been trained before. gpus: that Trainer would use.

    watch: our own trainer with that bound on the difference to the sampler.
    """
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(BASE)
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    if adapted:
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights)
    _unsloths(model)
    if engine is not None:
        model.vllm_engine = engine
        model.load_lora = engine.load_lora
    step = steps.STEP | {"per_device_train_batch_size": 4} | options
    arguments = trl.GRPOConfig(**ENGINE.arguments("grpo", step))
    if gpus:
        arguments._n_gpu = gpus
    rows = [{"prompt": [{"role": "user", "content": f"What is {i} + 3?"}]} for i in range(8)]
    kind = partial(WatchedTrainer, max_logp_difference=watch) if watch else Probe
    return kind(
        model=model,
        args=arguments,
        reward_funcs=[_rank],
        train_dataset=Dataset.from_list(rows),
        processing_class=models.load_tokenizer(BASE),
    )


def _unsloths(model: Any) -> None:
    """Gives an adapted model what Unsloth's `get_peft_model` would."""
    for mode in ("for_training", "for_inference"):
        setattr(model, mode, partial(getattr(unsloth.FastLanguageModel, mode), model))


def _rank(completions: list, **columns: Any) -> list[float]:
    """A reward of its own for each completion of a group."""
    return [float(place) for place in range(len(completions))]


def trained() -> dict[str, Any]:
    """One step without vLLM."""
    trainer = _trainer()
    before = {"padding_side": trainer.processing_class.padding_side, "ends": trainer.eos_token_ids}
    trainer.train()
    return {**before, "sampled": trainer.sampled, "trained": trainer.trained, "logged": trainer.state.log_history[0]}


def precision() -> dict[str, Any]:
    return {str(wanted): _trainer(bf16=wanted).args.bf16 for wanted in (True, False)}


def devices() -> dict[str, int]:
    """GPUs that a batch would be spread over, of two that are visible."""
    return {"of 2": _trainer(gpus=2).args.n_gpu, "of 1": _trainer(gpus=1).args.n_gpu}


def pulled() -> dict[str, Any]:
    """A step with KL from an adapter that has been trained before."""
    trainer = _trainer(adapted=True, beta=0.1)
    trainer.train()
    return {"adapters": sorted(trainer.model.peft_config), "kl": trainer.state.log_history[0]["kl"]}


def entropies() -> dict[str, float]:
    """The loss of one step under each kind of entropy bonus."""
    kinds = {
        "none": {},
        "fixed": {"entropy_coef": 1.0},
        "adaptive": {"entropy_coef": 1.0, "use_adaptive_entropy": True},
    }
    found = {}
    for name, options in kinds.items():
        trainer = _trainer(**options)
        trainer.train()
        found[name] = trainer.state.log_history[0]["loss"]
    return found


def sampled_by_vllm() -> dict[str, Any]:
    """A step whose completions come from an engine that gives them other probabilities than the trainer."""
    engine = vllm_scenarios.Engine(logprob=-0.01)
    trainer = _trainer(engine=engine, use_vllm=True, vllm_mode="colocate")
    trainer.train()
    generation = trainer.vllm_generation
    return {
        "calls": engine.calls,
        "same_engine": generation.llm is trainer.model.vllm_engine,
        "loader": generation._unsloth_load_lora == engine.load_lora,
        "metrics": trainer.sampled["metrics"],
        "trained": trainer.trained,
        "logged": trainer.state.log_history[0],
        "loaded_step": trainer._last_loaded_step,
    }


def compared() -> list[list]:
    """One step with each of the options: loss and norm of the gradient."""
    arguments = partial(ENGINE.arguments, "grpo")
    return [[options, steps.run(BASE, arguments, _unsloths, **options)] for options in COMPARED]


def watched() -> dict[str, str | None]:
    """What our own trainer says to an engine with other weights."""
    trainer = _trainer(vllm_scenarios.Engine(logprob=-0.01), watch=0.5, use_vllm=True, vllm_mode="colocate")
    try:
        trainer.train()
    except RlvrError as error:
        return {"said": str(error)}
    return {"said": None}


def loaded() -> dict[str, Any]:
    """What our engine loads with `fast_inference`; vLLM's engine and its weights are replaced, by the base's own.

    Changes Unsloth for good, so it comes last.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith(("unsloth.", "unsloth_zoo.")):
            for device in {"get_current_device", "DEVICE_TYPE_TORCH"} & set(vars(module)):
                setattr(module, device, "cpu" if device.isupper() else lambda: "cpu")
    engine, asked = vllm_scenarios.Engine(logprob=-1.0), {}
    weights = dict(AutoModelForCausalLM.from_pretrained(BASE).state_dict())

    def load(**arguments: Any) -> vllm_scenarios.Engine:
        asked.update({name: _plain(value) for name, value in arguments.items() if name != "config"})
        return engine

    load.__signature__ = inspect.signature(vllm_utils.load_vllm)  # by which Unsloth knows what to pass on
    vllm_utils.load_vllm, vllm_utils.get_vllm_state_dict = load, lambda *args, **kwargs: (None, weights)
    adapter = {"r": 4, "alpha": 4, "dropout": 0.0, "target_modules": ["q_proj"], "load_in_4bit": False}
    request = Request(BASE, None, adapter, torch.device("cuda"), longest=128, seed=0, vllm=0.4)
    model, _ = loading.load(ENGINE, request)
    ends = models.end_tokens(model, models.load_tokenizer(BASE))
    return {"ends": ends, "base": models.ends_of(BASE, models.load_tokenizer(BASE)), "asked": asked}


def main(target: Path) -> None:
    texts = [tiny.render([{"role": "user", "content": "What is 1 + 3?"}, {"role": "assistant", "content": "It is 4."}])]
    tokenizer = tiny.build_tokenizer(texts, 300)
    model = tiny.build_model(tokenizer, seed=0, hidden_size=32, layers=1, heads=2)
    model.generation_config.eos_token_id = [
        tokenizer.eos_token_id,
        1,
    ]  # config.json keeps one, as Qwen's instruct models
    model.save_pretrained(BASE)
    tokenizer.save_pretrained(BASE)
    scenarios = [
        imported,
        configured,
        rebuilt,
        trained,
        precision,
        devices,
        pulled,
        entropies,
        sampled_by_vllm,
        compared,
        watched,
    ]
    facts: dict[str, Any] = {}
    for scenario in [*scenarios, *vllm_scenarios.ALL, loaded]:
        try:
            facts[scenario.__name__] = scenario()
        except Exception:
            facts[scenario.__name__] = {"failed": traceback.format_exc()}
    facts["versions"] = {name: version(name) for name in ("unsloth", "unsloth_zoo", "trl")}
    target.write_text(json.dumps(facts, indent=1, default=repr))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
