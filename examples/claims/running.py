"""Claims as units of work: what is stored under which key, in which order, and what processes are busy with.

A part of a claim, and the judgement on a claim, are units of ``minnet.experiments``. Their outcomes are stored, so a
run that was killed goes on where it was, and a run of other claims takes over what they share. The key of a unit has a
digest of the sources of minnet and of the claims, so that nothing is taken over from other code.
"""

import base64
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import event
from tqdm import tqdm

import minnet as mn
from minnet.experiments.store import Store
from minnet.experiments.units import DONE, Outcome, Shared, Unit, digest
from minnet.experiments.workers import Engine
from minnet.kernels.vector.simd import VECTOR_BYTES

from .base import CLAIMS, SOURCES, Claim, Effort, Figure, Part, Result, Row

EXAMPLES = Path(__file__).parents[1]
# Seconds that claims take beyond half a second, with few seeds and compiled kernels, on one core of a Zen 4.
SECONDS = {
    **{"N11": 1, "N13": 2, "N15": 2, "N16": 4, "N12": 2, "N14": 1, "N17": 1, "N20": 2, "N21": 10, "B7": 2, "L8": 1},
    **{"N19": 2, "B2": 3, "N24": 5, "N25": 2, "L7": 5, "spiral": 5, "D1": 2, "D2": 2, "D3": 3, "N23": 5, "B6": 5},
    **{"cifar-mlp": 20, "cifar-conv": 90},
}
COMPILING = 50  # seconds on one core for all kernels
# Kernels are compiled for each precision. One process begins with double precision, the others with single precision;
# otherwise two would compile the same kernels at the same time.
DOUBLE = ("N1", "N2", "N3", "N5", "N6", "N7", "N8", "N15", "N18", "N20")


def expected_seconds(chosen: Sequence[Claim], effort: Effort, workers: int) -> tuple[float, float]:
    """Return the seconds that claims take on a Zen 4, with and without compiled kernels."""
    more = effort.seeds / 5 if effort.seeds else 1 if effort.quick else 3
    cores = max(1, min(workers, os.cpu_count() or 1))
    seconds = sum(more * SECONDS.get(c.name, 0.4) for c in chosen) / cores
    return seconds + 3, seconds + 3 + COMPILING * min(1, len(chosen) / 10) / cores


@cache
def code() -> str:
    """Return a digest of what decides results: sources, versions of the libraries, width of the vectors."""
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(
        [*Path(mn.__file__).parent.rglob("*.py"), *EXAMPLES.glob("*.py"), *EXAMPLES.glob("claims/*.py")]
    ):
        found.update(path.read_bytes())
    return digest(found.hexdigest(), np.__version__, numba.__version__, VECTOR_BYTES)


# In the process that does the work -------------------------------------------------------------------------------


class Notes(event.Listener):
    """Writes what this process does to a file of its own in a folder, for those who wait."""

    def __init__(self, folder: str) -> None:
        self._path, self._work, self._kernels = Path(folder) / f"{os.getpid()}.txt", "", []
        self._count, self._seconds, self._since = 0, 0.0, 0.0

    def works_on(self, what: str) -> None:
        self._work = what
        self._write()

    def on_start(self, found: Any) -> None:
        self._kernels.append(found.data["dispatcher"].py_func.__name__)
        if len(self._kernels) == 1:  # those within it are its helpers
            self._since = time.perf_counter()
            self._write()

    def on_end(self, found: Any) -> None:
        self._kernels.pop()
        if not self._kernels:
            self._count, self._seconds = self._count + 1, self._seconds + time.perf_counter() - self._since
            self._write()

    def _write(self) -> None:
        kernel = self._kernels[0] if self._kernels else ""
        with suppress(OSError):  # the folder is gone if the coordinator was killed
            self._path.write_text(f"{self._work}\t{kernel}\t{self._count}\t{self._seconds}", encoding="utf-8")


@cache
def notes(folder: str) -> Notes:
    """Return the notes of this process, which listen to Numba from the first call on.

    Progress bars lock with threads only. tqdm would make a semaphore, which a process that is ended leaves behind.
    """
    listener = Notes(folder)
    tqdm.set_lock(threading.RLock())
    event.register("numba:compile", listener)
    return listener


def run_part(folder: str, label: str, part: Part) -> tuple[Result, None]:
    """The function of the unit of a part."""
    notes(folder).works_on(label)
    try:
        return part(), None
    finally:
        notes(folder).works_on("")


def judge(folder: str, name: str, effort: Effort, *results: Result) -> tuple[Result, None]:
    """The function of the unit of a judgement: the row, and all files that the test has written."""
    notes(folder).works_on(name)
    try:
        with tempfile.TemporaryDirectory() as out:
            row = known(name).test(Path(out), effort, *results)
            files = {path.name: base64.b64encode(path.read_bytes()).decode() for path in Path(out).iterdir()}
        return {"row": asdict(row), "files": files}, None
    finally:
        notes(folder).works_on("")


def known(name: str) -> Claim:
    return next(c for c in CLAIMS if c.name == name)


def in_order_of_codes(claims: Sequence[Claim]) -> list[Claim]:
    """Return claims as a reader looks for them: by source, then by number."""

    def place(c: Claim) -> tuple[int, int]:
        number = c.name.removeprefix(c.source.code)
        return SOURCES.index(c.source), int(number) if number.isdigit() else 0

    return sorted(claims, key=place)


# In the coordinator ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What became of a claim: its row with its files, or why there is none.

    ``seconds`` are those of all of its units, wherever and whenever they ran.
    """

    claim: Claim
    row: Row | None
    files: Mapping[str, bytes]
    words: str
    seconds: float


@dataclass
class State:
    """How far a run is, for those who watch."""

    total: int
    done: int = 0
    stored: int = 0
    cost: float = 0.0
    whole: float = 0.0


def part_units(chosen: Sequence[Claim], effort: Effort) -> dict[str, list[Unit]]:
    """Return the units of the parts of each claim. Claims that share a part have units with the same key."""
    folder, found = Shared("folder"), {}
    for c in chosen:
        parts = c.parts(effort)
        found[c.name] = [
            Unit(
                digest(code(), part.function, part.arguments), run_part, (folder, f"{c.name} {i} of {len(parts)}", part)
            )
            for i, part in enumerate(parts, 1)
        ]
    return found


def judgement(c: Claim, effort: Effort, parts: Sequence[Unit], results: Sequence[Result]) -> Unit:
    """Return the unit that judges a claim. Its key has what its parts depend on."""
    key = digest(code(), c.name, effort, [part.key for part in parts])
    return Unit(key, judge, (Shared("folder"), c.name, effort, *results), {"claim": c.name})


def in_order(chosen: Sequence[Claim], parts: Mapping[str, list[Unit]], alone: Mapping[str, Unit]) -> list[Unit]:
    """Return the units of the first round: parts, and judgements of claims without parts.

    The first units of all claims come first, so that two processes seldom compile for the same claim.
    """
    rounds = []
    for place, c in enumerate(chosen):
        late = c.name in DOUBLE
        units = parts[c.name] or [alone[c.name]]
        rounds += [((i, c.name != "N4", late, place), unit) for i, unit in enumerate(units)]
    unique = {unit.key: unit for _, unit in sorted(rounds, key=lambda pair: pair[0], reverse=True)}
    return list(unique.values())[::-1]


def test(chosen: Sequence[Claim], effort: Effort, store: Store, engine: Engine, state: State) -> Iterator[Found]:
    """Put claims to the test; return an iterator over what was found, in the order in which it comes."""
    parts = part_units(chosen, effort)
    alone = {c.name: judgement(c, effort, (), ()) for c in chosen if not parts[c.name]}
    units = in_order(chosen, parts, alone)
    names = {unit.key: name for name, unit in alone.items()}
    weights = _weights(chosen, parts, alone)
    state.whole = sum(weights.values())
    state.stored = sum(store.get(unit.key, state=False) is not None for unit in units)
    outcomes: dict[str, Outcome] = {}
    for unit, outcome in engine.run(units, store):
        outcomes[unit.key] = outcome
        state.cost += weights[unit.key]
        if unit.key in names:
            state.done += 1
            yield _found(known(names[unit.key]), outcome, [outcome])
    last = []
    for c in chosen:
        if c.name in alone:
            continue
        of_parts = [outcomes[unit.key] for unit in parts[c.name]]
        if lost := [outcome for outcome in of_parts if outcome.status != DONE]:
            state.done += 1
            yield _found(c, lost[0], of_parts)
        else:
            last.append(judgement(c, effort, parts[c.name], [outcome.result for outcome in of_parts]))
    for unit, outcome in engine.run(last, store):
        c = known(unit.columns["claim"])
        state.done += 1
        state.cost += 0.3
        yield _found(c, outcome, [outcome, *(outcomes[part.key] for part in parts[c.name])])


def _weights(chosen: Sequence[Claim], parts: Mapping[str, list[Unit]], alone: Mapping[str, Unit]) -> dict[str, float]:
    """Return what share of the time each unit of the first round takes; a shared part counts once."""
    weights: dict[str, float] = {}
    for c in chosen:
        units = parts[c.name] or [alone[c.name]]
        for unit in units:
            weights.setdefault(unit.key, SECONDS.get(c.name, 0.4) / len(units))
    return weights


def _found(c: Claim, outcome: Outcome, outcomes: Sequence[Outcome]) -> Found:
    seconds = sum(one.seconds for one in outcomes)
    if outcome.status != DONE:
        return Found(c, None, {}, f"{outcome.status}: {outcome.words}", seconds)
    fields = dict(outcome.result["row"])
    row = Row(**fields | {"figures": [Figure(**figure) for figure in fields["figures"]]})
    files = {name: base64.b64decode(content) for name, content in outcome.result["files"].items()}
    return Found(c, row, files, "", seconds)


@dataclass(frozen=True)
class Busy:
    """What the processes do at a moment: claims that run, kernels that are compiled, how many were."""

    running: list[str]
    compiling: list[str]
    kernels: int
    seconds: float

    @classmethod
    def of(cls, folder: Path) -> "Busy":
        running, compiling, kernels, seconds = [], [], 0, 0.0
        for path in sorted(folder.glob("*.txt")):
            with suppress(OSError, ValueError):  # ValueError: it is being written
                work, kernel, count, spent = path.read_text(encoding="utf-8").split("\t")
                kernels, seconds = kernels + int(count), seconds + float(spent)
                if kernel:
                    compiling.append(f"{kernel} for {work}")
                elif work:
                    running.append(work)
        return cls(running, compiling, kernels, seconds)

    def __str__(self) -> str:
        words = [f"compiling {', '.join(self.compiling)}"] if self.compiling else []
        words += [f"running {', '.join(self.running)}"] if self.running else []
        return "; ".join(words) or "starting processes"


@contextmanager
def at_work(workers: int) -> Iterator[tuple[Engine, Path]]:
    """An engine, and the folder in which its processes say what they do."""
    with tempfile.TemporaryDirectory() as folder, Engine(workers, shared={"folder": folder}) as engine:
        notes.cache_clear()
        yield engine, Path(folder)
