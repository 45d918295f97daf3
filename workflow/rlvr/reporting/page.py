"""The HTML pages, which open from disk; every text is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

TEMPLATE = Path(__file__).with_name("page.html.j2")


def render(template: str, **values: Any) -> str:
    """Renders the template of that name in `page.html.j2`."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text())
    return page.render(template=template, **values)
