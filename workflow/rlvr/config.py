"""What an experiment may say: the only definition of the config.

`load` reads YAML files into a `Config`.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from rlvr import filters, packaged, plugin_options, problems, yaml_files
from rlvr.engines import refusals
from rlvr.errors import RlvrError
from rlvr.trainer_options import check_by_group, check_groups, check_loss, check_options
from rlvr_plugins import Task
from rlvr_plugins.manager import PluginError, catalogue
from rlvr_plugins.types import QUESTION

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=-1000, le=1000)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


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
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        None, description="Commit of the hub model, 40 hex digits; required for a hub id."
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
        if self.kind == "hub" and not self.revision:
            near = get_close_matches(self.model, ["tiny", *packaged.MODELS], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"revision: is missing; a hub model ({self.model}) needs its commit{hint}")
        if self.kind != "hub" and self.revision:
            raise ValueError("revision: goes with a hub id only")
        if self.kind != "tiny" and self.tiny:
            raise ValueError("tiny: goes with model: tiny only")
        if self.kind == "folder" and not (Path(self.model).expanduser() / "config.json").is_file():
            raise ValueError(f"model: no config.json in folder {self.model!r}; allowed: a saved model")
        return self


Arm = Literal["base", "sft", "grpo"]


class ArmPrompt(Section):
    """The prompt under which an arm is evaluated; what is left out stays as in training."""

    system_prompt: str | None = Field(None, description='Replaces that of training; "" leaves it out.')
    user_prompt: str | None = Field(None, description="Replaces that of training; with `{question}` too.")


class TaskConfig(Section):
    """One task: how many items, and its own options."""

    train: int | None = Field(None, ge=0, description="Training items for GRPO; null: all; 0: evaluate only.")
    sft: int | None = Field(None, ge=0, description="Training items that get a demonstration for SFT; null: all.")
    eval: int | None = Field(None, ge=0, description="Held-out items; null: all; 0: train only.")
    system_prompt: str | None = Field(None, description='Replaces the task\'s own; "" leaves it out.')
    user_prompt: str | None = Field(
        None, description="Replaces the task's own message: a text in which `{question}` stands for the question."
    )
    prompts: dict[Arm, ArmPrompt] = Field(
        {}, description="Prompt under which `base`, `sft` or `grpo` is evaluated, where it is another than in training."
    )
    options: dict[str, Any] = Field({}, description="The task's own options; `rlvr plugins show TASK` lists them.")
    filters: list[Any] | None = Field(None, description="Replaces the common `filters` for this task.")


class Adapter(Section):
    """A LoRA adapter; both SFT and GRPO train it."""

    r: Count = Field(32, description="Rank.")
    alpha: Annotated[float, Field(gt=0)] = Field(32, description="Scale is alpha / r.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Dropout on the adapter's input.")
    load_in_4bit: bool = Field(False, description="QLoRA: the frozen base is held in 4 bits (NF4) while training.")
    target_modules: str | list[str] = Field("all-linear", description="Layers that get an adapter, PEFT's names.")


class Engines(Section):
    """What trains, samples and answers; `auto` chooses by device and by what is installed, and says so."""

    training: Literal["auto", "transformers", "unsloth"] = Field(
        "auto", description="For SFT and GRPO, both under TRL; `unsloth` goes with an adapter."
    )
    rollouts: Literal["auto", "transformers", "vllm_colocate", "vllm_server"] = Field(
        "auto", description="Sampling within GRPO; vLLM needs a GPU."
    )
    server: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None = Field(
        None, description="Address of `trl vllm-serve`; only with `rollouts: vllm_server`."
    )
    generation: Literal["auto", "transformers", "vllm"] = Field(
        "auto", description="Evaluation, and sampling for the filter `pass_rate`."
    )

    @model_validator(mode="after")
    def _server(self) -> Engines:
        if self.rollouts == "vllm_server" and not self.server:
            raise ValueError("server: is missing; rollouts: vllm_server needs the address, such as http://host:8000")
        if self.server and self.rollouts != "vllm_server":
            raise ValueError("server: goes with rollouts: vllm_server only")
        return self


class SftVariant(Section):
    """What one SFT variant changes."""

    trainer: dict[str, Any] = Field({}, description="Laid over `sft.trainer`.")

    @model_validator(mode="after")
    def _known_options(self) -> SftVariant:
        check_options("sft", self.trainer)
        return self


class Sft(SftVariant):
    """Supervised warm-start on the tasks' demonstrations."""

    trainer: dict[str, Any] = Field({}, description="Options of TRL's SFTConfig by their own names.")
    variants: dict[Name, SftVariant] = Field(
        {}, description="Warm-starts to compare, each an arm `sft/<name>`; none: one, the arm `sft`."
    )


Order = Literal["shuffled", "easy_first", "hard_first"]


class Dynamic(Section):
    """Replacing prompts whose completions all earn the same; `false` is short for `max_rounds: 0`."""

    max_rounds: int = Field(
        3, ge=0, description="Most further rounds of sampling for one batch, after which it stays short; 0: off."
    )
    rest: int = Field(
        0, ge=0, description="Steps for which a prompt without spread is left out of the further rounds; 0: none."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"max_rounds": 0} if value is False else value


class Evaluate(Section):
    """pass@k on a fixed subset of the held-out items while GRPO trains; exactly one of the `every_…`."""

    every_steps: Count | None = Field(None, description="Optimiser steps between two evaluations.")
    every_epochs: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Passes over the training rows between two evaluations."
    )
    items: Count = Field(64, description="Held-out items of each task, always the same ones; fewer where it has fewer.")
    samples: Count = Field(4, description="Completions of an item.")
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="Sampling temperature.")
    pass_at: list[Count] = Field([1, 4], description="Each k of pass@k, up to `samples`.", min_length=1)
    max_completion_tokens: Count | None = Field(
        None, description="Longest completion, tokens; null: the trainer's `max_completion_length`."
    )
    batch_size: Count = Field(32, description="Completions generated at once.")

    @model_validator(mode="after")
    def _consistent(self) -> Evaluate:
        if (self.every_steps is None) == (self.every_epochs is None):
            raise ValueError("every_steps, every_epochs: exactly one of them is needed")
        for k in self.pass_at:
            if k > self.samples:
                raise ValueError(f"pass_at: {k} is not possible; allowed: up to samples ({self.samples})")
        if len(set(self.pass_at)) < len(self.pass_at):
            raise ValueError("pass_at: each k once")
        return self


class Variant(Section):
    """What one GRPO variant changes."""

    rewards: dict[str, Weight] | None = Field(None, description="Replaces `grpo.rewards`.", min_length=1)
    trainer: dict[str, Any] = Field({}, description="Laid over `grpo.trainer`.")
    order: Order | None = Field(None, description="Replaces `grpo.order`.")
    dynamic: Dynamic | None = Field(None, description="Replaces `grpo.dynamic`; null: as there; `false`: off.")
    start: Name | None = Field(None, description="Replaces `grpo.start`.")

    @model_validator(mode="after")
    def _known_options(self) -> Variant:
        check_options("grpo", self.trainer)
        return self


class Grpo(Variant):
    """Reinforcement learning with the rewards as only teacher."""

    rewards: dict[str, Weight] = Field(description="Weight of each reward, by plugin name.", min_length=1)
    max_failures: float = Field(
        0.1, ge=0, le=1, description="Share of completions a reward or verifier may fail on; above it training stops."
    )
    max_epochs: float = Field(
        10, gt=0, description="Warns before training that would sample a prompt more often than this, on average."
    )
    order: Order = Field("shuffled", description="Order of the prompts; by pass rate with the filter `pass_rate`.")
    trainer: dict[str, Any] = Field({}, description="Options of TRL's GRPOConfig by their own names.")
    dynamic: Dynamic | None = Field(
        None, description="Replace prompts whose completions all earn the same by others; null or `false`: off."
    )
    start: Name | None = Field(
        None, description="The one of `sft.variants` that GRPO starts from; null: the only one there is."
    )
    keep_completions: Count | None = Field(
        None, description="Most sampled completions kept of a step, the first ones in whole groups; null: all."
    )
    evaluate: Evaluate | None = Field(
        None, description="pass@k while training; null: none. Choosing a step or setting by it is choosing on the test."
    )
    variants: dict[Name, Variant] = Field(
        {"grpo": Variant()}, description="Variants to compare; each shares data, base and SFT.", min_length=1
    )

    @model_validator(mode="after")
    def _whole_groups(self) -> Grpo:
        for name, variant in self.variants.items():
            where = f"variants.{name}.trainer" if variant.trainer else "trainer"
            check_groups({**self.trainer, **variant.trainer}, where)
            check_loss({**self.trainer, **variant.trainer}, where)
            group = {**self.trainer, **variant.trainer}.get("num_generations") or 8
            if self.keep_completions and self.keep_completions < group:
                raise ValueError(
                    f"keep_completions: {self.keep_completions} is not possible; allowed: {where}.num_generations "
                    f"({group}) or more"
                )
        return self

    @model_validator(mode="after")
    def _dynamic_by_group(self) -> Grpo:
        for name, variant in self.variants.items():
            if self.dynamic_of(name):
                where = "" if variant.dynamic is None else f"variants.{name}."
                check_by_group({**self.trainer, **variant.trainer}, f"{where}dynamic")
        return self

    def dynamic_of(self, variant: str) -> Dynamic | None:
        """The section that holds for a variant; None where it is off."""
        chosen = self.variants[variant].dynamic or self.dynamic
        return chosen if chosen and chosen.max_rounds else None


class Export(Section):
    """The merged model."""

    dtype: Literal["bfloat16", "float16"] = Field("bfloat16", description="Type of the stored weights.")
    gguf: Literal["f16", "bf16", "q8_0"] | None = Field(
        None, description="Also write each model as a GGUF file of this type, with llama.cpp's converter; null: none."
    )


class Sampled(Section):
    """Several completions an item, for pass@k."""

    samples: Count = Field(description="Completions an item, drawn with `seed`.")
    temperature: float = Field(1.0, gt=0, le=2, description="Of the sampling.")
    top_p: float = Field(1.0, gt=0, le=1, description="Of the sampling.")
    pass_at: list[Count] = Field(description="Each k of pass@k; at most `samples`.", min_length=1)

    @model_validator(mode="after")
    def _enough(self) -> Sampled:
        if max(self.pass_at) > self.samples:
            raise ValueError(f"pass_at: {max(self.pass_at)} is not possible; allowed: up to samples ({self.samples})")
        if len(set(self.pass_at)) < len(self.pass_at):
            raise ValueError("pass_at: each k once")
        return self


class Evaluation(Section):
    """How the held-out items are answered: greedy, one completion an item, and `sampled` beside it."""

    max_completion_tokens: Count = Field(512, description="Longest completion, tokens.")
    batch_size: Count = Field(32, description="Completions generated at once.")
    sampled: Sampled | None = Field(None, description="Several completions an item, for pass@k; null: greedy only.")

    @model_validator(mode="after")
    def _whole_items(self) -> Evaluation:
        if self.sampled and self.batch_size < self.sampled.samples:
            raise ValueError(
                f"batch_size: {self.batch_size} is not possible; allowed: sampled.samples ({self.sampled.samples}) or "
                "more, as the samples of an item are generated together"
            )
        return self


class Report(Section):
    """The report."""

    samples: int = Field(20, ge=0, description="Completions shown for each arm and task.")


class Preflight(Section):
    """Estimates the memory of each stage before training."""

    mode: Literal["auto", "refuse", "warn", "off"] = Field(
        "auto", description="What happens when a stage would not fit; `auto`: `refuse` on a CPU, `warn` on a GPU."
    )
    reserve: float = Field(0.1, ge=0, lt=1, description="Share of the device's memory that has to stay free.")
    probe: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Two steps of SFT and GRPO with the longest rows, in processes of their own, before training; "
        "`auto`: on a GPU only.",
    )


class Config(Section):
    """One experiment."""

    experiment: Name = Field(description="Name of the experiment and of its folder under `results/`.")
    base: Base = Field(Base(), description="The model that training starts from; a bare id is short for `model:`.")
    tasks: dict[str, TaskConfig] = Field(description="Tasks to train and evaluate, by plugin name.", min_length=1)
    filters: list[Any] = Field(
        [], description="Filters by name with their options, applied in this order to training and SFT rows."
    )
    adapter: Adapter | None = Field(None, description="LoRA adapter; null: all weights are trained.")
    sft: Sft | None = Field(None, description="SFT warm-start; null: GRPO starts from the base model.")
    grpo: Grpo = Field(description="GRPO and its variants.")
    engines: Engines = Field(Engines(), description="What trains, samples and answers.")
    export: Export = Field(Export(), description="The merged model.")
    evaluation: Evaluation = Field(Evaluation(), description="Evaluation.")
    report: Report = Field(Report(), description="The report.")
    preflight: Preflight = Field(Preflight(), description="The check of memory before training.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of what all runs share: data, tiny base model, SFT.")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field([0], description="GRPO runs, one a seed.", min_length=1)
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: CUDA where there is one, else the CPU.")
    threads: Count = Field(1, description="CPU threads of a stage; another number may change the last digits.")
    micro_batch: Count | None = Field(
        None,
        description="Most rows that a training step computes at once; `per_device_train_batch_size` and "
        "`gradient_accumulation_steps` of every trainer are changed so that their product stays; null: as they are.",
    )

    @model_validator(mode="after")
    def _distinct_seeds(self) -> Config:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: each seed once")
        return self

    @model_validator(mode="after")
    def _engines(self) -> Config:
        try:
            refusals.check(self.engines.training, self.engines.rollouts, self.adapter, self.device)
        except ValueError as error:
            raise ValueError(problems.line("engines", str(error))) from None
        if self.engines.training == "unsloth" and (obstacle := self.unsloth_obstacle()):
            raise ValueError(f"engines.training: unsloth is not possible here: {obstacle}; allowed: transformers")
        return self

    @model_validator(mode="after")
    def _whole_steps(self) -> Config:
        """Raises ValueError where a step in micro-batches would be another step."""
        for name, variant in self.grpo.variants.items():
            options = {**self.grpo.trainer, **variant.trainer}
            over_rows = {
                "loss_type: bnpo": options.get("loss_type") == "bnpo",
                "top_entropy_quantile below 1": options.get("top_entropy_quantile", 1) < 1,
                "the entropy bonus": bool(options.get("entropy_coef") or options.get("use_adaptive_entropy")),
            }
            if self.micro_batch and any(over_rows.values()):
                found = next(text for text, there in over_rows.items() if there)
                raise ValueError(
                    f"micro_batch: {self.micro_batch} would change what {found} (variant {name!r}) computes, which is "
                    "over the rows computed at once; allowed: null"
                )
        return self

    def unsloth_obstacle(self) -> str | None:
        """Why `engines.training: auto` stays with transformers for the whole experiment, None where it need not."""
        variants = {
            name: {"trainer": {**self.grpo.trainer, **variant.trainer}, "dynamic": self.grpo.dynamic_of(name)}
            for name, variant in self.grpo.variants.items()
        }
        return refusals.unsloth_obstacle(variants, self.sft is not None)

    @model_validator(mode="after")
    def _plugins(self) -> Config:
        for name, task in self.tasks.items():
            _in(f"tasks.{name}", lambda name=name, task=task: _check_task(name, task, self.sft is not None))
        if not any(task.train != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has train: 0; at least one must train")
        if not any(task.eval != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has eval: 0; at least one must be evaluated")
        if self.sft and not any(task.sft != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has sft: 0; set sft: null to go without a warm-start")
        for name in self.tasks:
            self.steps(name)
            if self.sft is None and "sft" in self.tasks[name].prompts:
                raise ValueError(f"tasks.{name}.prompts.sft: goes with sft only, which is null")
        self._starts()
        self._orders()
        for path, rewards in self._reward_tables():
            for name in rewards:
                _in(f"{path}.{name}", lambda name=name: catalogue().reward(name))
        return self

    def steps(self, task: str) -> list[filters.Step]:
        """The filters of a task, in their order. Raises ValueError naming the key."""
        own = self.tasks[task].filters
        path, entries = ("filters", self.filters) if own is None else (f"tasks.{task}.filters", own)
        try:
            found = filters.steps(entries, catalogue().task(task))
        except (PluginError, RlvrError) as error:
            raise ValueError(problems.line(path, str(error))) from None
        return [step for step in found if self.tasks[task].train != 0 or not step.sampled]

    @model_validator(mode="after")
    def _micro_batches(self) -> Config:
        trainers = [("grpo", "trainer", self.grpo.trainer)]
        trainers += [
            ("grpo", f"variants.{name}.trainer", variant.trainer) for name, variant in self.grpo.variants.items()
        ]
        for section, where, trainer in trainers if self.micro_batch else []:
            for key in ("steps_per_generation", "generation_batch_size"):
                if trainer.get(key) is not None:
                    raise ValueError(f"{section}.{where}.{key}: goes without micro_batch, which decides it")
        return self

    def sft_arms(self) -> list[str]:
        """The warm-started arms: `sft`, or one a variant."""
        if self.sft is None:
            return []
        return [f"sft/{name}" for name in self.sft.variants] or ["sft"]

    def start_of(self, variant: str) -> str | None:
        """The arm that a GRPO variant starts from; None: the base model."""
        name = self.grpo.variants[variant].start or self.grpo.start
        return f"sft/{name}" if name else next(iter(self.sft_arms()), None)

    def _starts(self) -> None:
        """Raises ValueError where it is not said which SFT variant GRPO starts from, or that one is not there."""
        there = list(self.sft.variants) if self.sft else []
        named = {"grpo.start": self.grpo.start}
        named |= {f"grpo.variants.{name}.start": variant.start for name, variant in self.grpo.variants.items()}
        for where, name in named.items():
            if name is not None and name not in there:
                allowed = ", ".join(there) or "nothing, as there are no sft.variants"
                raise ValueError(f"{where}: {name!r} is not possible; allowed: {allowed}")
        for name, variant in self.grpo.variants.items():
            if len(there) > 1 and not (variant.start or self.grpo.start):
                raise ValueError(
                    f"grpo.variants.{name}.start: is missing, and grpo.start too; allowed: {', '.join(there)}"
                )
        starts = list(dict.fromkeys(self.start_of(name) for name in self.grpo.variants))
        sampled = [task for task in self.tasks if any(step.sampled for step in self.steps(task))]
        if len(starts) > 1 and sampled:
            raise ValueError(
                f"tasks.{sampled[0]}: a filter samples the model that GRPO starts from, but the variants start from "
                f"{' and '.join(starts)}; allowed: one start for all of them"
            )

    def _orders(self) -> None:
        """Raises ValueError where an order asks for pass rates that no filter samples."""
        for name, variant in self.grpo.variants.items():
            order = variant.order or self.grpo.order
            if order == "shuffled":
                continue
            where = f"grpo.variants.{name}.order" if variant.order else "grpo.order"
            if self.grpo.dynamic_of(name):
                raise ValueError(f"{where}: {order} goes without dynamic, whose further prompts are shuffled")
            missing = [
                task
                for task, settings in self.tasks.items()
                if settings.train != 0 and not any(step.sampled for step in self.steps(task))
            ]
            if missing:
                raise ValueError(f"{where}: {order} needs pass rates; add the filter pass_rate for {missing[0]!r}")
            if {**self.grpo.trainer, **variant.trainer}.get("shuffle_dataset"):
                raise ValueError(f"{where}: {order} goes without shuffle_dataset: true")

    def _reward_tables(self) -> list[tuple[str, dict[str, Weight]]]:
        variants = self.grpo.variants.items()
        return [("grpo.rewards", self.grpo.rewards)] + [
            (f"grpo.variants.{name}.rewards", variant.rewards) for name, variant in variants if variant.rewards
        ]


def _in(path: str, check) -> None:
    try:
        check()
    except (PluginError, RlvrError, ValueError) as error:
        raise ValueError(problems.line(path, str(error))) from None


def _check_task(name: str, config: TaskConfig, with_sft: bool) -> None:
    task = catalogue().task(name)
    options = task_options(name, config.options)
    for where, prompt in {"": config, **{f"prompts.{arm}.": prompt for arm, prompt in config.prompts.items()}}.items():
        _check_user_prompt(f"{where}user_prompt", prompt.user_prompt, task)
    sft = config.sft if with_sft else 0
    if sft != 0 and task.demonstrate is None:
        raise ValueError("sft: this task has no demonstrations; set sft: 0")
    if task.check:
        pool = None if config.train is None or sft is None else max(config.train, sft)
        task.check(options, pool, config.eval)


def _check_user_prompt(where: str, template: str | None, task: Task) -> None:
    if template is not None and task.question is None:
        raise ValueError(f"{where}: is not possible, as this task has no question apart from its message")
    if template is not None and QUESTION not in template:
        shown = template if len(template) < 60 else f"{template[:57]}..."
        raise ValueError(f"{where}: {shown!r} is not possible; allowed: a text with {QUESTION}")


def task_options(name: str, values: dict[str, Any]) -> Any:
    """The task's own options dataclass, checked. Raises RlvrError naming the key."""
    try:
        return plugin_options.load("task", name, values)
    except RlvrError as error:
        raise RlvrError(problems.line("options", str(error))) from None


def load(files: list[Path], overrides: dict[str, Any] | None = None) -> Config:
    """Reads config files, later ones laid over earlier ones, then overrides.

    Raises RlvrError, one line for each problem, naming file, key, value and what is allowed.
    """
    try:
        catalogue()
    except PluginError as error:
        raise RlvrError(str(error)) from None
    raw: dict[str, Any] = {}
    for file in files:
        raw = yaml_files.merge(raw, yaml_files.load_mapping(Path(file)))
    raw = yaml_files.merge(raw, yaml_files.parse_strings(overrides or {}, ""))
    source = ", ".join(str(file) for file in files)
    try:
        return Config.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise RlvrError(
            "\n".join(f"{source}: {line}" for line in problems.lines(error, Config.model_json_schema()))
        ) from None
