"""The hub: the commit that a branch or tag stands for, and one file of a data set at a commit.

What can't be had is one line that names the repository and says what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
DEFAULT = "main"
"""The default branch of every repository of the hub."""

WHAT = {"model": "model", "dataset": "data set"}
"""The hub's types of repository, and what they are called in messages."""

ALLOWED = "allowed: a commit (40 hex digits, in lower case), a branch or a tag; left out: the default branch"
_COMMIT = re.compile("[0-9a-f]{40}")
_NAME = re.compile(r"\w[\w-]*(?:[./][\w-]+)*", re.ASCII)
_PART_OF_A_COMMIT = re.compile(r"(?=.*[a-f])[0-9a-f]{7,}", re.IGNORECASE)


class HubError(RuntimeError):
    """The hub could not give what was asked for; the message says what to do."""


def is_commit(revision: str | None) -> bool:
    return _COMMIT.fullmatch(revision or "") is not None


def check_revision(revision: str) -> None:
    """Raises ValueError where it is neither a commit nor the name of a branch or tag."""
    if is_commit(revision):
        return
    if _PART_OF_A_COMMIT.fullmatch(revision):
        raise ValueError(f"{revision!r} is not possible, as it looks like a part of a commit; {ALLOWED}")
    if not _NAME.fullmatch(revision) or len(revision) > 200:
        raise ValueError(f"{revision[:60]!r} is not possible; {ALLOWED}")


def require_commit(wanted: str, revision: str | None) -> None:
    """Raises HubError where a revision is not a commit, so that what is read could change."""
    if not is_commit(revision):
        raise HubError(
            f"{wanted}: revision {revision or DEFAULT!r} is not locked to a commit; give `rlvr lock` and cut the slice "
            "again, or set revision to a commit, 40 hex digits"
        )


def out_of_reach() -> str | None:
    """Why the hub can't be asked, found within seconds; None where it can.

    The client itself retries for nearly a minute a call, so a connection is tried first.
    """
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        httpx.head(constants.ENDPOINT, timeout=CONNECT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"the hub can't be reached ({_first_line(error)})"
    return None


def require_hub(wanted: str, instead: str) -> None:
    """Raises HubError within seconds when the hub is out of reach."""
    from huggingface_hub import constants

    if away := out_of_reach():
        joint = " is not in the local cache and" if constants.HF_HUB_OFFLINE else ":"
        raise HubError(f"{wanted}{joint} {away}; {instead}")


def info(wanted: str, kind: str, repository: str, revision: str, **more: Any) -> Any:
    """What the hub says of a repository at a commit, branch or tag: its `ModelInfo` or `DatasetInfo`.

    wanted: what a message starts with. kind: `model` or `dataset`. more: further arguments of `HfApi.repo_info`.
    Raises HubError.
    """
    import httpx
    from huggingface_hub import HfApi, constants, errors

    asked = f"{constants.ENDPOINT}/api/{kind}s/{repository}/revision/{quote(revision, safe='')}"
    try:
        return HfApi().repo_info(repository, repo_type=kind, revision=revision, timeout=ANSWER_SECONDS, **more)
    except errors.HFValidationError as error:
        problem = f"{_first_line(error)}; allowed: OWNER/NAME"
    except (httpx.HTTPError, OSError) as error:
        broken = f"the hub does not answer ({_first_line(error)}); run again to go on"
        problem = refusal(error, kind, repository, asked) or broken
    except (ValueError, TypeError, KeyError, AttributeError):
        problem = _foreign(_answer(asked))
    raise HubError(f"{wanted}: {problem}")


def commit_of(wanted: str, kind: str, repository: str, revision: str) -> str:
    """The commit that a branch or tag stands for now. Raises HubError, which starts with `wanted`."""
    commit = info(wanted, kind, repository, revision).sha
    if not is_commit(commit):
        raise HubError(f"{wanted}: the hub names no commit, but {commit!r}; run again, or give the commit")
    return commit


def cached_commit(kind: str, repository: str, revision: str) -> str | None:
    """The commit that a branch or tag stood for when the hub's client last fetched it here, None where it never did."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type=kind)
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return commit if is_commit(commit) and (folder / "snapshots" / commit).is_dir() else None


def refusal(error: BaseException, kind: str, repository: str, asked: str) -> str | None:
    """What a failed call, or what it came from, says of the repository, and what to do; None where it says nothing.

    asked: the address, which is asked once more where that may tell who answers in the hub's place.
    """
    for each in filter(None, (error, error.__cause__)):
        if said := _own_refusal(each, kind, repository):
            return said
    answer = _answer(asked)
    status = _status(error) or _status(error.__cause__) or (answer and answer.status)
    if answer and "html" in answer.kind and status < 500:
        return _foreign(answer)
    if status and status >= 400:
        return f"the hub answers {status}; run again to go on" + (f" ({answer.said})" if answer else "")
    return None


@dataclass(frozen=True)
class _Answer:
    status: int
    kind: str
    said: str


def _answer(asked: str) -> _Answer | None:
    """What comes from an address: its status and type, and both with where they came from; None where nothing does."""
    import httpx

    try:
        with httpx.stream("GET", asked, follow_redirects=True, timeout=CONNECT_SECONDS) as answer:
            kind = ascii(answer.headers.get("Content-Type", "no type"))[1:-1][:60]
            came_from = f"{answer.url.scheme}://{answer.url.netloc.decode()}{answer.url.path}"  # no password, no token
            return _Answer(answer.status_code, kind.lower(), f"{came_from}: {answer.status_code}, {kind}")
    except (httpx.HTTPError, httpx.InvalidURL):
        return None


def _foreign(answer: _Answer | None) -> str:
    from huggingface_hub import constants

    endpoint = re.sub("//[^/@]*@", "//", constants.ENDPOINT)  # no password
    said = f"{endpoint} answers, but not as the hub does; is it the page of a proxy or of a login?"
    return said + (f" ({answer.said})" if answer else "")


def _status(error: BaseException | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _own_refusal(error: BaseException, kind: str, repository: str) -> str | None:
    """As `refusal`, where the hub itself says it."""
    from huggingface_hub import constants, errors, get_token

    what, address = WHAT[kind], f"{'datasets/' if kind == 'dataset' else ''}{repository}"
    if isinstance(error, errors.GatedRepoError):
        lack = "this account has no access to it yet" if get_token() else "no token is set"
        return (
            f"it is gated, and {lack}; accept its terms at {constants.ENDPOINT}/{address} and give `hf auth login`, or "
            f"choose a {what} that is not gated"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the hub has no such revision; allowed: a commit, branch or tag of this {what}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the hub has no such {what}, or it is private; allowed: its name as OWNER/NAME, for a private one after "
            "`hf auth login`"
        )
    if (status := _status(error)) in (401, 403):
        return f"the hub refuses the token ({status}); give `hf auth login` with a token that may read this {what}"
    return None


def download(repository: str, filename: str, revision: str) -> Path:
    """Path of a data set's file, downloaded unless cached; a download that broke off is taken up again.

    Raises HubError, one line, when there is no such repository, revision or file, or the connection is lost.
    """
    import httpx
    from huggingface_hub import errors, hf_hub_download, hf_hub_url

    require_commit(repository, revision)
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
    except errors.RemoteEntryNotFoundError:
        problem = f"it has no file {filename}; allowed: a commit that has it"
    except (httpx.HTTPError, OSError) as error:
        broken = f"{filename} could not be downloaded ({_first_line(error)}); run again to go on, or {instead}"
        asked = hf_hub_url(repository, filename, repo_type="dataset", revision=revision)
        problem = refusal(error, "dataset", repository, asked) or broken
    raise HubError(f"{wanted}: {problem}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
