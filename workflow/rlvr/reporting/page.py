"""The HTML pages, which open from disk; every text is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

TEMPLATE = Path(__file__).with_name("page.html.j2")


def render(template: str, **values: Any) -> str:
    """Renders the template of that name in `page.html.j2`."""
    return _pages().render(template=template, **values)


@cache
def _pages() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
