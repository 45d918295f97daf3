"""A tiny Qwen3 model and its tokenizer, built from nothing, so that the pipeline runs without a hub.

Both builders are deterministic: the same texts, in the same order, give the same tokenizer, and the same
seed gives the same weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

PAD = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"

#: ChatML. The last assistant turn ends at its end-of-turn token, with no newline to learn after it.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}"
    "{% if not (loop.last and message['role'] == 'assistant') %}{{ '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def render(messages: Sequence[Mapping[str, str]]) -> str:
    """The text of a conversation under the chat template; a last user turn opens the answer."""
    return _template().render(messages=messages, add_generation_prompt=messages[-1]["role"] != "assistant")


@cache
def _template() -> Template:
    from jinja2 import Environment

    return Environment(autoescape=False).from_string(CHAT_TEMPLATE)


def build_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with a ChatML template on ``texts``.

    ``texts`` are whole conversations, rendered with the chat template. Merges may cross spaces, so that a
    phrase of a prompt that is always the same becomes a few tokens. They never cross the edge of a number, so
    that a number reads the same wherever it stands, nor the end of the assistant header, so that the tokens of
    a prompt are a prefix of the tokens of the prompt with its completion. Any UTF-8 text survives
    encoding and decoding.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("assistant\n"), behavior="isolated"),
            pre_tokenizers.Split(Regex("[0-9]+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, TURN_START, TURN_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # The trainer sees special tokens as text: cut them out, as encoding does.
    special = re.compile("|".join(map(re.escape, (PAD, TURN_START, TURN_END))))
    pieces = (piece for text in texts for piece in special.split(text) if piece)
    tokenizer.train_from_iterator(pieces, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=TURN_END,
        additional_special_tokens=[TURN_START],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    hidden_size: int = 128,
    layers: int = 3,
    heads: int = 4,
    max_positions: int = 256,
) -> Qwen3ForCausalLM:
    """Return a Qwen3 model with random float32 weights drawn from ``seed``, its embeddings tied.

    The vocabulary is that of ``tokenizer``. The global random state is left as it was. Not Qwen2, because
    transformers replaces the tokenizer of any Qwen2 checkpoint that it loads by Qwen2's own.
    """
    import torch
    from transformers import Qwen3ForCausalLM

    config = model_config(len(tokenizer), hidden_size, layers, heads, max_positions)
    config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def model_config(vocabulary: int, hidden_size: int, layers: int, heads: int, max_positions: int) -> Qwen3Config:
    """The shape of the model; its special tokens are those of the tokenizer."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden_size // heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        dtype="float32",
    )
