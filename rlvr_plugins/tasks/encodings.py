"""Tells what a file is that is not in UTF-8, by its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

START = 2**16
SAMPLE = 2**18
CURE = "allowed: UTF-8; save it as that"

_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"\x1f\x8b", "a file compressed by gzip"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"PAR1", "a Parquet file"),
    (b"(\xb5/\xfd", "a file compressed by zstd"),
    (b"BZh", "a file compressed by bzip2"),
    (b"\xfd7zXZ", "a file compressed by xz"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet of an old kind"),
    (b"ARROW1", "an Arrow file"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "a database"),
)
_WORDS = (
    (b"version https://git-lfs", "a pointer of Git LFS, whose file was not fetched"),
    (b"<!doctype html", "a page in HTML"),
    (b"<html", "a page in HTML"),
)
_ESCAPES = ((b"\x1b$B", "ISO-2022-JP"), (b"\x1b$@", "ISO-2022-JP"), (b"\x1b$)C", "ISO-2022-KR"))
MANY = 4
"""Runs of bytes beyond ASCII from which on they are no damage but another encoding, if they stand as letters do."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_HIGH = re.compile(rb"[\x80-\xff]+")
_SIGNS = frozenset(b"\x80\x82\x84\x85\x8b\x91\x92\x93\x94\x95\x96\x97\x99\x9b\xa0\xd7\xf7") | frozenset(
    range(0xA2, 0xC0)
)
"""Quotes, dashes, currency, fractions and the like in Windows-1252; from A0 on in Latin-1 too."""


def of_start(path: Path) -> str | None:
    """What a file is by its first bytes, where these can't be UTF-8: UTF-16, UTF-32, or no text; else None."""
    with path.open("rb") as file:
        start = file.read(START)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    for word, name in _WORDS:
        if start.lstrip()[: len(word)].lower() == word:
            return name
    if start and not any(start):
        return "a file of zeros"
    return _wide(start) or next((name for escape, name in _ESCAPES if escape in start), None)


def of_file(path: Path) -> str | None:
    """The encoding of a file that has a line which is not UTF-8; None where it is a damaged line of a file in UTF-8.

    It is another encoding where more lines are not UTF-8 than have letters beyond ASCII in UTF-8, and what stands there
    reads as text in a code page.
    """
    sound, odd, sample = 0, 0, bytearray()
    for line in _lines(path):
        if line.isascii():
            continue
        try:
            line.decode()
            sound += 1
        except UnicodeDecodeError:
            odd += 1
            if len(sample) < SAMPLE:
                sample += line
    return _code_page(bytes(sample)) if odd > sound else None


def problem(name: str) -> str:
    return f"looks like {name}; {CURE}"


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, long ones in pieces; of a last line without an end all but a character cut off."""
    with path.open("rb") as file:
        while line := file.readline(SAMPLE):
            if not line.endswith(b"\n"):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    line = line[: error.start] if error.reason == "unexpected end of data" else line
            yield line


def _wide(start: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: zeros of ASCII characters stand at every second byte, or at three of four."""
    for high, higher in ((3, 2), (0, 1)):
        rest = start[higher::4]
        if len(rest) >= 4 and not any(start[high::4]) and max(rest) <= 0x10 and rest.count(0) >= len(rest) / 2:
            return "UTF-32"
    first, second = start[::2].count(0), start[1::2].count(0)
    if max(first, second) >= max(4, len(start) / 10) and min(first, second) <= max(first, second) / 4:
        return "UTF-16"
    return None


def _code_page(sample: bytes) -> str | None:
    """The code page in which most of the characters beyond ASCII are letters and signs that go together."""
    for name, codec, likely in _EASTERN:
        found = _decoded(sample, codec)
        if found and likely(found):
            return name
    return _single_byte(sample)


def _decoded(sample: bytes, codec: str) -> str:
    """The characters beyond ASCII in that encoding; "" where it is another."""
    try:
        return "".join(char for char in sample.decode(codec) if ord(char) > 0x7F)
    except UnicodeDecodeError:
        return ""


def _share(text: str, *ranges: tuple[int, int]) -> float:
    return sum(any(low <= ord(char) <= high for low, high in ranges) for char in text) / len(text)


_KANA, _HAN, _HANGUL = (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)
_PUNCTUATION, _FULL_WIDTH, _GREEK = (0x2010, 0x303F), (0xFF00, 0xFF60), (0x00A1, 0x04FF)


def _japanese(text: str) -> bool:
    return _share(text, _KANA) >= 0.1 and _share(text, _KANA, _HAN, _PUNCTUATION, _FULL_WIDTH) >= 0.95


def _korean(text: str) -> bool:
    return _share(text, _HANGUL) >= 0.9


def _chinese(text: str) -> bool:
    common = sum(0xB0 <= char.encode("gb2312", "replace")[0] <= 0xD7 for char in text) / len(text)
    whole = _share(text, _HAN, _PUNCTUATION, _FULL_WIDTH, _GREEK) >= 0.95
    return whole and _share(text, _HAN) >= 0.5 and common >= 0.5


def _traditional(text: str) -> bool:
    return _share(text, _HAN) >= 0.5 and _share(text, _HAN, _PUNCTUATION, _FULL_WIDTH) >= 0.95


_EASTERN = (
    ("Shift-JIS", "cp932", _japanese),
    ("EUC-JP", "euc_jp", _japanese),
    ("EUC-KR", "cp949", _korean),
    ("GB18030", "gb18030", _chinese),
    ("Big5", "cp950", _traditional),
)


def _single_byte(sample: bytes) -> str | None:
    """Windows-1252, Latin-1 or a code page of another script, where bytes stand as letters and signs do."""
    runs = [(match[0], match.start(), match.end()) for match in _HIGH.finditer(sample)]
    if not runs:
        return None
    size = sum(len(run) for run, _, _ in runs)
    many = len(runs) >= MANY and not _CONTROL.search(sample)
    first = 0x80 if many else 0xA8
    words = sum(len(run) for run, _, _ in runs if len(run) >= 3 and min(run) >= first and b"\xff" not in run)
    if words > size / 2:
        return "a code page such as Windows-1251 (Cyrillic) or another one of single bytes"
    plausible = sum(_plausible(sample, run, start, end) for run, start, end in runs)
    if plausible < 0.9 * size:
        beside = sum(_in_word(sample, start, end) for _, start, end in runs)
        return "a code page of single bytes" if many and beside >= 0.9 * len(runs) else None
    signs = any(0x80 <= byte <= 0x9F for run, _, _ in runs for byte in run)
    return "Windows-1252 (cp1252)" if signs else "Latin-1 or Windows-1252 (cp1252)"


def _plausible(sample: bytes, run: bytes, start: int, end: int) -> int:
    """How many bytes of a run are signs, or letters beside ASCII letters or spaces."""
    in_word = _in_word(sample, start, end)
    return sum(byte in _SIGNS or (0xC0 <= byte <= 0xFE and in_word) for byte in run)


def _in_word(sample: bytes, start: int, end: int) -> bool:
    """Whether a run stands beside an ASCII letter or a space."""
    beside = sample[start - 1 : start] + sample[end : end + 1]
    return any(chr(byte).isalpha() or byte == 0x20 for byte in beside if byte < 0x80)
