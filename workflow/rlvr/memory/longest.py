"""The longest rows of training files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlvr import filtering, tables
from rlvr.engines.lengths import Lengths
from rlvr_plugins import Row

COUNTED = 256
"""Rows with the most characters, whose tokens are counted."""


def by_characters(path: Path, most: int = COUNTED) -> pa.Table:
    """The rows of a file with the most characters, longest first."""
    return largest(tables.table(path), most)


def largest(table: pa.Table, most: int) -> pa.Table:
    """The rows with the most characters, longest first."""
    characters = sizes(table, pc.utf8_length)
    return table.take(np.argsort(-characters, kind="stable")[:most]).combine_chunks()


def sizes(table: pa.Table, measure: Callable[[pa.Array], pa.Array]) -> np.ndarray:
    """What `measure` makes of the texts of each row's messages, added up."""
    found = np.zeros(len(table), dtype=np.int64)
    for name in {"prompt", "completion"} & set(table.column_names):
        column = table[name].combine_chunks()
        each = measure(column.values.field("content")).to_numpy(zero_copy_only=False)
        before, offsets = np.concatenate([[0], np.cumsum(each)]), column.offsets.to_numpy()
        found += before[offsets[1:]] - before[offsets[:-1]]
    return found


def rows(table: pa.Table) -> list[Row]:
    return [row for batch in table.to_batches() for row in filtering.rows_of(batch)]


def write(files: list[Path], base: Path, count: int, folder: Path) -> list[Path]:
    """Writes the `count` rows that have the most tokens, with their completion where they have one; a file a file."""
    counter = Lengths(base)
    longest = [by_characters(file, max(count, COUNTED)) for file in files]
    sizes = [
        (tokens, number, row)
        for number, table in enumerate(longest)
        for row, tokens in enumerate(counter.wholes(rows(table)))
    ]
    chosen = sorted(sizes, key=lambda size: -size[0])[:count]
    written = []
    for number, table in enumerate(longest):
        taken = [row for _, origin, row in chosen if origin == number]
        if taken:
            written.append(folder / f"{number}.parquet")
            pq.write_table(table.take(taken), written[-1])
    return written
