"""The sections of an experiment's config, each checked by itself; `config.Config` puts them together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from rlvr import adapter_targets, resuming
from rlvr.trainer_combinations import check_by_group, check_groups, check_loss, check_together
from rlvr.trainer_options import check_options, value

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=-1000, le=1000)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


Arm = Literal["base", "sft", "grpo"]


class ArmPrompt(Section):
    """The prompt under which an arm is evaluated; what is left out stays as in training."""

    system_prompt: str | None = Field(None, description='Replaces that of training; "" leaves it out.')
    user_prompt: str | None = Field(None, description="Replaces that of training; with `{question}` too.")


class SecondLabels(Section):
    """Another task's labels for the same questions, as those of GSM8K-Platinum for GSM8K."""

    task: str = Field(description="A task by plugin name, whose held-out items have the same wording.")
    options: dict[str, Any] = Field({}, description="Its own options.")


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
    second_labels: SecondLabels | None = Field(
        None, description="Judge the same completions by another task's labels too, side by side in the report."
    )


class Adapter(Section):
    """A LoRA adapter; both SFT and GRPO train it."""

    r: Count = Field(32, description="Rank.")
    alpha: Annotated[float, Field(gt=0)] = Field(32, description="Scale is alpha / r.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Dropout on the adapter's input.")
    load_in_4bit: bool = Field(False, description="QLoRA: the frozen base is held in 4 bits (NF4) while training.")
    target_modules: str | list[str] = Field(
        "all-linear",
        description="Layers that get an adapter, PEFT's names; not the embeddings where the base ties them.",
    )

    @model_validator(mode="after")
    def _targets(self) -> Adapter:
        adapter_targets.check(self.target_modules)
        return self


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

    @model_validator(mode="after")
    def _options_together(self) -> Sft:
        check_together("sft", self.trainer, "trainer")
        for name, variant in self.variants.items():
            check_together("sft", {**self.trainer, **variant.trainer}, f"variants.{name}.trainer")
        return self


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
    max_logp_difference: float | None = Field(
        0.5,
        gt=0,
        description="Training stops where the log-probabilities of sampled tokens differ by more between what sampled "
        "and what trains, as a mean over a step: stale or wrong weights; null: never.",
    )
    max_zero_variance_steps: Count | None = Field(
        100,
        description="Training stops after so many steps in a row in which all completions of each prompt earned the "
        "same, or no reward applied: nothing is learned from them; said after 10; null: never, as in controls.",
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
            options = {**self.trainer, **variant.trainer}
            check_together("grpo", options, where)
            check_groups(options, where)
            check_loss(options, where)
            resuming.check(options, where)
            group = value("grpo", options, "num_generations")
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
    cross_protocol: bool = Field(
        False,
        description="Where an arm has a prompt of its own, it also answers under that of training, and the other arms "
        "under that arm's; in a table of their own.",
    )
    repeat: int | None = Field(
        None,
        ge=0,
        description="Held-out items of each task that one model answers once more, shuffled and one at a time, to "
        "measure how far the engine repeats itself; 0: none; null: 64 where it promises nothing (vLLM, a GPU).",
    )
    lm_eval: bool = Field(
        False,
        description="Have lm-eval answer and judge the same items too, where answers are numbers; needs the extra "
        "`lm-eval`.",
    )

    @model_validator(mode="after")
    def _whole_items(self) -> Evaluation:
        if self.sampled and self.batch_size < self.sampled.samples:
            raise ValueError(
                f"batch_size: {self.batch_size} is not possible; allowed: sampled.samples ({self.sampled.samples}) or "
                "more, as the samples of an item are generated together"
            )
        return self


class Gate(Section):
    """Holds each merged model against its policy, the base with its adapter; past a bound the run stops."""

    mode: Literal["refuse", "warn", "off"] = Field(
        "refuse", description="What happens past a bound, or where a weight differs by more than rounding."
    )
    prompts: Count = Field(16, description="Held-out prompts of each task.")
    max_completion_tokens: Count = Field(
        32, description="Tokens that the policy answers each with, at most, over which both models are compared."
    )
    mean_kl: float = Field(0.02, gt=0, description="Largest mean of the KL divergence at a token, nats.")
    max_kl: float = Field(0.5, gt=0, description="Largest KL divergence at any token, nats.")
    agreement: float = Field(0.9, ge=0, le=1, description="Least share of tokens with the same most probable one.")
    max_logit_difference: float = Field(
        3.0, gt=0, description="Largest difference of a log-probability among the policy's 10 most probable tokens."
    )


class Leakage(Section):
    """Training and SFT rows that stand in an evaluation set of the experiment."""

    found: Literal["drop", "refuse"] = Field("drop", description="What happens to them; they are counted either way.")
    rules: list[Literal["item", "exact", "normalised", "ngram"]] = Field(
        ["item", "exact", "normalised"],
        description="What makes a row one of an evaluation set; those of the filter `decontaminate`.",
        min_length=1,
    )
    ngram: int = Field(
        8,
        ge=2,
        description="Rows that share a run of so many words with an evaluation question are counted; they are found "
        "only where `rules` names `ngram`.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Leakage:
        if len(set(self.rules)) < len(self.rules):
            raise ValueError("rules: each rule once")
        return self


Control = Literal["random_reward", "format_only", "sft_longer"]


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
