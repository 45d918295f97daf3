"""Reads the config slice of a stage; what can't be one is a line that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlvr.errors import RlvrError

OPTIONS = ("options", "trainer")
"""Sections that are handed on to plugins and TRL as they stand."""


class Slice(dict):
    """A mapping of a slice, which names its file where a key is missing."""

    def __init__(self, content: dict[str, Any], path: Path, stage: str, within: str = "") -> None:
        self._path, self._stage, self._within = path, stage, within
        super().__init__(
            {
                key: Slice(value, path, stage, f"{within}{key}.")
                if isinstance(value, dict) and key not in OPTIONS
                else value
                for key, value in content.items()
            }
        )

    def __missing__(self, key: str) -> Any:
        raise RlvrError(
            f"{self._path}: no key {self._within + key!r}, so it is no slice for `rlvr {self._stage}`; "
            f"{_cure(self._stage)}"
        )

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)


def read(path: Path, stage: str) -> Slice:
    """The slice in a file. Raises RlvrError, one line, where there is none, or it is cut off or of another kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        problem = "is not there"
    except IsADirectoryError:
        problem = "is a folder"
    except OSError as error:
        problem = f"can't be read ({error.strerror})"
    except UnicodeDecodeError:
        problem = "is no text in UTF-8"
    except RecursionError:
        problem = "is nested too deeply"
    except json.JSONDecodeError as error:
        empty = not error.doc.strip()
        problem = "is empty" if empty else f"is no JSON (line {error.lineno}: {error.msg}); it may be cut off"
    except ValueError as error:  # digits without end, NaN
        problem = f"is no JSON ({str(error)[:80]})"
    else:
        if isinstance(content, dict):
            return Slice(content, path, stage)
        problem = f"holds {_kind(content)}, not an object"
    raise RlvrError(f"{path}: {problem}; {_cure(stage)}")


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _kind(content: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(content), "a number")


def _cure(stage: str) -> str:
    return f"allowed: the config slice of the stage, as `rlvr slice NAME` prints it (NAME such as {_EXAMPLES[stage]})"


_EXAMPLES = {
    **{"data": "data/countdown", "filter": "filter/countdown/01-gold", "rollouts": "rollouts/gsm8k/02-pass_rate"},
    **{"select": "filter/gsm8k/02-pass_rate", "dataset": "dataset/countdown", "memory": "preflight"},
    **{"grpo": "grpo/dapo/seed0", "score": "score/countdown", "relabel": "relabel/gsm8k"},
    **{"repeat": "repeat/countdown", "lm_eval": "lm_eval/gsm8k"},
    **{name: name for name in ("base", "sft", "export", "gate", "gguf", "generate", "report")},
}
