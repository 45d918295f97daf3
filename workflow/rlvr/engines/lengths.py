"""Lengths of rows under a model's tokenizer and chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer

from rlvr.errors import RlvrError
from rlvr_plugins import Row


class Lengths:
    """Counts tokens, a batch of rows at a time, on all threads that the tokenizer may use.

    base: folder of the tokenizer. Raises RlvrError where it has no chat template.
    """

    def __init__(self, base: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(base)
        if not self._tokenizer.chat_template:
            raise RlvrError(f"{base}: the tokenizer has no chat template; take an instruct model")

    def prompts(self, rows: Sequence[Row]) -> list[int]:
        """Of each prompt with the header of the answer, tokens."""
        return self.conversations([[*row.prompt] for row in rows])

    def wholes(self, rows: Sequence[Row]) -> list[int]:
        """Of each prompt with its completion, as in SFT, tokens; of the prompt alone where there is none."""
        if any(row.completion is None for row in rows):
            return self.prompts(rows)
        whole = [[*row.prompt, {"role": "assistant", "content": row.completion}] for row in rows]
        return self.conversations(whole, opened=False)

    def overhead(self, conversation: list) -> int:
        """Bytes that the chat template adds to the messages of a conversation."""
        text = self._tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        return len(text.encode()) - sum(len(message["content"].encode()) for message in conversation)

    def conversations(self, conversations: list[list], opened: bool = True) -> list[int]:
        """Of each list of messages, tokens. opened: with the header of the answer."""
        if not conversations:
            return []
        texts = self._tokenizer.apply_chat_template(conversations, tokenize=False, add_generation_prompt=opened)
        fast = getattr(self._tokenizer, "backend_tokenizer", None)
        if fast is not None:  # half as fast again as the tokenizer's own call
            return [len(encoding) for encoding in fast.encode_batch_fast(texts, add_special_tokens=False)]
        return [len(ids) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]


def limit(base: Path) -> int | None:
    """Longest sequence that a model takes, tokens; None where its config does not say."""
    return json.loads((base / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")


def within(base: Path, wanted: int | None) -> int:
    """A length that the user set, or the model's own limit where that is shorter or no length is set."""
    known = [length for length in (wanted, limit(base)) if length]
    if not known:
        raise RlvrError(f"{base}: its config.json has no max_position_embeddings; set sft.trainer.max_length")
    return min(known)
