"""What the machine can do, measured: multiply-adds by all threads, and bandwidth of memory and caches."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

_FEATURES = llvm.get_host_cpu_features()
LANES = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx2") else 4  # float32 in a vector register
CHAINS = 12  # sums that do not wait for one another; two units with a latency of 4 or 5 cycles need 8 to 10


@intrinsic
def multiply_add_chains(typingctx: Any, count: Any, start: Any) -> Any:
    """Sum of CHAINS vectors after ``count`` rounds of s = s * c + c each, all of it in registers."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count, start = arguments
        scalar, i32, i64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
        vector = ir.VectorType(scalar, LANES)
        kind = ir.FunctionType(vector, [vector] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
        undefined = ir.Constant(vector, ir.Undefined)
        lane = builder.insert_element(undefined, start, ir.Constant(i32, 0))
        c = builder.shuffle_vector(lane, undefined, ir.Constant(ir.VectorType(i32, LANES), [0] * LANES))
        before, loop, after = builder.block, *(builder.append_basic_block(name) for name in ("loop", "after"))
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(i64)
        sums = [builder.phi(vector) for _ in range(CHAINS)]
        added = [builder.call(fma, [s, c, c]) for s in sums]
        following = builder.add(i, ir.Constant(i64, 1))
        for node, first, value in [
            (i, ir.Constant(i64, 0), following),
            *((s, c, a) for s, a in zip(sums, added, strict=True)),
        ]:
            node.add_incoming(first, before)
            node.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        builder.position_at_end(after)
        total = added[0]
        for a in added[1:]:
            total = builder.fadd(total, a)
        return builder.extract_element(total, ir.Constant(i32, 0))

    return types.float32(types.int64, types.float32), codegen


@njit(parallel=True)
def multiply_adds(threads, count, results):
    for thread in prange(threads):
        results[thread] = multiply_add_chains(count, np.float32(0.5))


@njit(parallel=True, fastmath=True)
def update(a, b, repeats):
    """a = b + s * a, each thread its own row, ``repeats`` times over.

    In place, as an update rule works. STREAM's triad a = b + s * c has the processor fetch a only to overwrite it, and
    those bytes are not counted.
    """
    s = a.dtype.type(0.5)
    for row in prange(a.shape[0]):
        for _ in range(repeats):
            for i in range(a.shape[1]):
                a[row, i] = b[row, i] + s * a[row, i]


def best_seconds(run: Callable[[], object], rounds: int = 7) -> float:
    """Of ``rounds`` runs after one that is not timed."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_gflops(threads: int) -> float:
    """Multiply-adds of float32 vectors on all threads at once; each counts as two operations."""
    count, results = 2_000_000, np.empty(threads, np.float32)
    seconds = best_seconds(lambda: multiply_adds(threads, count, results))
    return 2e-9 * threads * count * CHAINS * LANES / seconds


def update_bandwidth(threads: int, elements: int) -> float:
    """GB/s of reads and writes, for two arrays of ``elements`` float32 on each thread."""
    a, b = (np.ones((threads, elements), np.float32) for _ in range(2))
    repeats = max(1, 20_000_000 // elements)
    return 1e-9 * repeats * 3 * a.nbytes / best_seconds(lambda: update(a, b, repeats))


def cache_bytes(level: int) -> int | None:
    """Size of a unified cache as Linux tells it; None where it does not."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if (index / "level").read_text(encoding="utf-8").strip() == str(level) and (index / "type").read_text(
            encoding="utf-8"
        ).strip() == "Unified":
            return int((index / "size").read_text(encoding="utf-8").strip().removesuffix("K")) * 1024
    return None


def limits(threads: int) -> dict[str, float]:
    """Peak GFLOP/s, and GB/s of memory and caches with all threads at work, in arrays that fill half of the cache."""
    found = {"peak, GFLOP/s": peak_gflops(threads)}
    # A level 2 cache is a core's own; the level 3 cache is shared.
    for name, size in (("L2", cache_bytes(2)), ("L3", (cache_bytes(3) or 0) // threads or None)):
        if size is not None:
            found[f"{name} update, GB/s"] = update_bandwidth(threads, size // 2 // 8)
    found["memory update, GB/s"] = update_bandwidth(threads, 32_000_000)
    return found
