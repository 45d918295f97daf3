from __future__ import annotations

import pytest
from filter_cases import reasons, refuses, row


@pytest.mark.parametrize(
    ("allow", "text", "kept"),
    [
        (["latin"], "Café costs 3 € × 2 – 1…", True),
        (["latin"], "\u0410 senior", False),  # a Cyrillic letter that looks like A
        (["latin"], "let π be 3", False),
        (["latin", "greek"], "let π be 3", True),
        (["han"], "三 + 4", True),
        (["han"], "three", False),
        (["latin"], "e\u0301", True),
        (["latin"], "\ud800", False),
        (["ascii"], "3 - 4?", True),
        (["ascii"], "3 – 4?", False),
        (["latin"], "", True),
    ],
)
def test_scripts(allow, text, kept):
    assert reasons("characters", [row(text)], {"allow": allow}) == ["" if kept else "prompt: other characters"]


def test_a_share_may_be_of_other_scripts_in_question_and_completion_each():
    rows = [row("aπ"), row("aaaπ"), row("aaaa", "aπ"), row("aaaa", "aaaπ")]
    expected = ["prompt: other characters", "", "completion: other characters", ""]
    assert reasons("characters", rows, {"min_share": 0.75}, split="sft") == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"allow": ()}, "allow must name one or more scripts, or ascii alone"),
        ({"allow": ("ascii", "latin")}, "allow must name one or more scripts, or ascii alone"),
        ({"allow": ("latn2",)}, "allow: 'latn2' is no Unicode script; allowed: names such as latin"),
        ({"allow": ("Latin}|.",)}, "is no Unicode script"),
        ({"min_share": 0}, "min_share must be above 0 and at most 1"),
    ],
)
def test_bad_options(options, expected):
    refuses("characters", options, expected)
