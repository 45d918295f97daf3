"""Judges the stored completions again and holds the verdicts against those in the table."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr import circumstances, digests, tables
from rlvr.auditing import rows
from rlvr.errors import RlvrError
from rlvr.reporting.chain import below_results
from rlvr.reporting.lineage import SHOWN
from rlvr.stages import relabel, score
from rlvr_plugins import parquet
from rlvr_plugins.manager import PluginError
from rlvr_plugins.types import ERROR

Lines = list[str]
JUDGES = {"score": score.run, "relabel": relabel.run}
"""The stages that judge completions."""


def check(folder: Path, name: str, manifest: Mapping[str, Any]) -> tuple[Lines, int]:
    """What does not hold of the scores of a manifest, one line each, and how many completions they are of."""
    place = (folder / name).parent
    given = {key: folder / below_results(path) for key, path in manifest["given"].items()}
    completions, scores = given["completions"], place / next(iter(manifest["files"]))
    missing = [f"{path}: is missing" for path in (*given.values(), scores) if not path.is_file()]
    if missing:
        return missing, 0
    problems = [f"{path}: {said}" for path in (completions, given["data"], scores) for said in parquet.unreadable(path)]
    if any(not problem.startswith(str(completions)) for problem in problems):
        return problems, 0
    try:
        stored = rows.table(scores, tables.SCORE)
        answers = rows.table(completions, rows.ANSWER)
    except parquet.UNREADABLE as error:
        return problems or [f"{completions}: can't be read ({error})"], 0
    if manifest["stage"] == "score":
        problems += [f"{completions}: {said}" for said in rows.changed(answers, stored)]
    problems += [f"{scores}: {said}" for said in _again(manifest, given, stored)]
    return problems, len(stored)


def _again(manifest: Mapping[str, Any], given: Mapping[str, Path], stored: list[dict[str, Any]]) -> Lines:
    with tempfile.TemporaryDirectory() as made:
        target = Path(made) / "scores.parquet"
        try:
            JUDGES[manifest["stage"]](manifest["config"], **given, scores=target)
        except (RlvrError, PluginError) as error:
            return [f"can't be judged again: {error}"]
        found = tables.read(target)
    if len(stored) != len(found):
        return [f"holds {len(stored)} rows for {len(found)} completions"]
    wrong = [
        f"row {number} (key {now['key']!r}), {column}: holds {then.get(column)!r}, judged again {now[column]!r}"
        for number, (then, now) in enumerate(zip(stored, found, strict=True), 1)
        for column in now
        if column != "completion_sha256" and not _same(column, then, now)
    ]
    changes = _other_code(manifest, given) if wrong else []
    if changes:
        judged = len({line.partition(",")[0] for line in wrong})
        return [
            f"judged by {', '.join(changes)}: {judged} of {len(found)} rows would now be judged otherwise; rlvr rescore"
        ]
    return rows.shortened(wrong, "values")


def _same(column: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a field of two verdicts says the same; of a failure its kind, as seconds and bytes stand behind it."""
    if column == "reason" and then["status"] == now["status"] == ERROR:
        return then["reason"].partition(":")[0] == now["reason"].partition(":")[0]
    return column in then and then[column] == now[column]


def _other_code(manifest: Mapping[str, Any], given: Mapping[str, Path]) -> Lines:
    """Which code has changed since the scores were made."""
    stage = manifest["stage"]
    now = circumstances.plugins(stage, manifest["config"], given)
    then = manifest.get("plugins", {})
    found = [
        f"another version of the verifier ({name.partition(' ')[0]}: {then.get(name, 'unknown')[:SHOWN]}, now {digest})"
        for name, digest in now.items()
        if then.get(name) != digest
    ]
    if manifest.get("code") != (code := digests.stage(stage)):
        found.append(f"another version of the stage {stage} ({manifest.get('code')}, now {code})")
    return found
