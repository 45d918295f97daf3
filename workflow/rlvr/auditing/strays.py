"""Files of an experiment's folder that no manifest lists."""

from __future__ import annotations

from pathlib import Path

from rlvr import listing, unfinished
from rlvr.reporting.chain import Chain

UNFINISHED = (unfinished.FOLDER, "trackers", ".probe")
"""Folders of what is not finished, or is no result."""

NOT_RESULTS = {"config": ".json", "logs": ""}
"""Folders at the top, with the ending that their files have."""


def named(folder: Path, chain: Chain) -> list[str]:
    """One line for each file that no manifest lists, and for each that two list.

    Left out are what snakemake, DVC and trackers leave, and the folders of manifests that can't be read.
    """
    owners: dict[str, list[str]] = {}
    for manifest, content in chain.manifests.items():
        for name in content["files"]:
            owners.setdefault(f"{manifest.rpartition('/')[0]}/{name}".lstrip("/"), []).append(manifest)
    unread = tuple(f"{name.rpartition('/')[0]}/" for name, said in chain.read.items() if isinstance(said, str))
    held = {*owners, *chain.read}
    problems = [
        f"{listing.shown(folder / name)}: is listed in no manifest, so nobody knows what made it; rm it"
        for name in listing.unlisted(folder, held)
        if not _expected(name) and not name.startswith(unread)
    ]
    return problems + [
        f"{listing.shown(folder / name)}: is listed in {' and in '.join(manifests)}; delete those of no stage"
        for name, manifests in owners.items()
        if len(manifests) > 1
    ]


def _expected(name: str) -> bool:
    """Whether a file is one of those that no manifest lists."""
    *folders, file = name.rstrip("/").split("/")
    top = folders[0] if folders else file if name.endswith("/") else ""
    if top in NOT_RESULTS and (name.endswith("/") or file.endswith(NOT_RESULTS[top])):
        return True
    unfinished = (each for each in (*folders, file) if each.startswith(".") and each.endswith(".part"))
    return any(each in UNFINISHED for each in (*folders, file)) or any(unfinished)
