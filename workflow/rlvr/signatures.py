"""Manifests that come from Snakemake's output cache are those that holders of one key wrote.

Whoever can write to the cache can write files and a manifest that fits them. With SNAKEMAKE_OUTPUT_CACHE set, each
manifest carries an HMAC by a key that lies elsewhere, and one that comes from the cache is used only with it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from rlvr.errors import RlvrError

CACHE = "SNAKEMAKE_OUTPUT_CACHE"
OWN_KEY = "RLVR_CACHE_KEY"
KEY = re.compile(r"[0-9a-f]{64}\n?")


def key_file() -> Path:
    """`$RLVR_CACHE_KEY`, else `rlvr/cache.key` in `$XDG_CONFIG_HOME` or `~/.config`.

    Raises RlvrError for a user without a home.
    """
    try:
        if own := os.environ.get(OWN_KEY):
            return Path(own).expanduser()
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "rlvr" / "cache.key"
    except RuntimeError:
        raise RlvrError(f"{OWN_KEY}: no home folder is known for the key; allowed: a file for it") from None


def wanted() -> bool:
    """Whether what a stage makes may come to lie in the cache."""
    return bool(os.environ.get(CACHE))


def require_key() -> None:
    """Makes the key where there is none. Raises RlvrError where it can't be used."""
    file = key_file()
    cache = os.path.realpath(os.environ.get(CACHE, os.devnull))
    if Path(os.path.realpath(file)).is_relative_to(cache):
        raise RlvrError(f"{OWN_KEY}: {file} lies in the output cache that it protects; allowed: a file elsewhere")
    if not file.exists():
        try:
            _make(file)
        except OSError as error:
            raise RlvrError(
                f"{OWN_KEY}: the key of the output cache can't be written to {file} ({error.strerror}); allowed: a "
                f"place for it, or no {CACHE}"
            ) from None
    _key(file)


def _make(file: Path) -> None:
    """Of several processes that make it at once, one does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.touch(mode=0o600)
    part.write_text(f"{secrets.token_hex(32)}\n", encoding="utf-8")
    try:
        os.link(part, file)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def _key(file: Path) -> bytes:
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, ValueError):
        text = ""
    if not KEY.fullmatch(text):
        raise RlvrError(f"{OWN_KEY}: {file} holds no key; allowed: 64 hexadecimal digits, or no file, to have one made")
    return bytes.fromhex(text)


def of(digest: str) -> str:
    """The signature of a manifest's own digest. Raises RlvrError without a key."""
    return hmac.new(_key(key_file()), digest.encode(), hashlib.sha256).hexdigest()


def holds(digest: str, signature: object) -> bool:
    """Whether a signature was made with the key that is here."""
    if not isinstance(signature, str) or not signature.isascii() or not key_file().exists():
        return False
    return hmac.compare_digest(of(digest), signature)
