"""Write a card as Markdown or as a page. Pure text; everything that came from outside is escaped."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

Rows = Sequence[tuple[str, Sequence[tuple[str, str, str]]]]
"""(heading, claims); a claim is (kind, text, source)."""

SIGNS = {"measured": "✓", "attested": "◎", "absent": "◌"}
STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#16191f, #eceef1); --soft: light-dark(#4a505b, #b3bac5);
  --paper: light-dark(#fcfcfa, #101317); --line: light-dark(#e3e3dd, #2a313a); --pass: light-dark(#00725c, #3fc4a4) }
* { box-sizing: border-box }
body { margin: 2rem auto; padding: 0 1rem; max-width: 52rem; font: 15px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.25 } h2 { font-size: 1.05rem; margin: 1.8rem 0 .5rem }
code { font-size: .85em } p { margin: 0 } .soft { color: var(--soft) }
ul { list-style: none; margin: 0; padding: 0; border-top: 1px solid var(--line) }
li { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr) minmax(0, 15rem); gap: 0 1rem; padding: .5rem 0;
  border-bottom: 1px solid var(--line); break-inside: avoid }
li > span { font-size: .85rem } span.measured { color: var(--pass) } .absent p { color: var(--soft) }
@media (max-width: 40rem) { li { grid-template-columns: minmax(0, 1fr) } }
@media print { body { margin: 0; max-width: none; font-size: 10pt } }
"""


def source(what: str, digest: str, who: str, at: float | None) -> str:
    """Say what stands behind a claim, in the order who, when, what, digest."""
    parts = [who, day(at) if at is not None else "", what, digest]
    return ", ".join(part for part in parts if part)


def day(at: float) -> str:
    """Write the day of an instant in UTC.

    >>> day(1795182720)
    '20 Nov 2026'
    """
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%b %Y}"


def plain(text: str) -> str:
    r"""Make text from outside safe inside one Markdown line: no markup, no HTML, no new line.

    >>> plain("<b>*x*</b>\n# y")
    '&lt;b&gt;\\*x\\*&lt;/b&gt; \\# y'
    """
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]()#|!~])", r"\\\1", flat)


def markdown(title: str, digest: str, sentence: str, rows: Rows) -> str:
    """Write a card as Markdown."""
    lines = [f"# {plain(title)}", "", sentence, "", f"Digest: `{re.sub('[^a-z0-9:]', '', digest)}`", ""]
    for heading, claims in rows:
        lines += [f"## {plain(heading)}", ""]
        for kind, text, behind in claims:
            lines.append(f"- {SIGNS[kind]} **{kind}** {plain(text)}" + (f" ({plain(behind)})" if behind else ""))
        lines.append("")
    return "\n".join(lines)


def html(title: str, digest: str, sentence: str, rows: Rows) -> str:
    """Write a card as one page without scripts, images or addresses."""
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(sentence)}</p>",
        f'<p class="soft">Digest <code>{escape(digest)}</code></p>',
    ]
    for heading, claims in rows:
        body.append(f"<h2>{escape(heading)}</h2><ul>")
        body += [
            f'<li class="{kind}"><span class="{kind}">{SIGNS[kind]} {kind}</span><p>{escape(text)}</p>'
            f'<span class="soft">{escape(behind)}</span></li>'
            for kind, text, behind in claims
        ]
        body.append("</ul>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )
