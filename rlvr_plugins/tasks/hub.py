"""One file of a hub data set at a pinned revision, from the local cache when it is there."""

from __future__ import annotations

from pathlib import Path

CONNECT_SECONDS = 5


class HubError(RuntimeError):
    """The hub could not give what was asked for; the message says what to do."""


def require_hub(wanted: str, instead: str) -> None:
    """Raises HubError within seconds when the hub is out of reach.

    The client itself retries for nearly a minute a call, so a connection is tried first.
    """
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise HubError(f"{wanted} is not in the local cache and HF_HUB_OFFLINE is set; {instead}")
    try:
        httpx.head(constants.ENDPOINT, timeout=CONNECT_SECONDS)
    except httpx.HTTPError as error:
        raise HubError(f"{wanted}: the hub can't be reached ({error}); {instead}") from None


def download(repository: str, filename: str, revision: str) -> Path:
    """Path of a data set's file, downloaded unless cached. Raises HubError."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    arguments = {"repo_type": "dataset", "filename": filename, "revision": revision}
    try:
        return Path(hf_hub_download(repository, **arguments, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    wanted = f"{repository} at {revision[:12]}"
    require_hub(wanted, "connect, or set source: path with train_path and eval_path, or source: synthetic")
    try:
        return Path(hf_hub_download(repository, **arguments))
    except (HfHubHTTPError, OSError) as error:
        raise HubError(f"{wanted}: {str(error).splitlines()[0]}") from None
