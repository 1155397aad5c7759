"""Claims of the CS231n notes and of texts on learning rates, reproduced or refuted on the bundled data.

    python examples/reproduce.py            all claims; figures and the page index.html into examples/out/
    python examples/reproduce.py N9 D1      those claims only, on a page of their own, N9_D1.html

Every figure printed is computed in this run. A new claim is one function under ``@claim`` in
``claims/``.
"""

import argparse
import html
import sys
import time
from pathlib import Path

from claims import CLAIMS, Claim, Row, as_markdown
from numba.core import event
from tqdm import tqdm

import minnet as mn
from minnet.storage.files import write_whole


def as_html(rows: list[tuple[Claim, Row]], seconds: float) -> str:
    def cell(text: str) -> str:
        return f"<td>{html.escape(text)}</td>"

    table = "\n".join(
        f"<tr>{cell(c.name)}{cell(c.statement)}{cell(c.source)}{cell(r.published)}{cell(r.measured)}{cell(r.verdict)}</tr>"
        for c, r in rows
    )
    figures = "\n".join(
        f'<figure><img src="{name}" alt="{html.escape(c.statement)}">'
        f"<figcaption>{html.escape(f'{c.name}: {c.statement}')}</figcaption></figure>"
        for c, r in rows
        for name in r.figures
    )
    style = (
        "body{font:15px/1.45 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;padding:.4rem .6rem;text-align:left;"
        "vertical-align:top}td:last-child{font-weight:600}img{max-width:100%}figure{margin:2rem 0}"
        "figcaption{color:#555}div{overflow-x:auto}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>minnet: claims put to the test</title>"
        f"<style>{style}</style><h1>Claims put to the test</h1>"
        f"<p>minnet {mn.__version__}; computed in {seconds:.0f} s.</p>"
        "<div><table><tr><th>claim</th><th>statement</th><th>source</th><th>published</th><th>measured</th><th>verdict</th></tr>"
        f"{table}</table></div>{figures}</html>\n"
    )


def say(text: str) -> None:
    """Print at once, above the progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


class Compiling(event.Listener):
    """Says once a claim that kernels are being compiled, which may take longer than the claim itself."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: event.Event) -> None:
        if not self.said:
            say("    compiling kernels, once: the next run finds them on the disk")
        self.said = True

    def on_end(self, event: event.Event) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(c.name for c in CLAIMS)}; all if none"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for figures and page")
    arguments = parser.parse_args()
    unknown = set(arguments.claims) - {c.name for c in CLAIMS}
    if unknown:
        parser.error(f"expected claims of {', '.join(c.name for c in CLAIMS)}; got {', '.join(sorted(unknown))}")
    chosen = [c for c in CLAIMS if not arguments.claims or c.name in arguments.claims]
    arguments.out.mkdir(parents=True, exist_ok=True)
    start, rows = time.perf_counter(), []
    how_long = " All of them take 3 to 10 minutes on two cores." if len(chosen) == len(CLAIMS) else ""
    say(f"minnet {mn.__version__}: {len(chosen)} of {len(CLAIMS)} claims, figures into {arguments.out}.{how_long}\n")
    compiling = Compiling()
    with event.install_listener("numba:compile", compiling):
        for i, c in enumerate(tqdm(chosen, desc="claims", disable=None), 1):
            say(f"[{i} of {len(chosen)}] {c.name}: {c.statement} ({c.source})")
            compiling.said = False
            row = c.test(arguments.out)
            rows.append((c, row))
            say(f"    published  {row.published}\n    measured   {row.measured}\n    verdict    {row.verdict}\n")
    # Some claims only have a page of their own, so that the one of all claims stays.
    stem = "_".join(c.name for c in chosen) if len(chosen) < len(CLAIMS) else ""
    page = arguments.out / f"{stem or 'index'}.html"
    write_whole(page, as_html(rows, time.perf_counter() - start))
    write_whole(arguments.out / f"{stem or 'table'}.md", as_markdown(rows))
    print(f"{len(rows)} claims in {time.perf_counter() - start:.0f} s; figures and table: {page}")


if __name__ == "__main__":
    main()
