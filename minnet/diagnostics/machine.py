"""``python -m minnet``: what minnet runs on here; ``python -m minnet doctor``: what is wrong with that."""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

import numpy as np

from ..kernels import cache, calls, compile
from ..kernels.threads import get_num_threads
from ..kernels.vector.product import multiply, new_work
from ..kernels.vector.simd import VECTOR_BYTES

PEERS = (
    *("torch", "jax", "scikit-learn", "onnx", "onnxruntime", "distributed", "mpi4py", "matplotlib", "safetensors"),
    *("pandas", "pooch", "tensorboardX", "mlflow-skinny", "wandb"),  # mlflow needs mlflow-skinny, too
)
_SIZE = 512  # rows and columns of the matrices of the timed product
_ROUNDS = 20


@dataclass(frozen=True)
class Machine:
    """What minnet runs on.

    Attributes:
        versions: by name of a package; None for one that is not installed.
        processor: its name and architecture.
        cores: cores that this process may use.
        vector_bytes: bytes of a vector register that kernels use.
        threads: threads that kernels use.
        library: what Numba runs threads with.
        compiled: whether kernels are compiled.
        places: folders of compiled kernels.
        size: bytes of compiled kernels in them.
        unkept: why compiled kernels are not kept; None if they are.
        refused: why they are not kept where NUMBA_CACHE_DIR says; None if they are, or if it is not set.
    """

    versions: dict[str, str | None]
    processor: str
    cores: int
    vector_bytes: int
    threads: int
    library: str
    compiled: bool
    places: tuple[Path, ...]
    size: int
    unkept: str | None
    refused: str | None

    @classmethod
    def here(cls) -> "Machine":
        """Return the machine of this process."""
        places, asked = tuple(cache.places()), os.environ.get("NUMBA_CACHE_DIR")
        versions = {name: _version(name) for name in ("numpy", "numba", "llvmlite", *PEERS)}
        return cls(
            # Of the code that runs, which need not be the one that is installed.
            versions={"minnet": str(vars(sys.modules[__name__.partition(".")[0]])["__version__"]), **versions},
            processor=f"{_processor()} ({platform.machine()})",
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            vector_bytes=VECTOR_BYTES,
            threads=get_num_threads(),
            library=calls.threading_library(),
            compiled=compile.IS_COMPILED,
            places=places,
            size=sum(_size(place) for place in places),
            unkept=cache.failure() or next(filter(None, map(_unwritable, places)), None),
            refused=_unwritable(Path(asked)) if asked else None,
        )

    def lines(self) -> list[str]:
        """Return the lines that ``python -m minnet`` prints."""
        own = {name: self.versions[name] or "not installed" for name in ("minnet", "numpy", "numba", "llvmlite")}
        peers = [f"{name} {self.versions[name]}" for name in PEERS if self.versions[name]]
        rows = {
            "minnet": own.pop("minnet"),
            "with": ", ".join(
                [f"Python {platform.python_version()}", *(f"{name} {number}" for name, number in own.items())]
            ),
            "machine": f"{self.processor}, {platform.system()}, {self.cores} cores for this process",
            "vectors": f"{8 * self.vector_bytes} bits, {self.vector_bytes // 4} numbers of float32",
            "threads": f"{self.threads}, run by {self.library}",
            "kernels": f"{self.size / 1e6:.1f} MB in {_common(self.places)}" if self.places else "not kept on disk",
            "installed": ", ".join(peers) or "no other package that minnet works with",
        }
        return [f"{name + ':':11}{text}" for name, text in rows.items()]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, and what to do about it."""

    what: str
    remedy: str


def findings(machine: Machine) -> list[Finding]:
    """Return what is wrong with a machine."""
    checks: list[tuple[bool, str, str]] = [
        (
            not machine.compiled,
            "Numba's compiler is switched off, so Python runs the kernels, some hundred times slower",
            "unset NUMBA_DISABLE_JIT",
        ),
        (
            machine.unkept is not None,
            f"compiled kernels are not kept, so that every process compiles them anew ({machine.unkept})",
            "set NUMBA_CACHE_DIR to a folder that can be written",
        ),
        (
            machine.refused is not None and machine.unkept is None,
            f"compiled kernels are not kept in the folder that NUMBA_CACHE_DIR names ({machine.refused})",
            "set NUMBA_CACHE_DIR to a folder that can be written, or unset it",
        ),
        (
            machine.library == "workqueue",
            "Numba finds no OpenMP and runs threads with a library of its own, in which Python threads wait for each "
            "other",
            "install libgomp (Debian: apt-get install libgomp1; Fedora: dnf install libgomp)",
        ),
        (
            machine.threads == 1 and machine.cores > 1,
            f"kernels use one thread, although this process has {machine.cores} cores",
            "unset NUMBA_NUM_THREADS, or call minnet.set_num_threads",
        ),
        (
            machine.threads > machine.cores,
            f"kernels use {machine.threads} threads, although this process has {machine.cores} cores only",
            f"set NUMBA_NUM_THREADS={machine.cores}",
        ),
        (
            machine.vector_bytes < 32 and any(name in machine.processor for name in ("x86_64", "AMD64")),
            f"kernels use vectors of {8 * machine.vector_bytes} bits: the processor has no AVX2, or "
            "MINNET_VECTOR_BYTES is set",
            "unset MINNET_VECTOR_BYTES, or use a processor with AVX2 (in a virtual machine: pass it through); "
            "without it, products take two to four times as long",
        ),
    ]
    return [Finding(what, remedy) for wrong, what, remedy in checks if wrong]


def timed() -> str:
    """Time a product of two matrices by minnet's kernel and by NumPy; return a line that compares them."""
    a, b = (np.ones((_SIZE, _SIZE), np.float32) for _ in range(2))
    c, nothing = np.empty_like(a), np.empty(0, np.float32)
    work, _ = new_work(a.dtype, 2 * _SIZE)
    floor, product = np.float32(-np.inf), cast(Callable[..., None], multiply)

    def ours() -> None:
        product(a, _SIZE, 1, b, _SIZE, 1, nothing, floor, c, _SIZE, work)

    seconds = _best(ours), _best(lambda: np.matmul(a, b, out=c))
    rates = [2 * _SIZE**3 / s / 1e9 for s in seconds]
    return (
        f"a product of {_SIZE} x {_SIZE} matrices in float32 takes {1e3 * seconds[0]:.2f} ms, {rates[0]:.0f} billion "
        f"operations a second; NumPy's takes {1e3 * seconds[1]:.2f} ms"
    )


def _best(work: Callable[[], object]) -> float:
    """Return the shortest of several times, in seconds."""
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the name of the processor as Linux tells it, or as Python does elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _size(place: Path) -> int:
    """Return the bytes of Numba's files in a folder."""
    try:
        return sum(path.stat().st_size for path in place.iterdir() if path.suffix in (".nbi", ".nbc"))
    except OSError:  # it does not exist yet
        return 0


def _unwritable(place: Path) -> str | None:
    """Return why a folder cannot be written, or None if it can; it is made if it does not exist."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place):
            return None
    except OSError as error:
        return str(error)


def _common(places: Sequence[Path]) -> str:
    """Return the folder that holds all of these."""
    return os.path.commonpath(places)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what minnet runs on and, for ``doctor``, what is wrong; return 1 if something is, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m minnet", description="Show what minnet runs on. doctor times a kernel and says what is wrong."
    )
    parser.add_argument("command", nargs="?", choices=["doctor"])
    given = parser.parse_args(arguments)
    machine = Machine.here()
    print("\n".join(machine.lines()))
    if given.command is None:
        return 0
    wrong = findings(machine)
    if machine.compiled:
        print(f"{'speed:':11}{timed()}")
    for finding in wrong:
        print(f"{'wrong:':11}{finding.what}; {finding.remedy}")
    if not wrong:
        print("nothing is wrong")
    sys.stdout.flush()
    return int(bool(wrong))
