"""The check of training and SFT rows against the evaluation sets: a step that no list of filters has to name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlvr import plugin_options
from rlvr.filters import Step
from rlvr.leaks import FILTER
from rlvr.sections import Leakage
from rlvr_plugins import Task
from rlvr_plugins.manager import catalogue

NAME = "leakage"
ITEM, NGRAM = "item", "ngram"


def checked(steps: Sequence[Step], task: Task, section: Leakage) -> list[Step]:
    """The steps with the check after the last one that samples no model, unless one of them is that check already.

    Where rows that are found end the run, the check comes before any step that would drop them. Raises ValueError
    naming the key, where no rule applies to the task.
    """
    rules = [rule for rule in section.rules if rule == ITEM or task.question]
    if not rules:
        raise ValueError(f"leakage.rules: the items of {task.name!r} have no wording of their own; add item")
    if section.found == "drop" and covering(steps, rules, section.ngram):
        return list(steps)
    droppers = [place for place, step in enumerate(steps) if step.filter == FILTER and section.found == "refuse"]
    place = min([*droppers, sum(not step.sampled for step in steps)])
    plugin = catalogue().filter(FILTER)
    options = plugin_options.load("filter", FILTER, {"rules": rules, "ngram": section.ngram})
    counted = section.ngram if task.question and NGRAM not in rules else None
    step = Step(
        f"{place + 1:02d}-{NAME}",
        FILTER,
        plugin_options.dump("filter", FILTER, options),
        plugin.splits,
        {"found": section.found, "ngram": counted},
    )
    after = [replace(each, name=f"{n:02d}-{each.filter}") for n, each in enumerate(steps[place:], place + 2)]
    return [*steps[:place], step, *after]


def covering(steps: Sequence[Step], rules: Sequence[str], ngram: int) -> Step | None:
    """The step of a user's list that finds all that these rules find."""
    for step in steps:
        if step.filter != FILTER or set(step.splits) != set(step.plugin.splits):
            continue
        if set(rules) <= set(step.options["rules"]) and (NGRAM not in rules or step.options["ngram"] <= ngram):
            return step
    return None


def step_of(steps: Sequence[Step]) -> Step | None:
    """The step that checks a task's rows: the added one, or the first of the user's."""
    found = [step for step in steps if step.filter == FILTER]
    return next((step for step in found if step.leakage), next(iter(found), None))
