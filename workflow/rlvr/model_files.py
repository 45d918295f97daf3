"""What a folder must hold to be a base model: each lack is one line.

Only files are read here; the tokenizer is loaded as the stages load it. Nothing runs that comes with a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlvr.errors import RlvrError

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".gguf", ".onnx")
FILES = ("*.json", "*.txt", "*.jinja", "tokenizer.model")
LEFT_OUT = ("consolidated", "adapter_")


def wanted(names: Iterable[str]) -> list[str]:
    """Of the files of a model those that are read, the large ones last; folders inside are left out."""
    files = [Path(name) for name in names if "/" not in name and not name.startswith((*LEFT_OUT, "."))]
    small = [file for file in files if any(file.match(pattern) for pattern in FILES)]
    return sorted(map(str, small)) + sorted(str(file) for file in files if file.suffix == ".safetensors")


def require_safetensors(names: Iterable[str], model: str) -> None:
    """Raises RlvrError for a model without safetensors, and for an adapter, naming what was found."""
    names = sorted(names)
    if "adapter_config.json" in names and "config.json" not in names:
        raise RlvrError(
            f"base: {model} is an adapter; allowed: a whole model, such as the adapter merged into its base"
        )
    if any(name.endswith(".safetensors") for name in wanted(names)):
        return
    others = [name for name in names if name.endswith(PICKLES)]
    found = f"only {', '.join(others[:3])}{' …' if len(others) > 3 else ''}" if others else "no weights"
    raise RlvrError(
        f"base: {model} has no *.safetensors file, {found}; other formats may hold code and are not read; allowed: a "
        "model or a commit with safetensors"
    )


def require_readable(folder: Path, model: str) -> None:
    """Raises RlvrError where what a folder holds is no model's: links to nothing, folders named like files, odd JSON.

    Reads no weights and imports nothing, so that a config can be checked by it.
    """
    for file in sorted(folder.iterdir()):
        if not wanted([file.name]):
            continue
        if file.is_symlink() and not file.exists():
            raise RlvrError(f"base: {model}: {file.name} is a link to nothing; copy the whole model")
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "no file"
            raise RlvrError(f"base: {model}: {file.name} is {kind}; allowed: a file, as the model was saved")
    config = _mapping(folder / "config.json", model)
    if not isinstance(config.get("model_type", ""), str):
        raise RlvrError(f"base: {model}: config.json is damaged (model_type is no text)")
    quantisation = config.get("quantization_config")
    if quantisation is not None and not (isinstance(quantisation, dict) and quantisation):
        problem = "is empty" if quantisation == {} else "is no mapping"
        raise RlvrError(f"base: {model}: config.json is damaged (quantization_config {problem})")
    _mapping(folder / "tokenizer_config.json", model)
    ends = _mapping(folder / "generation_config.json", model).get("eos_token_id")
    if ends is not None and not all(type(end) is int for end in (ends if isinstance(ends, list) else [ends])):
        raise RlvrError(f"base: {model}: generation_config.json is damaged (eos_token_id is no number, nor a list)")
    _shards(folder, model)


def require_usable(folder: Path, model: str) -> None:
    """Raises RlvrError where config and tokenizer ask for code of their own, are quantised or have no chat template,
    and where no model can be built by the config."""
    config = _mapping(folder / "config.json", model)
    _require_native(config, model)
    if config.get("quantization_config"):
        method = config["quantization_config"].get("quant_method", "unknown")
        raise RlvrError(
            f"base: {model} is stored quantised ({method}), and an adapter merged into that would be rounded; allowed: "
            "the same model in 16 bits"
        )
    _require_buildable(folder, model)
    _require_template(folder, model)


def transformers_config(folder: Path, model: str) -> Any:
    """The config of a model as transformers reads it. Raises RlvrError where it can't."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        config.get_text_config().to_dict()  # a part may be no config at all
        return config
    except Exception as error:  # whatever the class of a model's config raises
        raise _unusable(model, error) from None


def _require_buildable(folder: Path, model: str) -> None:
    """Builds the model without memory for its weights."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    config = transformers_config(folder, model)
    try:
        with torch.device("meta"), no_init_weights():
            AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever a model's layers raise
        raise _unusable(model, error) from None


def _unusable(model: str, error: Exception) -> RlvrError:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return RlvrError(f"base: {model}: config.json can't be used ({said if len(said) < 200 else f'{said[:197]}...'})")


def require_whole(folder: Path, model: str) -> None:
    """Raises RlvrError where safetensors are missing, cut off or damaged in their headers."""
    from safetensors import SafetensorError, safe_open

    shards = {file.name for file in folder.glob("*.safetensors")}
    if named := _shards(folder, model):
        if missing := sorted(named - shards):
            raise RlvrError(f"base: {model}: {missing[0]} is missing, which {INDEX} names; copy the whole model")
        shards = named
    for shard in sorted(shards):
        try:
            with safe_open(folder / shard, "numpy") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            raise RlvrError(
                f"base: {model}: {shard} is cut off or damaged ({first_line(error)}); fetch it again"
            ) from None


def _shards(folder: Path, model: str) -> set[str]:
    """The files that the index of a model in parts names; empty where there is no index."""
    if not (folder / INDEX).is_file():
        return set()
    names = _mapping(folder / INDEX, model).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise RlvrError(f"base: {model}: {INDEX} is damaged (weight_map names no files)")
    for name in names.values():
        if name != Path(name).name or not name.endswith(".safetensors"):
            raise RlvrError(f"base: {model}: {INDEX} names {name[:80]!r}; allowed: *.safetensors files beside it")
    return set(names.values())


def first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _require_native(config: dict[str, Any], model: str) -> None:
    from transformers import __version__
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    kind = config.get("model_type")
    if kind in KNOWN:
        return
    if config.get("auto_map"):
        raise RlvrError(
            f"base: {model} needs code from its own repository (auto_map in config.json), which is never run; allowed: "
            f"a model of a type that transformers {__version__} has itself"
        )
    raise RlvrError(
        f"base: {model} is of type {kind!r}, for which transformers {__version__} has no causal language model; "
        "allowed: one that it has"
    )


def _require_template(folder: Path, model: str) -> None:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # a tokenizer's files can fail in many ways
        if _mapping(folder / "tokenizer_config.json", model).get("auto_map"):
            raise RlvrError(
                f"base: {model}: its tokenizer needs code from its own repository (auto_map in tokenizer_config.json), "
                "which is never run; allowed: a model with a tokenizer.json"
            ) from None
        raise RlvrError(f"base: {model}: its tokenizer can't be read ({first_line(error)})") from None
    if not tokenizer.chat_template:
        raise RlvrError(
            f"base: {model} has no chat template (chat_template in tokenizer_config.json); allowed: the instruct "
            "version of the model, or a folder with a copy of it and a chat_template.jinja"
        )
    user = {"role": "user", "content": "1 + 1"}
    for prompt in ([user], [{"role": "system", "content": "Add."}, user]):  # some want a system prompt
        try:
            tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            return
        except Exception as error:  # whatever a template raises
            said = first_line(error)
    raise RlvrError(f"base: {model}: its chat template can't be rendered ({said})")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _mapping(file: Path, model: str) -> dict[str, Any]:
    """The content of a JSON file, empty where there is no such file."""
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else "{}"
        content = json.loads(text, parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise RlvrError(f"base: {model}: {file.name} is damaged ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise RlvrError(f"base: {model}: {file.name} is damaged (no mapping)")
    return content
