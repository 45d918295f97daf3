"""The hooks a plugin may implement."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from rlvr_plugins.filter_types import Filter
from rlvr_plugins.types import Reward, Task

PROJECT = "rlvr"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def rlvr_tasks() -> Iterable[Task]:
    """Tasks this plugin provides.

    Example:
        from dataclasses import dataclass

        from rlvr_plugins import Example, Task, Verdict, hookimpl


        @dataclass(frozen=True)
        class Options:
            longest: int = 8


        def splits(options, train, eval, seed):
            "Words to be spelt backwards."
            words = ["stone", "river", "cloud"]
            examples = [Example(word, {"word": word}) for word in words if len(word) <= options.longest]
            return examples[1:][:train], examples[:1][:eval]


        def user(example):
            return f"Spell {example.fields['word']} backwards."


        def verify(completion, example):
            right = completion.strip() == example.fields["word"][::-1]
            return Verdict(strict=right, flexible=right, well_formed=True, answer=completion.strip()[:200])


        @hookimpl
        def rlvr_tasks():
            yield Task("reverse", options=Options, splits=splits, system="", user=user, verify=verify)
    """


@hookspec
def rlvr_find_task(name: str) -> Task | None:
    """A task made on demand, for a name of the form `family:member`; None where it is not yours.

    For families too large to list. Raises ValueError, in one line, on a member that does not exist.

    Example:
        from rlvr_plugins import hookimpl


        @hookimpl
        def rlvr_find_task(name):
            family, _, language = name.partition(":")
            return spelling_task(name, language) if family == "spelling" else None
    """


@hookspec
def rlvr_rewards() -> Iterable[Reward]:
    """Rewards this plugin provides.

    Example:
        from rlvr_plugins import Reward, Sample, hookimpl


        def digits(sample: Sample) -> float:
            "Half a point for an answer of digits only."
            return 0.5 if sample.answer.isdecimal() else 0.0


        @hookimpl
        def rlvr_rewards():
            yield Reward("digits", digits, bounds=(0.0, 0.5))
    """


@hookspec
def rlvr_filters() -> Iterable[Filter]:
    """Filters this plugin provides.

    Example:
        from dataclasses import dataclass

        from rlvr_plugins import Filter, hookimpl


        @dataclass(frozen=True)
        class Options:
            max: int = 60


        def start(options, context):
            "Drops prompts of more than `max` words."

            def select(rows):
                return ["too many words" if len(row.user.split()) > options.max else "" for row in rows]

            return select


        @hookimpl
        def rlvr_filters():
            yield Filter("words", options=Options, start=start)
    """
