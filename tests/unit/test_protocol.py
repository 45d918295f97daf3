"""Protocols: their hashes, their differences, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from rlvr import protocol, protocol_lock
from rlvr.errors import RlvrError
from rlvr.protocol import Decoding, Protocol

PLAIN = Protocol("t", "Think.\nAnswer.", "Q: {question}", "{{ a }}\n{{ b }}", {"2": "<end>"}, max_completion_tokens=8)
ROWS = [{"task": "t", "key": k, "prompt": messages} for k, messages in (
    ("a", [{"role": "system", "content": "Think.\nAnswer."}, {"role": "user", "content": "Q: 1 + 1?\nor 2?"}]),
    ("b", [{"role": "system", "content": "Think.\nAnswer."}, {"role": "user", "content": "Q: "}]),
)]  # fmt: skip

CHANGES = {
    "task": "u",
    "system_prompt": "",
    "user_prompt": None,
    "chat_template": "{{ a }}",
    "end_tokens": {"3": "<end>"},
    "stop": ("\n\n",),
    "completion_prefix": "<think>\n",
    "max_prompt_tokens": 7,
    "max_completion_tokens": 9,
    "decoding": Decoding("greedy"),
}


def test_each_field_counts_in_the_hash_and_those_of_the_prompt_in_its_own():
    assert CHANGES.keys() == {field.name for field in dataclasses.fields(Protocol)}
    for name, value in CHANGES.items():
        other = dataclasses.replace(PLAIN, **{name: value})
        assert other.hash != PLAIN.hash
        assert (other.prompt_hash != PLAIN.prompt_hash) == (name in ("task", *protocol.PROMPT))
        assert [line.partition(":")[0] for line in protocol.difference(PLAIN, other) if line[0] != " "] == [name]


def test_a_difference_shows_the_lines_that_differ_and_is_short():
    other = dataclasses.replace(PLAIN, system_prompt="Think.\nReply.", end_tokens={"2": "<end>", "5": "<|x|>"})
    assert protocol.difference(PLAIN, other) == [
        "system_prompt:",
        "  @@ -1,2 +1,2 @@",
        "   Think.",
        "  -Answer.",
        "  +Reply.",
        'end_tokens: {"2": "<end>"} -> {"2": "<end>", "5": "<|x|>"}',
    ]
    assert protocol.difference(PLAIN, PLAIN) == []
    long = dataclasses.replace(PLAIN, system_prompt="\n".join("x" * 500 for _ in range(900)))
    shown = protocol.difference(PLAIN, long)
    assert len(shown) < 40 and max(map(len, shown)) <= 165
    ends_of_lines = dataclasses.replace(PLAIN, system_prompt="Think.\nAnswer.\n")
    assert protocol.difference(PLAIN, ends_of_lines) == [r"system_prompt: 'Think.\nAnswer.' -> 'Think.\nAnswer.\n'"]


def test_what_a_manifest_holds_is_read_back_and_an_edited_one_refused():
    whole = dataclasses.replace(PLAIN, stop=("x",), decoding=Decoding("sampled", 4, 0.7, 0.9, 0))
    held = json.loads(json.dumps(protocol.facts({"t": whole})))
    assert protocol.of_facts(held) == {"t": whole}
    held["t"]["chat_template"] = "{{ b }}"
    with pytest.raises(RlvrError, match=r"its hash .* is not that of its fields"):
        protocol.of_facts(held)


def test_limits_and_decoding_may_differ_between_training_and_evaluation():
    other = dataclasses.replace(PLAIN, max_prompt_tokens=1, max_completion_tokens=99, decoding=Decoding("greedy"))
    protocol_lock.require_same([other], {"t": PLAIN}, "here", "there")
    with pytest.raises(RlvrError, match="max_completion_tokens: 8 -> 99"):
        protocol_lock.require_same([other], {"t": PLAIN}, "here", "there", ["max_completion_tokens"])


@pytest.mark.parametrize("name", protocol.PROMPT)
def test_another_prompt_is_refused_and_another_tokenizer_for_other_tasks_too(name):
    other = dataclasses.replace(PLAIN, **{name: CHANGES[name]})
    with pytest.raises(RlvrError, match=rf"here: the protocol of t \(\+\) is not that of there \(-\)(.|\n)*  {name}:"):
        protocol_lock.require_same([other], {"t": PLAIN}, "here", "there")
    unknown = {"other task": dataclasses.replace(PLAIN, task="other task")}
    if name in protocol.ROWS:
        protocol_lock.require_same([other], unknown, "here", "there")
    else:
        with pytest.raises(RlvrError, match=f"{name}:"):
            protocol_lock.require_same([other], unknown, "here", "there")


def test_rows_are_held_against_the_prompts_that_are_known():
    assert protocol_lock.of_rows(ROWS, {"t": PLAIN}) == {"t": PLAIN}
    assert protocol_lock.of_rows(ROWS, {}) == {"t": Protocol("t", "Think.\nAnswer.", None)}
    with pytest.raises(RlvrError, match=r"row 'a' of t: stands under another system prompt(.|\n)*\+Answer\."):
        protocol_lock.of_rows(ROWS, {"t": dataclasses.replace(PLAIN, system_prompt="Think.")})
    with pytest.raises(RlvrError, match=r"row 'a' of t: its message .* is not made from the user_prompt"):
        protocol_lock.of_rows(ROWS, {"t": dataclasses.replace(PLAIN, user_prompt="A: {question}")})
    mixed = [ROWS[0], {**ROWS[1], "prompt": ROWS[1]["prompt"][1:]}]
    with pytest.raises(RlvrError, match="row 'b' of t: stands under another system prompt"):
        protocol_lock.of_rows(mixed, {})
