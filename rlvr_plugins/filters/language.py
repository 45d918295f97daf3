"""Texts in the languages one wants, as py3langid guesses them.

Optional: `pip install -e ".[language]"`. Source: github.com/adbar/py3langid, BSD-3-Clause; its model is an npz
file that it reads without pickle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from rlvr_plugins import Filter, FilterContext, Row, Task, hookimpl

LOOKED_AT = 2_000
_CODE = re.compile(r"[a-z]{2,3}")
_TAG = re.compile(r"</?\w{1,40}>")


@dataclass(frozen=True)
class Options:
    """allow: ISO 639 codes, such as en, de, zh.
    min_probability: smallest probability of all allowed languages together, in the question and in the
        completion each. Steps full of numbers look like no language, so keep it low: of the 7,473 questions and
        solutions of GSM8K's training set 0.1 drops none and 0.5 drops 77.
    min_letters: a text with fewer letters outside tags such as `<answer>` is not judged: `x = 5` has no language.

    The first 2,000 characters of a text are looked at.
    """

    allow: tuple[str, ...] = ("en",)
    min_probability: float = 0.1
    min_letters: int = 15

    def __post_init__(self) -> None:
        if not self.allow or not all(map(_CODE.fullmatch, self.allow)):
            raise ValueError(f"allow: {list(self.allow)} is not possible; allowed: ISO 639 codes such as en")
        if not 0 < self.min_probability <= 1:
            raise ValueError("min_probability must be above 0 and at most 1")
        if self.min_letters < 1:
            raise ValueError("min_letters must be at least 1")


def check(options: Options, task: Task) -> None:
    """Raises ValueError where py3langid is missing or does not know a language."""
    if find_spec("py3langid") is None:
        raise ValueError('py3langid is not installed; pip install -e ".[language]"')
    known = {code for code, _ in _ranker()("")}
    wrong = [code for code in options.allow if code not in known]
    if wrong:
        raise ValueError(f"allow: {', '.join(wrong)} is not possible; allowed: {', '.join(sorted(known))}")


def start(options: Options, context: FilterContext):
    """Drops texts in other languages, as py3langid guesses them."""
    allowed = set(options.allow)
    rank = _ranker()

    def foreign(text: str) -> bool:
        text = text[:LOOKED_AT]
        if sum(map(str.isalpha, _TAG.sub("", text))) < options.min_letters:
            return False
        return sum(probability for code, probability in rank(text) if code in allowed) < options.min_probability

    def reason(row: Row) -> str:
        if foreign(row.user):
            return "prompt: other language"
        return "completion: other language" if row.completion and foreign(row.completion) else ""

    def select(rows: Sequence[Row]) -> list[str]:
        return [reason(row) for row in rows]

    return select


@cache
def _ranker() -> Callable[[str], list[tuple[str, float]]]:
    """`(text) -> [(code, probability), …]` over all languages."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).rank


@hookimpl
def rlvr_filters():
    yield Filter("language", options=Options, start=start, check=check, requires=("py3langid",))
