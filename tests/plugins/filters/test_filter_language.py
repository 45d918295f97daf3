from __future__ import annotations

import pytest
from filter_cases import check, gsm8k, reasons, refuses, row, rows_of

from rlvr_plugins.filters import language
from rlvr_plugins.manager import catalogue

ENGLISH = "Natalia sold clips to 48 of her friends in April."
GERMAN = "Natalia hat im April 48 ihrer Freunde Klammern verkauft."
CHINESE = "小明有三个苹果 又买了两个 现在有几个苹果"


@pytest.mark.parametrize(
    ("allow", "text", "kept"),
    [
        (["en"], ENGLISH, True),
        (["en"], GERMAN, False),
        (["en"], CHINESE, False),
        (["en", "zh"], CHINESE, True),
        (["de"], GERMAN, True),
        (["de"], ENGLISH, False),
        (["de"], "x = 5", True),
        (["en"], "<think>20, 5, 3\n20 - 5 - 3 = 12</think><answer>20 - 5 - 3</answer>", True),
        (["en"], "", True),
    ],
)
def test_languages(allow, text, kept):
    pytest.importorskip("py3langid")
    assert reasons("language", [row(text)], {"allow": allow}) == ["" if kept else "prompt: other language"]


def test_a_completion_is_judged_by_itself():
    pytest.importorskip("py3langid")
    rows = [row(ENGLISH, ENGLISH), row(ENGLISH, CHINESE)]
    assert reasons("language", rows, split="sft") == ["", "completion: other language"]


def test_gsm8k_is_english():
    pytest.importorskip("py3langid")
    examples = gsm8k("test")
    assert set(reasons("language", rows_of(catalogue().task("gsm8k"), examples))) == {""}


def test_a_language_nobody_knows_is_refused_before_any_job():
    pytest.importorskip("py3langid")
    check("language", "gsm8k", allow=("en", "de"))
    with pytest.raises(ValueError, match=r"allow: xx is not possible; allowed: ace, af, .*, zu, zxx"):
        check("language", "gsm8k", allow=("en", "xx"))


def test_without_py3langid_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(language, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'^py3langid is not installed; pip install -e "\.\[language\]"$'):
        check("language", "gsm8k")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"allow": ()}, "allowed: ISO 639 codes such as en"),
        ({"allow": ("English",)}, "allow: .*'English'.* is not possible"),
        ({"min_probability": 1.5}, "min_probability must be above 0 and at most 1"),
        ({"min_letters": 0}, "min_letters must be at least 1"),
    ],
)
def test_bad_options(options, expected):
    refuses("language", options, expected)
