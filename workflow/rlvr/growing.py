"""Tables that grow while a model trains, without being held in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr import tables
from rlvr.errors import RlvrError
from rlvr.provenance import sha256


class Growing:
    """Rows in files of a folder, several thousand in each; a resumed run cuts them back to its checkpoint.

    Parts are numbered and complete: what a kill interrupts is no part. Those that a run did not write itself, or was
    told of by `cut`, are passed over and written anew.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._parts: dict[str, str] = {}
        self._waiting: list[dict[str, Any]] = []
        self._characters = 0

    def add(self, rows: list[dict[str, Any]]) -> None:
        self._waiting += rows
        self._characters += sum(len(value) for row in rows for value in row.values() if isinstance(value, str))
        if len(self._waiting) >= tables.GROUP_ROWS or self._characters >= tables.GROUP_CHARACTERS:
            self.mark()

    def mark(self) -> dict[str, str]:
        """Writes what waits, and says which parts there are: their names, in order, with their sha256."""
        if self._waiting:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f"{len(self._parts):06d}.parquet"
            unfinished = part.with_suffix(".part")
            tables.write(unfinished, self._waiting, self._schema)
            unfinished.replace(part)
            self._parts[part.name] = sha256(part)
            self._waiting, self._characters = [], 0
        return dict(self._parts)

    def cut(self, parts: dict[str, str]) -> None:
        """Goes back to the parts that `mark` named. Raises RlvrError for one that is missing or damaged."""
        for name, digest in parts.items():
            part = self._folder / name
            if not part.is_file() or sha256(part) != digest:
                raise RlvrError(
                    f"{part} is damaged or missing, which a checkpoint beside it counts on; delete "
                    f"{self._folder.parent} to train from the start"
                )
        self._parts, self._waiting, self._characters = dict(parts), [], 0

    def write(self, path: Path) -> None:
        """All rows as one file, a part of them in memory."""
        self.mark()
        unfinished = path.with_name(f".{path.name}.part")
        with pq.ParquetWriter(unfinished, self._schema, **tables.CHECKED) as whole:
            for name in self._parts:
                whole.write_table(tables.table(self._folder / name))
        unfinished.replace(path)
