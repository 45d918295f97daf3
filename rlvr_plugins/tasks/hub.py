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
    """Path of a data set's file, downloaded unless cached; a download that broke off is taken up again.

    Raises HubError, one line, when there is no such repository, revision or file, or the connection is lost.
    """
    import httpx
    from huggingface_hub import errors, hf_hub_download

    arguments = {"repo_type": "dataset", "filename": filename, "revision": revision}
    wanted = f"{repository} at {revision[:12]}"
    try:
        return Path(hf_hub_download(repository, **arguments, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        pass
    except errors.HFValidationError as error:
        raise HubError(f"{wanted}: {_first_line(error)}; allowed: the name of a data set") from None
    instead = "set source: path and the paths of its files, or another source"
    require_hub(wanted, f"connect, or {instead}")
    try:
        return Path(hf_hub_download(repository, **arguments))
    except errors.RevisionNotFoundError:
        problem = "the hub has no such revision; allowed: a commit of this data set"
    except errors.RemoteEntryNotFoundError:
        problem = f"it has no file {filename}; allowed: a commit that has it"
    except errors.RepositoryNotFoundError:
        problem = "the hub has no such data set, or it is private; allowed: its name as OWNER/NAME"
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        problem = f"{filename} could not be downloaded ({_first_line(error)}); run again to go on, or {instead}"
    raise HubError(f"{wanted}: {problem}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
