"""A model of the hub at a pinned commit: looked at before its weights are fetched, verified afterwards.

Files lie in the hub client's own cache, where a download that broke off is taken up again.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from rlvr import console, folders, model_files
from rlvr.errors import RlvrError
from rlvr_plugins.tasks import hub


def fetch(model: str, revision: str, copied_to: Path) -> Path:
    """Folder with the files of the model, from the cache when all are there.

    Raises RlvrError, one line, when the hub can't give them, the model can't be used, a digest is not that of
    the hub, or there is too little room for them and for their copy in `copied_to`.
    """
    try:
        hub.require_commit(f"base: {model}", revision)
        folder = cached(model, revision) or _download(model, revision, copied_to)
    except hub.HubError as error:
        raise RlvrError(str(error)) from None
    for file in _files(folder):
        _verify(file, model)
    return folder


def cached(model: str, revision: str) -> Path | None:
    """The snapshot in the cache, None where it may be the rest of a broken download."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(model, "config.json", revision=revision)
    except HFValidationError as error:
        raise RlvrError(f"base: {model}: {model_files.first_line(error)}; allowed: OWNER/NAME") from None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    index = folder / model_files.INDEX
    try:
        shards = (
            set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            if index.is_file()
            else {model_files.WEIGHTS}
        )
    except (ValueError, KeyError, AttributeError):
        return None
    needed = (*shards, "tokenizer_config.json")
    return folder if all((folder / name).is_file() for name in needed) else None


def _download(model: str, revision: str, copied_to: Path) -> Path:
    from huggingface_hub import constants

    name = f"{model} at {revision[:12]}"
    hub.require_hub(f"base: {name}", "connect, or set base to a folder or to tiny")
    listed = hub.info(f"base: {name}", "model", model, revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in listed.siblings or []}
    model_files.require_safetensors(sizes, name)
    wanted = model_files.wanted(sizes)
    small = [file for file in wanted if not file.endswith(".safetensors")]
    for file in small:
        folder = _file(name, model, file, revision).parent
    model_files.require_usable(folder, name)
    missing = sum(sizes[file] for file in wanted if not (folder / file).is_file())
    total = sum(sizes[file] for file in wanted)
    folders.require_space(f"base: {name}", (Path(constants.HF_HUB_CACHE), missing), (copied_to, total))
    console.say(f"base: fetches {name}, {folders.amount(missing)}")
    for file in wanted[len(small) :]:
        _file(name, model, file, revision)
    return folder


def _file(name: str, model: str, file: str, revision: str) -> Path:
    """Where a file lies in the cache, fetched unless it is there. Raises RlvrError, which starts with `name`."""
    import httpx
    from huggingface_hub import hf_hub_download, hf_hub_url

    try:
        return Path(hf_hub_download(model, file, revision=revision))
    except (httpx.HTTPError, OSError) as error:
        broken = f"the download broke off ({model_files.first_line(error.__cause__ or error)}); run again to go on"
        asked = hf_hub_url(model, file, revision=revision)
        raise RlvrError(f"base: {name}: {hub.refusal(error, 'model', model, asked) or broken}") from None


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in model_files.wanted(file.name for file in folder.iterdir())]


def _verify(file: Path, model: str) -> None:
    """Compares a file with the digest that the hub gave, which is the name of its blob in the cache.

    Large files are named by their sha256, others by the sha1 of git. Raises RlvrError naming the file.
    """
    blob = file.resolve()
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        digest = hashlib.sha256()
    elif re.fullmatch("[0-9a-f]{40}", blob.name):
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    else:
        return
    with blob.open("rb") as opened:
        while part := opened.read(1 << 20):
            digest.update(part)
    if digest.hexdigest() != blob.name:
        raise RlvrError(
            f"base: {model}: {file.name} is damaged: its digest is not the hub's; delete {blob} and run again"
        )
