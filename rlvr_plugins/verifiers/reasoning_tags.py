"""The tags of reasoning: those that vLLM's reasoning parsers read, and those of common prompts.

A module of its own, as stages that train and generate depend on it: an edit of a verifier must not rerun them.
"""

from __future__ import annotations

import re

_REASONING = r"(?:seed:|mm:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|scratchpad|reflection)\s?>"
CLOSE = (
    rf"/{_REASONING}|[|｜](?:end_of_thought|end_thinking|/think)[|｜]>|/\|thinking\|>|channel\|>"
    r"|\|channel\|>final(?:<\|message\|>)?"
)
OPEN = (
    rf"{_REASONING}|[|｜](?:begin_of_thought|start_thinking|think)[|｜]>|\|thinking\|>|\|channel>"
    r"|\|channel\|>(?:analysis|commentary)"
)
BRACKETED = {
    "[/THINK]": "close",
    "[THINK]": "open",
    "◁/think▷": "close",
    "◁think▷": "open",
    "assistantfinal": "close",
}
"""Those that do not begin with <; the last is what is left of gpt-oss's header without its special tokens."""
_KINDS = {kind: [tag for tag, of in BRACKETED.items() if of == kind] for kind in ("open", "close")}
OPENING = re.compile("|".join([rf"<(?:{OPEN})", *map(re.escape, _KINDS["open"])]), re.IGNORECASE)
CLOSING = re.compile("|".join([rf"<(?:{CLOSE})", *map(re.escape, _KINDS["close"])]), re.IGNORECASE)
