"""Cycles of the micro-kernel, and of whole products: what a model predicts, and what is measured, on one thread.

    python bench/products.py                   every block and every dense product of bench/workloads.py

A cycle is the time in which the machine adds two vector products, by the measured peak of multiply-adds, so figures of
processors with different clocks can be compared. The first table has, for each kind of block, the cycles of a term
whose operands are in the first-level cache, beside the limits of the two units for multiply-adds and of the two for
loads; and the cycles of a block besides its terms. The second adds these up for a product, with the measured cycles of
packing a panel, and compares the sum with a measurement. What is left is memory, and copies of A: see
docs/explanations/products.md.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import CHAINS, best_seconds, multiply_adds
from workloads import WORKLOADS

import minnet as mn
from minnet.kernels.compile import kernel
from minnet.kernels.vector import panel_block, product
from minnet.kernels.vector.block import ROWS
from minnet.kernels.vector.moves import pack
from minnet.kernels.vector.simd import VECTOR_BYTES
from minnet.storage.files import write_whole

OUT = Path(__file__).parent / "out"
LANES = VECTOR_BYTES // 4
WIDTH = 2 * LANES
COLUMN = -(-ROWS[0] // LANES) * LANES  # from column to column of A' that is copied
DEPTH = product._DEPTH
REPEATS = 400


def cycle() -> float:
    """Seconds in which this thread adds two vector products, at its best."""
    count, results = 2_000_000, np.empty(1, np.float32)
    return 2 * best_seconds(lambda: multiply_adds(1, count, results)) / (count * CHAINS)


@kernel
def repeat_rows(A, B, C, terms, floor, times):
    """Compute a block of results ``times`` over, of an A' that lies in rows."""
    for _ in range(times):
        panel_block.fetching_rows(A, 0, DEPTH, B, 0, WIDTH, C, 0, WIDTH, C, 0, WIDTH, terms, floor, C, 0, 0)


@kernel
def repeat_columns(rows, A, B, C, terms, floor, times):
    """Compute a block of ``rows`` ``times`` over, of an A' that lies in columns."""
    for _ in range(times):
        panel_block.fetching_columns(rows, A, 0, COLUMN, B, 0, WIDTH, C, 0, WIDTH, C, 0, WIDTH, terms, floor, C, 0, 0)


@kernel
def repeat_pack(B, row_step, column_step, depth, panel, times):
    """Pack a panel ``times`` over."""
    for _ in range(times):
        pack(B, 0, row_step, column_step, depth, WIDTH, WIDTH, LANES, panel, 0)


def cycles_of_block(kind: str, rows: int, unit: float) -> tuple[float, float]:
    """Cycles of a term, and of a block besides its terms."""
    A, B = np.ones(max(ROWS[0], COLUMN) * DEPTH, np.float32), np.ones(DEPTH * WIDTH, np.float32)
    C, floor = np.zeros(ROWS[0] * WIDTH, np.float32), np.float32(-np.inf)

    def seconds(terms: int) -> float:
        if kind == "rows":
            return best_seconds(lambda: repeat_rows(A, B, C, terms, floor, REPEATS), 15) / REPEATS
        return best_seconds(lambda: repeat_columns(rows, A, B, C, terms, floor, REPEATS), 15) / REPEATS

    short, long = seconds(DEPTH // 4), seconds(DEPTH)
    term = (long - short) / (DEPTH - DEPTH // 4)
    return term / unit, (long - DEPTH * term) / unit


def cycles_of_packing(row_step: int, column_step: int, unit: float) -> float:
    """Cycles to pack one row of a panel, of a matrix whose rows or columns are contiguous."""
    B = np.ones((DEPTH + 2 * LANES) * max(row_step, column_step), np.float32)
    panel = np.empty((DEPTH + LANES) * WIDTH, np.float32)
    return best_seconds(lambda: repeat_pack(B, row_step, column_step, DEPTH, panel, 20), 15) / 20 / DEPTH / unit


class Costs:
    """Measured cycles of the parts of a product."""

    def __init__(self) -> None:
        self.unit = cycle()
        kinds = [("rows", ROWS[0]), *(("columns", rows) for rows in ROWS)]
        self.blocks = {(kind, rows): cycles_of_block(kind, rows, self.unit) for kind, rows in kinds}
        self.pack_rows, self.pack_columns = (cycles_of_packing(*steps, self.unit) for steps in ((512, 1), (1, 512)))

    def predicted(self, M: int, N: int, K: int, rows_of_A: bool, rows_of_B: bool) -> dict[str, float]:
        """Cycles of C (M, N) with sums of K terms.

        Args:
            M, N, K: the sizes.
            rows_of_A: whether the terms of A lie side by side.
            rows_of_B: whether B is contiguous along C's columns.
        """
        panels, beside = divmod(N, WIDTH)
        turns = -(-K // DEPTH)
        packing = panels * K * (self.pack_rows if rows_of_B else self.pack_columns)
        terms, ends = M * K * -(-beside // LANES) / 2, 0.0  # columns beside the panels: as vectors at the peak
        for rows in rows_of_blocks(M):
            term, end = self.blocks["rows" if rows_of_A and rows == ROWS[0] else "columns", rows]
            terms, ends = terms + panels * K * term, ends + panels * turns * end
        return {"terms": terms, "ends": ends, "packing": packing}


def rows_of_blocks(M: int) -> Iterator[int]:
    """Yield the rows of the blocks that M rows are computed in."""
    while M > 0:
        rows = product.rows_of_next.py_func(M)
        yield next(size for size in reversed(ROWS) if size >= rows)
        M -= rows


def dense_shapes() -> list[tuple[int, int, int]]:
    """(samples, inputs, units) of the dense layers of the workloads, of products that panels are made for."""
    found = {}
    for work in WORKLOADS.values():
        for child in mn.Chain(work.layers).plan(work.input_shape).children:
            if isinstance(child.layer, mn.Dense):
                positions = int(np.prod(child.in_shape[:-1]))
                shape = work.batch * positions, child.in_shape[-1], child.layer.units
                if np.prod(shape) > product._SERIAL:
                    found[shape] = None
    return list(found)


def passes(
    n: int, inputs: int, units: int
) -> Iterator[tuple[str, tuple[int, int, int], bool, bool, Callable[[], None]]]:
    """Yield the three products of a layer: name, (M, N, K), whether rows of A, and of B, are contiguous, and a call."""
    x, W, dy = (np.ones(s, np.float32) for s in ((n, inputs), (inputs, units), (n, units)))
    y, dW, dx, none = np.empty_like(dy), np.empty_like(W), np.empty_like(x), np.zeros(0, np.float32)
    work = product.new_work(np.dtype(np.float32))[0][:1]  # one task

    def call(*arguments: Any) -> Callable[[], None]:
        A, a_row, a_col, B, b_row, b_col, C, K = arguments
        return lambda: product.matmul(A, a_row, a_col, B, b_row, b_col, none, np.float32(-np.inf), C, K, work)

    yield "forward", (n, units, inputs), True, True, call(x, inputs, 1, W, units, 1, y, inputs)
    yield "weights", (inputs, units, n), False, True, call(x, 1, inputs, dy, units, 1, dW, n)
    yield "input", (n, inputs, units), True, False, call(dy, units, 1, W, 1, units, dx, units)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of products.json")
    arguments = parser.parse_args()
    mn.set_num_threads(1)
    costs = Costs()
    print(f"a cycle: {1e9 * costs.unit:.3f} ns; vectors of {LANES} numbers; packing a row of a panel: "
          f"{costs.pack_rows:.1f} cycles, transposed {costs.pack_columns:.1f}\n")  # fmt: skip
    print("| A | rows x vectors | multiply-adds / 2 | loads / 2 | cycles of a term | besides terms |")
    print("|---" * 6 + "|")
    for (kind, rows), (term, end) in costs.blocks.items():
        print(f"| {kind} | {rows} x 2 | {rows:.1f} | {(rows + 2) / 2:.1f} | {term:.1f} | {end:.0f} |")
    print("\n| samples x inputs x units | pass | terms | ends | packing | predicted | measured | ratio | of peak |")
    print("|---" * 9 + "|")
    found = []
    for shape in dense_shapes():
        for name, (M, N, K), rows_of_A, rows_of_B, run in passes(*shape):
            parts = costs.predicted(M, N, K, rows_of_A, rows_of_B)
            measured = best_seconds(run, arguments.rounds) / costs.unit
            predicted, least = sum(parts.values()), M * N * K / (2 * LANES)
            cells = " | ".join(f"{1e-3 * part:.0f}" for part in (*parts.values(), predicted, measured))
            print(
                f"| {' x '.join(map(str, shape))} | {name} | {cells} | {measured / predicted:.2f} "
                f"| {least / measured:.0%} |",
                flush=True,
            )
            found.append({"shape": shape, "pass": name, **parts, "measured": measured})
    arguments.out.mkdir(parents=True, exist_ok=True)
    about = {"cycle": costs.unit, "blocks": {f"{kind} {rows}": each for (kind, rows), each in costs.blocks.items()}}
    write_whole(arguments.out / "products.json", json.dumps({**about, "products": found}, indent=1))


if __name__ == "__main__":
    main()
