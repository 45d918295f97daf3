"""The tags of reasoning: those that vLLM's reasoning parsers read, and those of common prompts.

A module of its own, as stages that train and generate depend on it: an edit of a verifier must not rerun them.
"""

from __future__ import annotations

import re

_REASONING = (
    r"(?:seed:|mm:|longcat_)?(?:think(?:ing)?|thoughts?|(?:thought|thinking|reasoning)_process|reason(?:ing)?|scratchpad"
    r"|reflection|analysis|rationale|(?:inner_|internal_)?monologue)\s?>"
)
CLOSE = (
    rf"/{_REASONING}|[|｜](?:end_of_thought|end_thinking|/think(?:ing)?)[|｜]>|/\|thinking\|>|channel\|>|unused95>"
    r"|\|channel\|>final(?:<\|message\|>)?"
)
OPEN = (
    rf"{_REASONING}|[|｜](?:begin_of_thought|start_thinking|think)[|｜]>|\|thinking\|>|\|channel>|unused94>"
    r"|\|channel\|>(?:analysis|commentary)"
)
BRACKETED = {
    "[/THINK]": "close",
    "[THINK]": "open",
    "◁/think▷": "close",
    "◁think▷": "open",
    "assistantfinal": "close",
    "Here is my response:": "close",
    "Here's my response:": "close",
}
"""Those that do not begin with <: what is left of gpt-oss's header without its special tokens, and Granite's words.

Granite's "Here is my thought process:" opens nothing, as any model may write it and answer below.
"""
_KINDS = {kind: [tag for tag, of in BRACKETED.items() if of == kind] for kind in ("open", "close")}
OPENING = re.compile("|".join([rf"<(?:{OPEN})", *map(re.escape, _KINDS["open"])]), re.IGNORECASE)
CLOSING = re.compile("|".join([rf"<(?:{CLOSE})", *map(re.escape, _KINDS["close"])]), re.IGNORECASE)
