"""Claims of the CS231n notes and of texts on learning rates, reproduced or refuted on the bundled data.

    python examples/reproduce.py            all claims; figures and the page index.html into examples/out/
    python examples/reproduce.py N9 D1      those claims only, on a page of their own, N9_D1.html

Several claims are tested at once, each on one thread of a process of its own; results do not depend on that.

Every figure printed is computed in this run. A new claim is one function under ``@claim`` in
``claims/``.
"""

import argparse
import html
import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from claims import CLAIMS, Claim, Row, as_markdown

import minnet as mn
from minnet.storage.files import write_whole

SHARING = ("comparison", "ensembles", "range_test", "decay")  # modules whose claims use the same runs
LONG = ("N4", "N2", "D2", "D1", "spiral", "N20", "N24", "B2")  # begun first, so that no processor idles at the end


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


def work(names: list[str], out: Path) -> list[Row]:
    """Test claims one after the other, in a process for them and others, on one thread."""
    mn.set_num_threads(1)
    return [next(c for c in CLAIMS if c.name == name).test(out) for name in names]


def together(chosen: list[Claim]) -> list[list[Claim]]:
    """Return the claims in groups for one process each, with those that share runs in one; the longest group first."""
    groups: dict[str, list[Claim]] = {}
    for c in chosen:
        module = c.test.__module__.rpartition(".")[2]
        groups.setdefault(module if module in SHARING else c.name, []).append(c)
    return sorted(groups.values(), key=lambda group: group[0].name not in LONG)


def results(chosen: list[Claim], out: Path, workers: int) -> Iterator[tuple[Claim, Row]]:
    """Test claims in several processes; yield results as they come, and say now and then what is under way."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        begun = time.perf_counter()
        pending = {pool.submit(work, [c.name for c in group], out): group for group in together(chosen)}
        while pending:
            done, _ = wait(pending, timeout=10, return_when=FIRST_COMPLETED)
            for future in done:
                yield from zip(pending.pop(future), future.result(), strict=True)
            if not done:
                running = ", ".join(c.name for future, group in pending.items() if future.running() for c in group)
                print(f"    {time.perf_counter() - begun:.0f} s, working on {running}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(c.name for c in CLAIMS)}; all if none"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for figures and page")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; one a core unless given")
    arguments = parser.parse_args()
    unknown = set(arguments.claims) - {c.name for c in CLAIMS}
    if unknown:
        parser.error(f"expected claims of {', '.join(c.name for c in CLAIMS)}; got {', '.join(sorted(unknown))}")
    chosen = [c for c in CLAIMS if not arguments.claims or c.name in arguments.claims]
    arguments.out.mkdir(parents=True, exist_ok=True)
    how_long = " All of them take 2 to 6 minutes on two cores." if len(chosen) == len(CLAIMS) else ""
    print(
        f"minnet {mn.__version__}: {len(chosen)} of {len(CLAIMS)} claims, {arguments.workers} at a time, figures into "
        f"{arguments.out}.{how_long} The first run compiles the kernels, which takes half of its time.\n",
        flush=True,
    )
    start, found = time.perf_counter(), {}
    for c, row in results(chosen, arguments.out, arguments.workers):
        found[c.name] = row
        print(f"[{len(found)} of {len(chosen)}] {c.name}: {c.statement} ({c.source})")
        print(
            f"    published  {row.published}\n    measured   {row.measured}\n    verdict    {row.verdict}\n", flush=True
        )
    rows = [(c, found[c.name]) for c in chosen]
    # Some claims only have a page of their own, so that the one of all claims stays.
    stem = "_".join(c.name for c in chosen) if len(chosen) < len(CLAIMS) else ""
    page = arguments.out / f"{stem or 'index'}.html"
    write_whole(page, as_html(rows, time.perf_counter() - start))
    write_whole(arguments.out / f"{stem or 'table'}.md", as_markdown(rows))
    print(f"{len(rows)} claims in {time.perf_counter() - start:.0f} s; figures and table: {page}")


if __name__ == "__main__":
    main()
