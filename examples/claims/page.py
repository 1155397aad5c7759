"""The page of the claims: one HTML file that includes its figures."""

import base64
import html
import textwrap
from collections import Counter
from collections.abc import Sequence

from .base import FAILS, HOLDS, KINDS, SHORT, SOURCES, Claim, Row
from .running import Found

CLASSES = {HOLDS: "holds", "depends": "depends", FAILS: "fails", "not tested": "untested"}
MEANINGS = {
    HOLDS: "The statement was seen in this run.",
    "depends": "A part of the statement holds, or it holds under a condition; the card says which.",
    FAILS: "It was not seen with these data, networks and seeds. That does not refute it elsewhere.",
}
_STYLE = """
:root{color-scheme:light dark;--ink:#1d1d1f;--dim:#55585e;--line:#8885;--card:#fff;--page:#f4f4f2;
--holds:#00704f;--depends:#8a5a00;--fails:#b03a00;--untested:#666}
@media (prefers-color-scheme:dark){:root{--ink:#e8e8ea;--dim:#a9adb5;--card:#1f2023;--page:#141517;
--holds:#3ecf9d;--depends:#f2b13c;--fails:#ff8a4c;--untested:#999}}
*{box-sizing:border-box}html{scroll-behavior:smooth}
body{font:15px/1.5 system-ui,sans-serif;max-width:82rem;margin:0 auto;padding:1.2rem 1rem 4rem;color:var(--ink);
background:var(--page);overflow-wrap:break-word}
h1{font-size:1.6rem;margin:.2rem 0}h2{font-size:1.15rem;margin:2.2rem 0 .3rem}h3{font-size:1rem;margin:0}
p{margin:.3rem 0;max-width:60rem}a{color:inherit}.dim,.intro{color:var(--dim)}
.holds{--tone:var(--holds)}.depends{--tone:var(--depends)}.fails{--tone:var(--fails)}.untested{--tone:var(--untested)}
.tally{display:flex;flex-wrap:wrap;gap:.5rem;margin:1rem 0 .3rem}
.tally label{flex:1 1 12rem;padding:.5rem .8rem;background:var(--card);border:1px solid var(--line);
border-left:.4rem solid var(--tone,var(--line));border-radius:6px;cursor:pointer}
.tally b{font-size:1.5rem;margin-right:.35rem}.tally small{display:block;color:var(--dim)}
.tally input{position:absolute;opacity:0}.tally label:has(:checked){outline:2px solid var(--tone,var(--dim))}
.tally label:has(:focus-visible){outline-width:3px}
body:has(#show-holds:checked) article:not(.holds),body:has(#show-depends:checked) article:not(.depends),
body:has(#show-fails:checked) article:not(.fails){display:none}
.key{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr));gap:.6rem;padding:0;list-style:none}
.key li{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.5rem .8rem}
.chips{display:flex;flex-wrap:wrap;gap:.25rem;margin:.4rem 0 0}
.chips a{padding:0 .45rem;border-radius:4px;border:1px solid var(--tone);color:var(--tone);text-decoration:none;
font-size:13px;line-height:1.7}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,36rem),1fr));gap:.8rem;margin-top:.6rem}
article{display:grid;grid-template-columns:minmax(0,1fr) 13rem;gap:.2rem 1rem;align-content:start;
background:var(--card);border:1px solid var(--line);border-left:.4rem solid var(--tone);border-radius:6px;
padding:.7rem .9rem;scroll-margin-top:.6rem}
article.bare{grid-template-columns:minmax(0,1fr)}article:target{outline:2px solid var(--tone)}
article>.text,article>.figures{min-width:0}h3 a{color:var(--tone);text-decoration:none;margin-right:.3rem}
blockquote{margin:.35rem 0;color:var(--dim)}
dl{display:grid;grid-template-columns:5.2rem minmax(0,1fr);margin:.3rem 0;gap:.1rem .4rem}
dt{color:var(--dim)}dd{margin:0}dd.verdict{color:var(--tone);font-weight:600}
summary{cursor:pointer}details.more>summary{color:var(--dim)}
.figures summary{list-style:none}.figures summary::-webkit-details-marker{display:none}
.figures img{display:block;width:100%;max-height:10rem;object-fit:contain;object-position:left;
background:#fff;border-radius:4px;padding:2px}
.figures details{margin:0 0 .5rem}
.figures span{display:block;font-size:13px;line-height:1.4;color:var(--dim);margin-top:.2rem}
article:has(.figures details[open]){grid-column:1/-1;grid-template-columns:minmax(0,1fr)}
.figures details[open] img{width:auto;max-width:100%;max-height:none}
code{font-size:12.5px;overflow-wrap:anywhere}.foot{font-size:13px;color:var(--dim);margin-top:.3rem}
@media (max-width:640px){body{font-size:16px;padding:.8rem .7rem 3rem}article{grid-template-columns:minmax(0,1fr)}
.figures img{max-height:none;width:100%}dl{grid-template-columns:minmax(0,1fr)}dt{font-size:13px;margin-top:.2rem}
.tally label{flex-basis:45%}}
@media print{body{background:#fff}article{break-inside:avoid}.cards{display:block}article{margin-bottom:.6rem}}
"""


def page(found: Sequence[Found], words: Sequence[str], command: str, missing: Sequence[Claim] = ()) -> str:
    """Return the page's HTML.

    Args:
        found: claims in order, and what became of them.
        words: lines under the title.
        command: the command of this run, without the choice of claims.
        missing: claims that were not tested because their data are missing.
    """
    cards = []
    for source in SOURCES:
        own = [one for one in found if one.claim.source == source]
        if own:
            inner = "".join(card(one, command) for one in own)
            cards.append(f"<section><h2>{_text(_sentence(source.title))}</h2><div class=cards>{inner}</div></section>")
    lines = "".join(f'<p class="intro">{_text(line)}</p>' for line in words)
    left_out = (
        f"<p>Not tested, as their data were not given (<code>--data FOLDER</code>): "
        f"{_text(', '.join(c.name for c in missing))}.</p>"
        if missing
        else ""
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Claims put to the test: {_text(tally_words(found))}</title><style>{_STYLE}</style>"
        f'<body id="top"><h1>Claims put to the test</h1>{lines}{tally(found)}{left_out}'
        f"<h2>Where the claims stand</h2>{key(found)}{''.join(cards)}</body></html>\n"
    )


def kind_of(one: Found) -> str:
    return "not tested" if one.row is None else one.row.kind


def tally_words(found: Sequence[Found]) -> str:
    counts = Counter(kind_of(one) for one in found)
    said = {HOLDS: "hold", "depends": "depend", FAILS: "do not hold here"}
    if counts["not tested"]:
        said["not tested"] = "ended with an error"
    return ", ".join(f"{counts[kind]} {words}" for kind, words in said.items())


def tally(found: Sequence[Found]) -> str:
    """Return the counts. Each is a button that shows the cards of its verdict only."""
    counts = Counter(kind_of(one) for one in found)
    buttons = [("", "all", len(found), "claims", "Choose a verdict to see its cards only.")]
    for kind, said in zip(KINDS, ("hold", "depend", "do not hold here"), strict=True):
        buttons.append((CLASSES[kind], CLASSES[kind], counts[kind], said, MEANINGS[kind]))
    if lost := counts["not tested"]:
        buttons.append(("untested", "untested", lost, "ended with an error", "The cards say which."))
    return (
        '<div class="tally">'
        + "".join(
            f'<label class="{style}"><input type="radio" name="show" id="show-{name}"'
            f"{' checked' if name == 'all' else ''}>"
            f"<b>{count}</b>{said}<small>{meaning}</small></label>"
            for style, name, count, said, meaning in buttons
        )
        + "</div>"
    )


def key(found: Sequence[Found]) -> str:
    """Return what the codes of the claims mean, with links to the sources and to the cards."""
    items = []
    for source in SOURCES:
        own = [one for one in found if one.claim.source == source]
        if not own:
            continue
        links = ", ".join(f'<a href="{_text(address)}">{_text(said)}</a>' for said, address in source.links)
        chips = "".join(
            f'<a class="{CLASSES[kind_of(one)]}" href="#{one.claim.name}" title="{_text(one.claim.title)}">'
            f"{_text(one.claim.name)}</a>"
            for one in own
        )
        code = f"<b>{source.code}</b> " if source.code else ""
        items.append(
            f"<li>{code}{_text(source.title)}: {_text(source.words)}. Read: {links}."
            f'<div class="chips">{chips}</div></li>'
        )
    return f'<ul class="key">{"".join(items)}</ul>'


def card(one: Found, command: str) -> str:
    """Return the card of a claim."""
    c, row = one.claim, one.row
    style = CLASSES[kind_of(one)]
    figures = (
        "" if row is None else "".join(_figure(f"{c.name}, figure", f.caption, one.files[f.name]) for f in row.figures)
    )
    return (
        f'<article id="{c.name}" class="{style}{"" if figures else " bare"}"><div class="text">'
        f'<h3><a href="#{c.name}">{_text(c.name)}</a> {_text(_sentence(c.title))}</h3>'
        f"<blockquote>{_text(c.statement)}</blockquote>{_said(row, one.words)}"
        f'<div class="foot"><code>{_text(command)} --only {c.name}</code> &middot; <a href="#top">top</a></div></div>'
        + (f'<div class="figures">{figures}</div>' if figures else "")
        + "</article>"
    )


def _said(row: Row | None, words: str) -> str:
    if row is None:
        return (
            f'<p class="verdict">Ended with an error.</p><details class="more"><summary>what happened</summary>'
            f"<p>{_text(words)}</p></details>"
        )
    short = row.measured if len(row.measured) <= SHORT else textwrap.shorten(row.measured, SHORT, placeholder=" ...")
    rest = " ".join(part for part in ("" if short == row.measured else f"{row.measured}.", row.details) if part)
    more = f'<details class="more"><summary>everything that was measured</summary><p>{_text(rest)}</p></details>'
    pairs = (("published", row.published, ""), ("measured", short, ""), ("verdict", row.verdict, ' class="verdict"'))
    return (
        f"<dl>{''.join(f'<dt>{name}</dt><dd{style}>{_text(text)}</dd>' for name, text, style in pairs)}</dl>"
        f"{more if rest else ''}"
    )


def _figure(name: str, caption: str, png: bytes) -> str:
    """Return a small figure that a click shows in full size."""
    content = base64.b64encode(png).decode()
    return (
        f'<details><summary title="click to enlarge or shrink"><img alt="{_text(f"{name}: {caption}")}" '
        f'src="data:image/png;base64,{content}"><span>{_text(caption)}</span></summary></details>'
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _text(text: str) -> str:
    return html.escape(text)
