"""What each stage took: seconds, the share spent starting, peak memory."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

from rlvr.reporting.results import Arm


def table(manifests: dict[str, dict[str, Any]], estimated: dict[str, int]) -> pd.DataFrame:
    """One row a finished job, from its manifest; `manifests` by path.

    estimated: bytes that the preflight foresaw, by stage; those of a GPU are held against the GPU's own peak.
    """
    rows = []
    for name, manifest in manifests.items():
        seconds = manifest["seconds"]
        foreseen = _estimate(name, estimated)
        on_device = manifest.get("peak_device_memory_bytes")
        rows.append(
            {
                "stage": manifest["stage"],
                "artifact": name.rpartition("/")[0],
                "seconds": round(seconds["start"] + seconds["work"], 1),
                "starting": round(seconds["start"], 1),
                "peak memory MiB": round(manifest["peak_memory_bytes"] / 2**20),
                "peak GPU memory MiB": on_device and round(on_device / 2**20),
                "estimated MiB": foreseen and round(foreseen / 2**20),
                "device": manifest.get("device", ""),
                "finished": manifest["finished"],
            }
        )
    return pd.DataFrame(rows).sort_values(["finished", "artifact"], ignore_index=True)


def _estimate(name: str, estimated: dict[str, int]) -> int | None:
    """The estimate for the job of a manifest, such as `grpo/dapo/seed0/manifest.json`."""
    parts = name.split("/")
    stage = {"eval": "evaluation", "dataset": "rollouts"}.get(parts[0], parts[0])
    if stage == "model":
        return None if parts[1] == "base" else estimated.get("gate" if parts[-2] == "gate" else "export")
    if (stage == "evaluation" and parts[-1] != "manifest.json") or (
        stage == "rollouts" and "rollouts" not in parts[-1]
    ):
        return None
    return estimated.get(f"grpo/{parts[1]}" if stage == "grpo" else stage)


def by_stage(frame: pd.DataFrame) -> pd.DataFrame:
    """The same summed over the jobs of a stage, with a total, as text."""
    groups = frame.groupby("stage", sort=False)
    summed = groups.agg(
        jobs=("stage", "size"),
        seconds=("seconds", "sum"),
        starting=("starting", "sum"),
        memory=("peak memory MiB", "max"),
    ).reset_index()
    total = pd.DataFrame(
        [
            {
                "stage": "all",
                "jobs": summed["jobs"].sum(),
                "seconds": summed["seconds"].sum(),
                "starting": summed["starting"].sum(),
                "memory": summed["memory"].max(),
            }
        ]
    )
    both = pd.concat([summed, total], ignore_index=True)
    share = 100 * both["starting"] / both["seconds"]
    return pd.DataFrame(
        {
            "stage": both["stage"],
            "jobs": both["jobs"].astype(str),
            "seconds": both["seconds"].map("{:.1f}".format),
            "importing and starting": both["starting"].map("{:.1f} s".format) + share.map(" ({:.0f} %)".format),
            "peak memory": both["memory"].map("{:.0f} MiB".format),
        }
    )


def repeated(frame: pd.DataFrame, arms: list[Arm], controls: Collection[str]) -> str:
    """What further seeds and controls took beside one run of each variant; "" where there are none.

    frame: of `table`. controls: the arms that are one.
    """
    first = {arm.variant: arm.seed for arm in reversed(arms) if arm.kind == "grpo"}
    more = [
        arm
        for arm in arms
        if arm.path in controls or arm.seed != (first[arm.variant] if arm.seed is not None else None)
    ]
    if not more:
        return ""
    folders = [f"{part}{arm.path}" for arm in more for part in ("", "model/", "eval/")]
    theirs = frame["artifact"].map(lambda path: any(path == f or path.startswith(f"{f}/") for f in folders))
    whole, own = frame["seconds"].sum(), frame.loc[theirs, "seconds"].sum()
    return (
        f"{len(more)} further runs (seeds and controls) took {own:.0f} s of {whole:.0f} s; one seed without controls "
        f"takes {whole - own:.0f} s. Data, base and warm-start were made once."
    )
