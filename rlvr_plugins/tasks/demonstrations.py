"""Rewrites a solution from elsewhere into the protocol: one reasoning element, one answer element."""

from __future__ import annotations

import re

from rlvr_plugins.verifiers.latex import OPEN_BOX

TAIL = 500

_CALCULATION = re.compile(r"<<[^<>]*>>")
_MARKED = re.compile(r"####[^\n]*\s*\Z")
_TAG = re.compile(r"<\s*/?\s*(?:think|thinking|thought|reasoning|answer|solution)\b[^<>]*>", re.IGNORECASE)
_TOKEN = re.compile(r"<[|｜][^|｜<>]{1,40}[|｜]>|</?s>|<eos>|<end_of_turn>")
_LAST_ANSWER = re.compile(r"<answer>(?:(?!<answer>).)*?</answer>\s*\Z", re.DOTALL | re.IGNORECASE)
_BOX = re.compile(OPEN_BOX)
_BRACE = re.compile(rf"{OPEN_BOX}|\\[{{}}]|[{{}}]")
_AFTER_BOX = re.compile(r"[\s$.*!)}\]\\]*")
_HEADING = re.compile(r"(?:\A|\n)[ #*_>]*(?:the\s+)?(?:final\s+)?answer(?:\s+is)?[\s:*_.]*\Z", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)|\n")
_CALCULATES = re.compile(r"[0-9=+]")


def demonstration(solution: str, answer: str, *, terse: bool = False) -> str:
    """The solution as reasoning, nothing of it where it is terse, then the answer on one line."""
    thought = "" if terse else steps(solution)
    lines = ["<reasoning>", *([thought] if thought else []), "</reasoning>", f"<answer>{one_line(answer)}</answer>"]
    return "\n".join(lines)


def steps(solution: str) -> str:
    r"""The steps of a solution.

    Left out are calculator marks, a last line that begins with `####`, a last answer element, the tags of any
    protocol, end tokens, and a last sentence that only puts the answer in `\boxed{…}`; other boxes are opened.
    """
    text = _MARKED.sub("", _CALCULATION.sub("", solution)).rstrip()
    text = text[:-TAIL] + _LAST_ANSWER.sub("", text[-TAIL:])
    text = unboxed(_without_last_sentence(without_tags(text).strip())).rstrip()
    return without_tags(text[:-TAIL] + _HEADING.sub("", text[-TAIL:])).strip()


def without_tags(text: str) -> str:
    """The text without tags and end tokens, also those that come about when others are taken out."""
    while "<" in text:
        before, text = text, _TOKEN.sub("", _TAG.sub("", text))
        if text == before:
            break
    return text


def one_line(answer: str) -> str:
    return " ".join(without_tags(unboxed(answer)).split())


def unboxed(text: str) -> str:
    r"""Each `\boxed{…}` replaced by what it holds; one that is never closed stays."""
    out: list[str] = []
    open_braces: list[int | None] = []
    at = 0
    for match in _BRACE.finditer(text):
        if match[0] in ("\\{", "\\}"):
            continue
        if match[0] == "{":
            open_braces.append(None)
        elif match[0] == "}":
            box = open_braces.pop() if open_braces else None
            if box is not None:
                out[box] = ""
                out.append(text[at : match.start()])
                at = match.end()
        else:
            out += [text[at : match.start()], match[0]]
            open_braces.append(len(out) - 1)
            at = match.end()
    return "".join([*out, text[at:]])


def _without_last_sentence(text: str) -> str:
    """The text without a last sentence that only puts the answer in a box."""
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return text
    depth = 1
    end = boxes[-1].end()
    while depth and end < len(text):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    if depth or not _AFTER_BOX.fullmatch(text, end):
        return text
    box = boxes[-1].start()
    start = max((match.end() for match in _SENTENCE.finditer(text, 0, box + 1)), default=0)
    return text if _CALCULATES.search(text, start, box) else text[:start].rstrip()
