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
    r"[|｜](?:im_end|end_?of_?text|end[▁_]of[▁_](?:sentence|text)|end_?of_?turn(?:_token)?|end_(?:of_)?response"
    r"|eot_id|eom_id|eot|eom|eos|eod|return|endofprompt|(?:assistant|user|role)_end|message_sep|hy_place▁holder▁no▁2"
    r"|end(?!\|><\|start\|>assistant))[|｜]>|/s>|eo[sdt]>|end_of_turn>|end_of_utterance>|special_12>|turn\|>"
    r"|/assistant>"
)
_TOKEN = re.compile(r"<[|｜][^|｜<>]{1,40}[|｜]>")
_TRAILING = re.compile(rf"(?:\s*(?:{_TOKEN.pattern}|</s>|<eos>|<end_of_turn>))+\s*\Z")
_TURN = (
    r"[|｜](?:im_start|start_header_id|(?:hy_|im_)?user(?:_token)?|human|system|observation|assistant|begin_of_text"
    r"|begin[▁_]of[▁_]sentence|startoftext|start_of_turn_token|start_of_role|start(?!\|>assistant))[|｜]>|start_of_turn>"
    r"|bos>|\|turn>|<SYS>>|(?:human|user|question)>|s>|role>|special_11>|extra_id_1>"
)
_KINDS = {"end": _END, "close": CLOSE, "open": OPEN, "turn": _TURN}
_ANGLED = "<(?=[|｜/a-ceh-imlqrstu<])(?:" + "|".join(f"(?P<{kind}>{each})" for kind, each in _KINDS.items()) + ")"
_OTHERS = {**BRACKETED, "[INST]": "turn", "[EOS]": "end", "[e~[": "end", "[|endofturn|]": "end",
           "[|user|]": "turn", "[|system|]": "turn", "[|assistant|]": "turn"}  # fmt: skip
_MARK = re.compile(_ANGLED, re.IGNORECASE)
_ANY_MARK = re.compile("|".join([_ANGLED, *map(re.escape, _OTHERS)]), re.IGNORECASE)
_QUOTES = {"`": "`", '"': '"', "'": "'", "“": "”"}
_CUT_TAG = re.compile(r"</[a-zA-Z]{0,18}\Z")
_BARE_ANALYSIS = re.compile(r"analysis(?=[A-Z0-9])")
"""What is left of gpt-oss's header without its special tokens, where a completion begins with it."""

_ROLES = ("user", "human", "assistant")
_ROLE_LINE = re.compile(rf"(?:\n|(?<=[.!?>)\]}}*\d]))(?:{'|'.join(_ROLES)})[ \t]*\n")
_SPEAKERS = "user|human|instruction"
_QUESTIONS = "question|problem|exercise|query|问题|問題|题目|pregunta|frage|вопрос|задача"
_OTHERS_PUT = "example|task|challenge|puzzle|prompt|input|follow-?up"
_WORDS = (*_SPEAKERS.split("|"), *_QUESTIONS.split("|"), *_OTHERS_PUT.replace("-?", "-").split("|"))
_Q = re.compile(r"q ?\d{0,3}[.:)*]")
_HEADER = re.compile(
    rf"""\n[ \t>#*_\[-]{{0,10}}(?:(?P<item>\d{{1,2}})[.)][ \t*_]{{1,4}})?
    (?:(?:here\ is\ )?(?:the\ |a\ |an\ )?(?:next|new|another|second|similar|follow-?up)\ )?
    (?:(?:math|word|practice|bonus)\ )?
    (?:(?P<speaker>{_SPEAKERS})|{_QUESTIONS}|(?P<other>{_OTHERS_PUT})|q(?=[ \d]{{0,4}}[.:)*]))s?
    [ \t]*(?P<number>\#?\d{{1,3}})?[ \t\])*_]{{0,6}}
    (?:[:：]|(?<=[\dqQ])[.)]|(?=\n|\Z))
    |\n\n(?-i:Question)\ (?=[^\s\d#])(?!(?:asks?|is|says|wants|states|requires|mentions|to|of|in|for|and|was)\b)
    |(?<=[.!?)\]}}*\d])(?P<space>[ ]{{0,2}})(?P<glued>(?-i:Human|User|Question)):""",  # noqa: RUF001
    re.IGNORECASE | re.VERBOSE,
)
_QUANTITY = r"[$€£]?\d[\d.,]*%?(?:[ \t]+[(]?[^\W\d_]+[)]?){0,3}[ \t.*]*(?=\n|\Z)"
_ITEM = re.compile(rf"[ \t*_]*(?=[$€£]?\d)(?:[^\n?=]{{0,80}}=[ \t]*)?{_QUANTITY}")
"""What follows a name in a list of quantities ("Problems: 21"), where it is no question."""
_OWN_ANSWER = re.compile(
    r"\n[ \t>#*_\[-]{0,10}(?:a|answer|assistant|response|solution|reasoning|output)s?[ \t]*\d{0,3}[\])*_]{0,4}[ \t]*:",
    re.IGNORECASE,
)
_ANOTHER = re.compile(
    r"\n[^\n]{0,40}\b(?:another|next|new|similar|different) (?:question|problem|exercise)\b", re.IGNORECASE
)
_STATED = re.compile(
    r"####[\s$*_\\(]{0,5}[-−\d]|\\[a-zA-Z]*box[^}\n]{0,60}?\d|</answer>"
    r"|\banswer\b[^\n.:=]{0,40}?(?:\bis\b|[:=])[\s*_]{0,5}:?[^\n.;:\d]{0,20}\d",
    re.IGNORECASE,
)
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
    begin, end, inside, over = 0, len(tail), bool(_BARE_ANALYSIS.match(completion)), False
    for mark in marks.finditer(tail):
        kind = mark.lastgroup or _OTHERS.get(mark[0])
        if kind == "end":
            end = mark.start()
            break
        if over or (kind in ("open", "close") and _quoted(tail, mark)):
            continue
        if kind == "open" and not inside:
            kept.append(tail[begin : mark.start()])
            inside = True
        elif kind == "close":
            kept = kept if inside else []
            begin, inside = mark.end(), False
        elif kind == "turn" and not inside:
            kept.append(tail[begin : mark.start()])
            over = bool("".join(kept).strip())
            kept, begin = kept if over else [], mark.end()
    if not inside and not over:
        kept.append(tail[begin:end])
    turn = completion[: first + end]
    text = _TOKEN.sub("\n", without_trailing(" ".join(kept)))
    response = "" if inside else _without_other_turns(text[:-20] + _CUT_TAG.sub("", text[-20:]))
    return Parts(without_trailing(turn), response, inside)


def _quoted(text: str, mark: re.Match) -> bool:
    """Whether a tag is only spoken of: "`<think>` holds my reasoning"."""
    before, after = text[max(0, mark.start() - 1) : mark.start()], text[mark.end() : mark.end() + 1]
    return before in _QUOTES and after == _QUOTES[before]


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
    said = _STATED.search(text)
    stated = said.end() if said else len(text) + 1
    numbered = False
    for header in islice(_HEADER.finditer(f"\n{text}"), MOST_QUESTIONS):
        before, after = text[: max(0, header.start() - 1)], text[header.end() - 1 :]
        item = _ITEM.match(after)
        listed = item and not (stated <= len(before) and _OWN_ANSWER.match(after, item.end()))
        if not listed and _answered(before, header, after, stated <= len(before), numbered):
            return before
        numbered = numbered or bool(header["number"] or header["item"])
    other = _ANOTHER.search(text)
    return text[: other.start()] if other and stated <= other.start() else text


def _answered(before: str, header: re.Match, after: str, stated: bool, numbered: bool) -> bool:
    """Whether what stands before a question is an answer, and the question not a part of the same one.

    Nothing, or no more than what is given, is no answer; nor is a part of a question that goes on with its next part.
    Where no answer is stated in so many words, a question needs a paragraph of its own, or an answer of its own.
    """
    if header["glued"]:
        return stated or (header["glued"] != "Question" and not header["space"] and bool(before.strip()))
    if header["speaker"]:
        return bool(before.strip())
    number = header["number"] or header["item"]
    if (number and numbered) or not re.search(r"\d", before):
        return False
    if stated or header["other"]:
        return stated
    own = header[0].startswith("\n\n") or before.rstrip(" \t").endswith("\n") or _OWN_ANSWER.search(after[:2000])
    return bool(own) and ("=" in before or not _PREAMBLE.search(before)) and number not in ("1", "#1")
