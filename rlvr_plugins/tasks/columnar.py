"""Many examples in little memory: two Arrow columns, the key and the fields as JSON."""

from __future__ import annotations

import hashlib
import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from rlvr_plugins import Example

CHUNK_ROWS = 4096


class Examples(Sequence[Example]):
    """A sequence that makes each `Example` when it is asked for.

    chunks: Arrow record batches of two text columns. order: for each place, the number of its row. terse:
    for each place 1 where the example gets the field `terse`, else 0; None where none does.
    """

    def __init__(self, chunks: Sequence[Any], order: array | None = None, terse: bytes | None = None) -> None:
        self._chunks = chunks
        self._starts = [0]
        for chunk in chunks:
            self._starts.append(self._starts[-1] + chunk.num_rows)
        self._order = array("q", range(self._starts[-1])) if order is None else order
        self._terse = terse

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Examples:
        builder = Builder()
        for example in examples:
            builder.add(example)
        return builder.done()

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> Examples: ...
    def __getitem__(self, place):
        if isinstance(place, slice):
            return Examples(self._chunks, self._order[place], self._terse and self._terse[place])
        fields = json.loads(self._text(1, self._order[place]))
        if self._terse and self._terse[place]:
            fields["terse"] = True
        return Example(self.key(place), fields)

    def key(self, place: int) -> str:
        return self._text(0, self._order[place])

    def keys(self) -> Iterator[str]:
        return map(self.key, range(len(self)))

    def take(self, places: Iterable[int]) -> Examples:
        """The examples at these places, in this order."""
        places = array("q", places)
        terse = self._terse and bytes(self._terse[place] for place in places)
        return Examples(self._chunks, array("q", (self._order[place] for place in places)), terse)

    def shuffled(self, rng: Any) -> Examples:
        """In the order `rng.shuffle` gives a list of this length."""
        places = list(range(len(self)))
        rng.shuffle(places)
        return self.take(places)

    def marked(self, terse: Iterable[bool]) -> Examples:
        """With the field `terse` on the examples for which `terse`, one value a place, is true."""
        return Examples(self._chunks, self._order, bytes(terse))

    def _text(self, column: int, row: int) -> str:
        chunk = bisect_right(self._starts, row) - 1
        return self._chunks[chunk].column(column)[row - self._starts[chunk]].as_py()


class Builder:
    """Takes examples one by one; their fields must be JSON values."""

    def __init__(self) -> None:
        self._chunks: list[Any] = []
        self._keys: list[str] = []
        self._fields: list[str] = []

    def add(self, example: Example) -> None:
        self._keys.append(example.key)
        self._fields.append(json.dumps(dict(example.fields), ensure_ascii=False))
        if len(self._keys) == CHUNK_ROWS:
            self._flush()

    def done(self) -> Examples:
        self._flush()
        return Examples(self._chunks)

    def _flush(self) -> None:
        import pyarrow

        columns = [pyarrow.array(texts, pyarrow.large_string()) for texts in (self._keys, self._fields)]
        self._chunks.append(pyarrow.RecordBatch.from_arrays(columns, ["key", "fields"]))
        self._keys, self._fields = [], []


def digest(key: str) -> bytes:
    """128 bits that stand for a key where many of them are compared."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def digests(examples: Sequence[Example]) -> Iterator[bytes]:
    """The digest of each key, in order; of columnar examples without their fields being read."""
    keys = examples.keys() if isinstance(examples, Examples) else (example.key for example in examples)
    return map(digest, keys)
