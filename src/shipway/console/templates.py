"""Open the page templates: Jinja2 with escaping always on and nothing undefined let through."""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from shipway.console import assets, draw, figures

FOLDER = Path(__file__).parent / "html"


def when(at: float | None, now: float, style: str = "clock") -> Markup:
    """Write an instant in UTC, for the page's script to turn into the reader's zone; style is clock, day or full."""
    if at is None:
        return escape(figures.NOTHING)
    shown = figures.utc(at) if style == "full" else figures.day(at) if style == "day" else figures.clock(at, now)
    return Markup('<time datetime="{}" data-style="{}" title="{}">{}</time>').format(
        figures.iso(at), style, figures.utc(at), shown
    )


INSTANT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d):\d\d UTC")


def timed(sentence: str) -> Markup:
    """Escape a sentence and make the instants in it ones that the page's script can turn into the reader's zone."""
    marked = '<time datetime="\\1T\\2Z" title="\\1, \\2 UTC">\\1 \\2 UTC</time>'
    return Markup(INSTANT.sub(marked, str(escape(sentence))))  # noqa: S704 - escaped just before


def whole(sentence: str) -> str:
    """Keep a number and its per cent on one line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def environment() -> Environment:
    """Make the environment all pages are rendered in."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(lamp=draw.lamp, when=when, assets=assets.VERSION, draw=draw)
    made.filters.update(
        count=figures.count,
        number=figures.number,
        percent=figures.percent,
        signed=figures.signed,
        start=figures.start,
        size=figures.size,
        duration=figures.duration,
        timed=timed,
        whole=whole,
        words=figures.words,
    )
    return made


_ENVIRONMENT = environment()


def page(template: str, **values: Any) -> str:  # noqa: ANN401 - a template takes anything
    """Render one page."""
    return _ENVIRONMENT.get_template(template).render(**values)
