"""Functions of machine code that kernels share: compiled once, kept, and in memory before a kernel that calls them."""

import subprocess
import sys

import numpy as np
import pytest
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minnet.kernels import cache, linked
from minnet.kernels.compile import kernel
from minnet.kernels.linked import Linked

I64, DOUBLE = ir.IntType(64), ir.DoubleType()


def add_at(builder, args, number):
    """Add ``number`` to the double at an address."""
    place = builder.inttoptr(args[0], DOUBLE.as_pointer())
    builder.store(builder.fadd(builder.load(place), ir.Constant(DOUBLE, number)), place)


def adding(name, number):
    """A function that adds a number, and how kernels call it."""
    function = Linked(name, [I64], add_at, (number,))

    @intrinsic
    def add(typingctx, x):
        def codegen(context, builder, signature, args):
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            function.call(builder, [builder.ptrtoint(data, I64)])
            return context.get_dummy_value()

        return types.void(x), codegen

    return function, add


def calling(add):
    @kernel
    def increase(x):
        add(x)

    return increase


def test_two_kernels_share_one_function(emitted):
    function, add = adding("test_shared", 2.0)
    x = np.zeros(1)
    calling(add)(x)
    calling(add)(x)
    assert x[0] == 4
    assert emitted == [function.name, "increase", "increase"]


@pytest.mark.parametrize("damage", ["none", "removed", "cut", "of another version"])
def test_a_kernel_that_is_read_finds_its_function(emitted, monkeypatch, tmp_path, damage):
    name = f"test_{damage.replace(' ', '_')}"
    function, add = adding(name, 3.0)
    kernels = [calling(add) for _ in range(2)]
    kernels[0](np.zeros(1))
    monkeypatch.setattr(linked, "_libraries", {})  # as in another process, but for LLVM, which has the code
    (file,) = tmp_path.rglob("*add_at*.nbc")
    if damage == "removed":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "of another version":
        monkeypatch.setattr(cache, "digest", lambda path: "another")
        kernels[1] = calling(add)  # whose file is then of another version as well
    del emitted[:]
    x = np.zeros(1)
    kernels[1](x)
    assert x[0] == 3
    assert function.name in linked._libraries
    assert emitted[0] == function.name


PROGRAM = """
import sys
import numpy as np
from minnet.kernels.vector import product
A, B, C = np.ones((3, 40), np.float32), np.ones((40, 50), np.float32), np.empty((3, 50), np.float32)
product.matmul(A, 40, 1, B, 50, 1, np.zeros(0, np.float32), np.float32(-np.inf), C, 40, product.new_work(A.dtype)[0])
assert (C == 40).all()
print(sum(product.matmul.stats.cache_hits.values()), sum(product.matmul.stats.cache_misses.values()))
"""


def test_a_new_process_reads_products_whose_blocks_were_removed(tmp_path):
    def run():
        environment = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run() == ["0", "1"]
    blocks = list(tmp_path.rglob("panel_block._emit*"))
    assert len(blocks) == 8  # seven kinds, and their index
    for file in blocks:
        file.unlink()
    assert run() == ["1", "0"]
    assert len(list(tmp_path.rglob("panel_block._emit*"))) == 8
