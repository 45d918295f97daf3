"""Finds llama.cpp's converter, which turns a folder of safetensors into a GGUF file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rlvr.errors import RlvrError

SCRIPT = "convert_hf_to_gguf.py"
FOLDER = "LLAMA_CPP_DIR"


def converter() -> Path:
    """The script, in the folder that the environment variable `LLAMA_CPP_DIR` names or on PATH.

    Raises RlvrError where there is none.
    """
    folder = os.environ.get(FOLDER)
    if folder:
        found = Path(folder).expanduser() / SCRIPT
        if not found.is_file():
            raise RlvrError(f"{FOLDER}: {folder!r} holds no {SCRIPT}; allowed: a checkout of llama.cpp")
        return found.resolve()
    on_path = shutil.which(SCRIPT, mode=os.F_OK)
    if on_path is None:
        raise RlvrError(
            f"export.gguf: needs {SCRIPT} of llama.cpp, which is not on PATH; clone "
            f"https://github.com/ggml-org/llama.cpp, `pip install gguf`, and set {FOLDER} to the clone, or leave out "
            "export.gguf"
        )
    return Path(on_path).resolve()
