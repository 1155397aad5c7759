"""Claims of the CS231n notes and of texts on learning rates, reproduced or refuted on the bundled data.

    python examples/reproduce.py --quick              all claims with few seeds; the page into examples/out/index.html
    python examples/reproduce.py                      all claims with more seeds
    python examples/reproduce.py --only N9 D1         those claims only, on a page of their own, N9_D1.html
    python examples/reproduce.py --data FOLDER        with the claims that need CIFAR-10, in FOLDER/cifar10

Several claims are tested at once, each on one thread of a process of its own; results do not depend on that. What was
computed is stored in claims.db beside the page. A run that was interrupted goes on where it was, and nothing that is
stored is computed again; delete the file to compute all of it.

Every figure printed is computed by this program. A new claim is one function under ``@claim`` in ``claims/``.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from claims import CLAIMS, Claim, Effort, as_markdown
from claims.page import page, tally_words
from claims.running import Busy, Found, State, at_work, expected_seconds, in_order_of_codes, test

import minnet as mn
from minnet.experiments.store import Store, StoreError
from minnet.storage.files import write_together, write_whole


class Ticker:
    """Says what the processes do while one waits: in one line that changes on a terminal, now and then elsewhere."""

    def __init__(self, state: State, folder: Path, processes: int) -> None:
        self._state, self._folder, self._processes = state, folder, processes
        self._begun = self._said = time.monotonic()
        self._terminal, self._end = sys.stdout.isatty(), threading.Event()
        self._lock, self._thread = threading.Lock(), threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Ticker":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def say(self, text: str) -> None:
        """Print lines that stay."""
        with self._lock:
            self._said = time.monotonic()
            print(f"\r\x1b[K{text}" if self._terminal else text, flush=True)

    def _tick(self) -> None:
        while not self._end.wait(0.5 if self._terminal else 1.0):
            with self._lock:
                now = time.monotonic()
                if self._terminal:
                    width = os.get_terminal_size(sys.stdout.fileno()).columns - 1
                    print(f"\r\x1b[K{self.text(now)[:width]}", end="", flush=True)
                elif now - self._said >= 5:
                    self._said = now
                    print(self.text(now), flush=True)

    def text(self, now: float) -> str:
        """Return the line."""
        s, busy, spent = self._state, Busy.of(self._folder), now - self._begun
        running = spent - busy.seconds / self._processes
        known = running > 0 and s.cost > s.whole / 5
        left = f", about {running / s.cost * (s.whole - s.cost):.0f} s left" if known else ""
        kernels = f", {busy.kernels} kernels compiled" if busy.kernels else ""
        return f"    {spent:.0f} s: {s.done} of {s.total} done{left}{kernels}; {busy}"


def header(chosen: Sequence[Claim], effort: Effort, workers: int, out: Path) -> str:
    compiled, cold = expected_seconds(chosen, effort, workers)
    seeds = f"{effort.seeds} seeds" if effort.seeds else "few seeds" if effort.quick else "many seeds"
    return (
        f"minnet {mn.__version__}: {len(chosen)} of {len(CLAIMS)} claims with {seeds}, {workers or 1} at a time. On "
        f"a Zen 4 this takes about {compiled:.0f} s, and {cold:.0f} s if kernels have to be compiled, as in a first "
        f"run.\nFigures, table and page go into {out}.\n"
    )


def spoken(one: Found, number: int, total: int) -> str:
    head = f"[{number} of {total}] {one.claim.name}: {one.claim.title}"
    if one.row is None:
        return f"{head}\n    {one.words}\n"
    row = one.row
    return f"{head}\n    published  {row.published}\n    measured   {row.measured}\n    verdict    {row.verdict}\n"


def write(
    found: Sequence[Found], stem: str, words: Sequence[str], command: str, missing: Sequence[Claim], out: Path
) -> Path:
    """Write figures with their data, table and page; return the path of the page."""
    write_together({out / name: content for one in found for name, content in one.files.items()})
    target = out / f"{stem or 'index'}.html"
    write_whole(target, page(found, words, command, missing))
    write_whole(
        out / f"{stem or 'table'}.md", as_markdown((one.claim, one.row) for one in found if one.row is not None)
    )
    return target


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(c.name for c in CLAIMS)
    parser.add_argument("--only", nargs="+", metavar="CLAIM", default=[], help=f"of {names}; all if not given")
    parser.add_argument("--quick", action="store_true", help="few seeds: one or two minutes on two cores")
    parser.add_argument("--seeds", type=int, help="of every claim that has several; its own number if not given")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="with cifar10/, for the claims that need it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for figures and page")
    parser.add_argument("--store", type=Path, help="file with what was computed; claims.db in --out if not given")
    workers = os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=workers, help="processes; one a core if not given, 0 for none")
    return parser


def chosen_of(parser: argparse.ArgumentParser, given: argparse.Namespace) -> tuple[list[Claim], list[Claim]]:
    """Return the claims to test, and those that are left out because their data are missing."""
    if unknown := set(given.only) - {c.name for c in CLAIMS}:
        parser.error(f"expected claims of {', '.join(c.name for c in CLAIMS)}; got {', '.join(sorted(unknown))}")
    if given.seeds is not None and given.seeds < 2:
        parser.error(f"expected --seeds of at least 2, so that there is an interval; got {given.seeds}")
    if given.workers < 0:
        parser.error(f"expected --workers of at least 0; got {given.workers}")
    asked = [c for c in CLAIMS if not given.only or c.name in given.only]
    without = [c for c in asked if c.needs and (given.data is None or not (given.data / c.needs).is_dir())]
    if without and (given.only or given.data is not None):
        needs = sorted({c.needs for c in without})
        parser.error(f"expected --data with a folder {needs[0]} in it for {without[0].name}; got {given.data}")
    return [c for c in asked if c not in without], without


def main() -> int:
    parser = options()
    given = parser.parse_args()
    chosen, missing = chosen_of(parser, given)
    effort = Effort(given.quick, given.seeds, None if given.data is None else str(given.data.resolve()))
    given.out.mkdir(parents=True, exist_ok=True)
    place = given.store or given.out / "claims.db"
    state, begun, found = State(len(chosen)), time.perf_counter(), {}
    print(header(chosen, effort, given.workers, given.out), flush=True)
    with Store(place, {"what": "claims of examples/reproduce.py"}) as store, at_work(given.workers) as (engine, folder):
        try:
            with Ticker(state, folder, given.workers or 1) as ticker:
                for one in test(chosen, effort, store, engine, state):
                    found[one.claim.name] = one
                    ticker.say(spoken(one, len(found), len(chosen)))
        except KeyboardInterrupt:
            print(f"\nInterrupted. What was computed is in {place}: the same command goes on from there.")
            return 130
        busy = Busy.of(folder)
    rows = [found[c.name] for c in in_order_of_codes(chosen)]
    seconds = time.perf_counter() - begun
    # Some claims only have a page of their own, so that the one of all claims stays.
    stem = "_".join(c.name for c in chosen) if given.only else ""
    words = [
        f"minnet {mn.__version__}, {len(chosen)} of {len(CLAIMS)} claims with "
        f"{'few seeds (--quick)' if given.quick else 'many seeds'}{f', {given.seeds} each' if given.seeds else ''}. "
        "Each statement is in the words of its source, translated plainly; every figure was measured by minnet on "
        "small data sets. Intervals are of 95 %.",
        f"Computed in {sum(one.seconds for one in rows):.0f} s of processor time. A figure grows when it is clicked.",
    ]
    command = "python examples/reproduce.py" + "".join(
        [" --quick" * given.quick, f" --seeds {given.seeds}" if given.seeds else ""]
    )
    if any(c.needs for c in chosen):
        command += " --data FOLDER"
    target = write(rows, stem, words, command, missing, given.out)
    stored = f", {state.stored} results taken from {place}" if state.stored else ""
    kernels = f", {busy.kernels} kernels compiled in {busy.seconds:.0f} s of them" if busy.kernels else ""
    print(f"{len(rows)} claims in {seconds:.0f} s{kernels}{stored}: {tally_words(rows)}. Figures and table: {target}")
    return 1 if any(one.row is None for one in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StoreError as error:  # such as another run at work in the same folder
        sys.exit(f"reproduce.py: {error}")
