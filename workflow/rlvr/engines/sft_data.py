"""Looks at what SFT is about to train on: the tokens that carry loss, and examples packed together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers import PreTrainedTokenizerBase
from trl import SFTTrainer

from rlvr import chat_template, console
from rlvr.errors import RlvrError

IGNORED = -100
PROBED = 100
"""Rows by which it is decided whether the chat template leaves demonstrations as they are."""
ROWS_AT_ONCE = 1000
PROBE_LENGTH = 16
TOLERANCE = 1e-4
"""Of the logits' standard deviation. Where examples stay apart the difference is 0; where a short
convolution lets in three tokens of another it is 9e-4, under full attention about 1."""


def rows(tokenizer: PreTrainedTokenizerBase, read: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Prompt and completion of rows, as messages, and the chat template that they are for.

    That is the tokenizer's own, or, where it cuts demonstrations or puts something between them and the generation
    prompt, one that passes on the texts of generation prompt and demonstration: SFT has to teach what follows the
    prompt that sampling gives.
    """
    pairs = [(row["prompt"], row["completion"][-1]["content"]) for row in read]
    if all(chat_template.renders_whole(tokenizer, *pair) for pair in pairs[:: -(-len(pairs) // PROBED) or 1]):
        return [{key: row[key] for key in ("prompt", "completion")} for row in read], tokenizer.chat_template
    texts = [chat_template.demonstrated(tokenizer, *pair) for pair in pairs]
    rendered = [
        {"prompt": [{"role": "user", "content": before}], "completion": [{"role": "assistant", "content": after}]}
        for before, after in texts
    ]
    return rendered, chat_template.PASS_THROUGH


def count_loss(trainer: SFTTrainer, demonstrations: int) -> tuple[int, int]:
    """Tokens that one pass trains on, and how many of them carry loss; says so.

    Raises RlvrError when of one of the `demonstrations` nothing that carries loss is left.
    """
    tokens = carrying = whole = 0
    for lengths, loss in _examples(trainer):
        tokens += int(lengths.sum())
        carrying += int(loss.sum())
        whole += int((loss > 0).sum())
    if whole < demonstrations:
        raise RlvrError(
            f"sft: {demonstrations - whole} of {demonstrations} demonstrations carry no loss, nothing of their "
            f"completion is left; allowed: a larger sft.trainer.max_length (it is {trainer.args.max_length}), or "
            f"filters: [{{tokens: {{max: N}}}}] with N up to it"
        )
    console.say(f"sft: {tokens:,} tokens, {100 * carrying / tokens:.1f} % carry loss")
    return tokens, carrying


def _examples(trainer: SFTTrainer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Lengths of examples and their numbers of tokens with loss; a packed row holds several examples."""
    for table in trainer.train_dataset.with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
        packed = "seq_lengths" in table.column_names
        lengths = pc.list_flatten(table["seq_lengths"]) if packed else pc.list_value_length(table["input_ids"])
        lengths = np.asarray(lengths).astype(np.int64)
        before = np.concatenate([[0], np.cumsum(_carrying(table))])
        ends = np.cumsum(lengths)
        yield lengths, before[ends] - before[ends - lengths]


def _carrying(table: pa.Table) -> np.ndarray:
    """Whether each token of all rows carries loss: by TRL's labels, or by the mask that Unsloth leaves on a GPU."""
    if "labels" in table.column_names:
        return np.asarray(pc.list_flatten(table["labels"])) != IGNORED
    return np.asarray(pc.list_flatten(table["completion_mask"])) != 0


def require_apart(trainer: SFTTrainer) -> None:
    """Raises RlvrError when the model lets an example see the one before it in the same row.

    Two different examples are put before a third by the trainer's own collator, as packing and
    padding-free batches do; the logits of the third have to stay the same.
    """
    arguments = trainer.args
    if not (arguments.packing or arguments.padding_free):
        return
    model = trainer.model
    vocabulary = model.get_input_embeddings().num_embeddings
    first = torch.arange(PROBE_LENGTH) % vocabulary
    third = (first * 7 + 3) % vocabulary
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = [_logits_of_second(trainer, other.tolist(), third.tolist()) for other in (first, first.flip(0))]
    model.train(was_training)
    apart = (logits[0] - logits[1]).abs().max()
    if apart <= TOLERANCE * logits[0].std():
        return
    option = "packing" if arguments.packing else "padding_free"
    wrapped = arguments.packing and arguments.packing_strategy == "wrapped"
    config = model.config
    raise RlvrError(
        f"sft.trainer.{option}: {config.model_type} ({config._attn_implementation} attention) lets an example see the "
        f"one before it in its row; allowed: false{' or packing_strategy: bfd' if wrapped else ''}"
    )


def _logits_of_second(trainer: SFTTrainer, first: list[int], second: list[int]) -> torch.Tensor:
    if not trainer.args.packing:
        rows = [{"input_ids": first}, {"input_ids": second}]
    elif trainer.args.packing_strategy == "wrapped":
        rows = [{"input_ids": first + second}]
    else:
        rows = [{"input_ids": first + second, "seq_lengths": [len(first), len(second)]}]
    batch = trainer.data_collator(rows)
    batch = {key: value.to(trainer.args.device) for key, value in batch.items() if key != "labels"}
    logits = trainer.model(**batch, use_cache=False).logits
    return logits[0, len(first) : len(first) + len(second)].float()
