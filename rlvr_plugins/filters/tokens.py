"""Length of prompt, completion and both, in tokens of the model that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr_plugins import Filter, FilterContext, Row, hookimpl


@dataclass(frozen=True)
class Options:
    """Bounds in tokens of the training tokenizer, with its chat template; at least one.

    max: longest prompt and completion together; of a training row, which has no completion, its prompt.
    max_prompt: longest prompt, with the header of the answer.
    max_completion, min_completion: longest and shortest demonstration of an SFT row.
    """

    max: int | None = None
    max_prompt: int | None = None
    max_completion: int | None = None
    min_completion: int | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            raise ValueError("one of max, max_prompt, max_completion and min_completion must be given")
        for name, value in given.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1")
        if None not in (self.max_completion, self.min_completion) and self.min_completion > self.max_completion:
            raise ValueError("min_completion must be at most max_completion")


def start(options: Options, context: FilterContext):
    """Drops what is too long, in tokens of the training tokenizer and chat template."""
    sft = context.split == "sft"
    of_completion = sft and (options.max_completion, options.min_completion) != (None, None)
    of_prompt = options.max_prompt is not None or (not sft and options.max is not None)
    of_whole = sft and options.max is not None

    def select(rows: Sequence[Row]) -> list[str]:
        nothing = [0] * len(rows)
        prompts = context.prompt_tokens(rows) if of_prompt or of_completion else nothing
        wholes = context.whole_tokens(rows) if of_whole or of_completion else prompts
        return [_reason(options, sft, *lengths) for lengths in zip(prompts, wholes, strict=True)]

    return select


def _reason(options: Options, sft: bool, prompt: int, whole: int) -> str:
    if options.max_prompt is not None and prompt > options.max_prompt:
        return "prompt too long"
    if sft and options.max_completion is not None and whole - prompt > options.max_completion:
        return "completion too long"
    if sft and options.min_completion is not None and whole - prompt < options.min_completion:
        return "completion too short"
    return "too long" if options.max is not None and whole > options.max else ""


@hookimpl
def rlvr_filters():
    yield Filter("tokens", options=Options, start=start, needs=("tokenizer",), offline={"max": 200})
