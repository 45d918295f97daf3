"""Finds what of a completion is its response: not what it thinks first, nor what it writes after its turn.

The tags of reasoning are those of vLLM's reasoning parsers and of common prompts; end tokens and headers of turns are
those of the chat templates of published models; the words that put a question are stop sequences of lm-eval's tasks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from rlvr_plugins.verifiers.reasoning_tags import BRACKETED, CLOSE, OPEN

TAIL = 100_000
MOST_ANGLES = 5_000
MOST_QUESTIONS = 50

_END = (
    r"[|｜](?:im_end|end_?of_?text|end[▁_]of[▁_]sentence|end_?of_?turn(?:_token)?|end_(?:of_)?response"
    r"|eot_id|eom_id|eot|eom|eos|eod|return|end(?!\|><\|start\|>assistant))[|｜]>|/s>|eos>|end_of_turn>|turn\|>"
)
_TOKEN = re.compile(r"<[|｜][^|｜<>]{1,40}[|｜]>")
_TRAILING = re.compile(rf"(?:\s*(?:{_TOKEN.pattern}|</s>|<eos>|<end_of_turn>))+\s*\Z")
_TURN = (
    r"[|｜](?:im_start|start_header_id|user|human|system|observation|assistant|begin_of_text|startoftext"
    r"|start_of_turn_token|start(?!\|>assistant))[|｜]>|start_of_turn>|bos>|\|turn>|<SYS>>|(?:human|user|question)>"
)
_KINDS = {"end": _END, "close": CLOSE, "open": OPEN, "turn": _TURN}
_ANGLED = "<(?=[|｜/cebhmqrstu<])(?:" + "|".join(f"(?P<{kind}>{each})" for kind, each in _KINDS.items()) + ")"
_OTHERS = {**BRACKETED, "[INST]": "turn", "[EOS]": "end", "[e~[": "end"}
_MARK = re.compile(_ANGLED, re.IGNORECASE)
_ANY_MARK = re.compile("|".join([_ANGLED, *map(re.escape, _OTHERS)]), re.IGNORECASE)

_ROLES = ("user", "human", "assistant")
_ROLE_LINE = re.compile(rf"(?:\n|(?<=[.!?>)\]}}*\d]))(?:{'|'.join(_ROLES)})[ \t]*\n")
_SPEAKERS = "user|human|instruction"
_QUESTIONS = "question|problem|exercise|query|问题|問題|题目|pregunta|frage|вопрос|задача"
_WORDS = (*_SPEAKERS.split("|"), *_QUESTIONS.split("|"))
_Q = re.compile(r"q ?\d{0,3}[.:)*]")
_HEADER = re.compile(
    rf"""\n[ \t>#*_\[-]{{0,10}}
    (?:(?:here\ is\ )?(?:the\ |a\ |an\ )?(?:next|new|another|second|similar|follow-?up)\ )?
    (?:(?P<speaker>{_SPEAKERS})|{_QUESTIONS}|q(?=[ \d]{{0,4}}[.:)*]))s?
    [ \t]*(?P<number>\#?\d{{1,3}})?[ \t\])*_]{{0,6}}
    (?:[:：]|(?<=[\dqQ])[.)]|(?=\n|\Z))
    |\n\n(?-i:Question)\ (?=[^\s\d#])""",  # noqa: RUF001
    re.IGNORECASE | re.VERBOSE,
)
_ANOTHER = re.compile(
    r"\n[^\n]{0,40}\b(?:another|next|new|similar|different) (?:question|problem|exercise)\b", re.IGNORECASE
)
_MARKED = re.compile(r"####|\\[a-zA-Z]*box|\banswer\b|=", re.IGNORECASE)
_PREAMBLE = re.compile(r"\b(?:given|known?|information|facts|data|restate|understand|rephrase|break)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a completion consists of.

    turn: its text up to the first end token. response: what of that is neither reasoning nor a question that it goes
    on to put itself; "" where it is cut off inside its reasoning, which `unclosed` says.
    """

    turn: str
    response: str
    unclosed: bool


def parts(completion: str) -> Parts:
    """Splits a completion in linear time; never raises.

    Reasoning is what stands between its tags, and all that comes before a closing tag without an opening one, as the
    prompt may have opened it. So the last closing tag decides: what a completion says before it, it then thought over.
    Only the last 200,000 characters are searched.
    """
    first = _first_searched(completion)
    tail = completion[first:]
    marks = _ANY_MARK if any(other in tail for other in _OTHERS) else _MARK
    kept: list[str] = []
    begin, end, inside, over = 0, len(tail), False, False
    for mark in marks.finditer(tail):
        kind = mark.lastgroup or _OTHERS.get(mark[0])
        if kind == "end":
            end = mark.start()
            break
        if over:
            continue
        if kind == "open" and not inside:
            kept.append(tail[begin : mark.start()])
            inside = True
        elif kind == "close":
            kept = kept if inside else []
            begin, inside = mark.end(), False
        elif kind == "turn" and not inside and "".join([*kept, tail[begin : mark.start()]]).strip():
            kept.append(tail[begin : mark.start()])
            over = True
    if not inside and not over:
        kept.append(tail[begin:end])
    turn = completion[: first + end]
    response = "" if inside else _without_other_turns(_TOKEN.sub("\n", without_trailing(" ".join(kept))))
    return Parts(without_trailing(turn), response, inside)


def without_trailing(text: str) -> str:
    """The text without the special tokens at its end."""
    return text[:-200] + _TRAILING.sub("", text[-200:]) if text.rstrip().endswith(">") else text


def _first_searched(completion: str) -> int:
    """Where the end begins that is searched: hostile texts are of nothing but tags."""
    first = max(0, len(completion) - TAIL)
    while completion.count("<", first) > MOST_ANGLES:
        first += (len(completion) - first) // 2
    return first


def _without_other_turns(text: str) -> str:
    """What stands before a question that the text puts itself, or before what it lets others say."""
    lowered = text.lower()
    if any(f"{role}\n" in lowered or f"{role} \n" in lowered for role in _ROLES):
        for line in _ROLE_LINE.finditer(text):
            if text[: line.start()].strip():
                text = text[: line.start()]
                break
    if not any(word in lowered for word in _WORDS) and not _Q.search(lowered):
        return text
    numbered = False
    for header in islice(_HEADER.finditer(f"\n{text}"), MOST_QUESTIONS):
        before = text[: header.start()]
        if _answered(before, header, numbered):
            return before
        numbered = numbered or bool(header["number"])
    other = _ANOTHER.search(text)
    return text[: other.start()] if other and _MARKED.search(text, 0, other.start()) else text


def _answered(before: str, header: re.Match, numbered: bool) -> bool:
    """Whether what stands before a question is an answer, and the question not a part of the same one.

    Nothing, or no more than what is given, is no answer; nor is a part of a question that goes on with its next part.
    """
    if header["speaker"]:
        return bool(before.strip())
    if (header["number"] and numbered) or not re.search(r"\d", before):
        return False
    marked = _MARKED.search(before)
    return bool(marked) or (not _PREAMBLE.search(before) and header["number"] not in ("1", "#1"))
