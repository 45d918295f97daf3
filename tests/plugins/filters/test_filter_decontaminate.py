from __future__ import annotations

from collections import Counter

import pytest
from filter_cases import check, gsm8k, reasons, refuses, row, rows_of, selected

from rlvr_plugins import Example
from rlvr_plugins.manager import catalogue

HELD_OUT = "Tom has 3 red apples and eats 2 of them. How many are left?"


def against(rows, *held_out, rules=("item", "exact", "normalised", "ngram"), name="gsm8k", **options):
    task = catalogue().task(name)
    examples = [Example(key, {"question": text, "answer": "5"}) for key, text in held_out]
    found = reasons(
        "decontaminate", rows, {"rules": rules, **options}, evaluation=lambda: iter([(task, each) for each in examples])
    )
    assert all(reason.startswith("in an evaluation set: ") for reason in found if reason)
    return [reason.removeprefix("in an evaluation set: ") for reason in found]


@pytest.mark.parametrize(
    ("key", "text", "rule"),
    [
        ("k", "Something else", "item"),
        ("other", HELD_OUT, "exact"),
        ("other", HELD_OUT.lower(), "normalised"),
        ("other", "Ann says: Tom has 3 red apples and eats 2 pears", "ngram"),
        ("other", "Tom has 3 red apples. And eats a pear", ""),
        ("other", "Tom has 3 red apples - and eats 2 of them", ""),
        ("other", "", ""),
    ],
)
def test_the_first_rule_that_hits_is_named(key, text, rule):
    assert against([row(text, key=key)], ("k", HELD_OUT)) == [rule]


def test_rules_are_tried_in_the_order_given_and_only_those():
    rows = [row(HELD_OUT, key="k"), row(HELD_OUT.lower())]
    assert against(rows, ("k", HELD_OUT), rules=("ngram", "item")) == ["ngram", "ngram"]
    assert against(rows, ("k", HELD_OUT), rules=("exact",)) == ["exact", ""]
    assert against(rows, ("k", HELD_OUT), rules=("normalised",)) == ["normalised", "normalised"]


def test_the_length_of_a_run_is_an_option():
    rows = [row("Tom has 3 pears")]
    assert against(rows, ("k", HELD_OUT), rules=("ngram",), ngram=3) == ["ngram"]
    assert against(rows, ("k", HELD_OUT), rules=("ngram",), ngram=4) == [""]


def test_questions_without_words_are_not_all_one():
    assert against([row("△ ?", key="a")], ("k", "□ ?")) == [""]


def test_countdown_items_are_the_same_up_to_order_whatever_the_prompt_says():
    task = catalogue().task("countdown")
    held_out = task.items(task.options(), 10, 20, 0).eval
    first = held_out[0]
    turned = Example(first.key, {**first.fields, "numbers": first.fields["numbers"][::-1], "operators": "+"})
    train = task.items(task.options(), 200, 20, 0).train
    rows = rows_of(task, [turned, *train])
    found = reasons("decontaminate", rows, task=task, evaluation=lambda: ((task, example) for example in held_out))
    assert Counter(found) == {"in an evaluation set: item": 1, "": len(rows) - 1}


def test_gsm8k_train_shares_phrases_with_test_but_no_question():
    task = catalogue().task("gsm8k")
    rows, held_out = rows_of(task, gsm8k("train")), gsm8k("test")
    found = Counter(reasons("decontaminate", rows, evaluation=lambda: ((task, example) for example in held_out)))
    assert found == {"in an evaluation set: ngram": 98, "": 7473 - 98}
    options = {"rules": ["ngram"], "ngram": 13}
    longer = reasons("decontaminate", rows, options, evaluation=lambda: ((task, example) for example in held_out))
    assert sum(map(bool, longer)) == 4


def test_every_test_question_of_gsm8k_would_be_found():
    task, held_out = catalogue().task("gsm8k"), gsm8k("test")
    for rule in ("item", "exact", "normalised"):
        options = {"rules": [rule]}
        rows = rows_of(task, held_out)
        found = reasons("decontaminate", rows, options, evaluation=lambda: ((task, example) for example in held_out))
        assert set(found) == {f"in an evaluation set: {rule}"}


def test_a_task_without_wording_needs_the_rule_for_items():
    check("decontaminate", "countdown")
    check("decontaminate", "gsm8k", rules=("ngram",))
    with pytest.raises(ValueError, match="rules: the items of 'countdown' have no wording of their own; add item"):
        check("decontaminate", "countdown", rules=("exact", "ngram"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rules": ()}, "rules must be one or more of item, exact, normalised, ngram, each once"),
        ({"rules": ("item", "item")}, "each once"),
        ({"ngram": 1}, "ngram must be at least 2"),
    ],
)
def test_bad_options(options, expected):
    refuses("decontaminate", options, expected)


def test_the_question_it_is_like_is_shown():
    task = catalogue().task("gsm8k")
    held_out = Example("k", {"question": HELD_OUT, "answer": "5"})
    found = selected("decontaminate", [row(HELD_OUT, key="other")], evaluation=lambda: iter([(task, held_out)]))
    assert found == [f"in an evaluation set: exact\n{HELD_OUT}"]
