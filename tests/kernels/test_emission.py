"""Machine code is made of kernels only: not of their helpers, nor of the parts that Numba makes of a ``prange``."""

import gc

import numba
import numpy as np
import pytest
from numba import njit, prange

from minnet.kernels.compile import exact_helper, helper, kernel, parallel_kernel, routine


def helpers():
    """Three helpers that have not been compiled, of which the last calls the others."""

    @exact_helper
    def half(a):
        return a / 2

    @routine
    def halve(x):
        for i in range(x.size):
            x[i] = half(x[i])

    @helper
    def increase(x):
        halve(x)
        for i in range(x.size):
            x[i] += 1

    return increase


def test_helpers_of_a_kernel_have_no_machine_code(emitted):
    increase = helpers()

    @kernel
    def serial(x):
        increase(x[1:])

    x = np.arange(5.0)
    serial(x)
    np.testing.assert_array_equal(x, [0, 1.5, 2, 2.5, 3])
    assert emitted == ["serial"]
    serial(np.arange(5, dtype=np.float32))
    assert emitted == ["serial", "serial"]


def test_the_parts_of_a_prange_have_no_machine_code(emitted):
    increase = helpers()

    @parallel_kernel
    def parallel(x):
        for i in prange(x.shape[0]):
            increase(x[i])

    x = np.arange(12.0).reshape(4, 3)
    expected = x / 2 + 1
    parallel(x)
    np.testing.assert_array_equal(x, expected)
    assert emitted == ["parallel"]


def test_code_that_minnet_does_not_compile_may_call_helpers(emitted):
    increase = helpers()

    @njit
    def other(x):
        increase(x)
        return x.sum()

    assert other(np.arange(4.0)) == 7
    assert "other" in emitted
    assert not {"half", "halve", "increase"} & set(emitted)


@pytest.mark.parametrize("kind", [helper, routine, exact_helper])
def test_a_part_is_compiled_once_for_numbers_that_are_written_out_and_others(kind):
    @kind
    def put(x, i, number):
        x[i] = number

    @kernel
    def fill(x, n):
        put(x, 0, 1.0)
        put(x, 1, 2.0)
        put(x, n, 3.0)

    x = np.zeros(4)
    fill(x, 3)
    np.testing.assert_array_equal(x, [1, 2, 0, 3])
    assert len(put.overloads) == 1


@pytest.mark.parametrize("searches", [True, False])
def test_the_search_for_garbage_goes_on_after_a_kernel_was_compiled(searches):
    @kernel
    def one(x):
        x[0] = 1

    @kernel
    def wrong(x):
        x[0] = "one"

    before = gc.isenabled()
    (gc.enable if searches else gc.disable)()
    try:
        one(np.zeros(1))
        assert gc.isenabled() == searches
        with pytest.raises(numba.TypingError):
            wrong(np.zeros(1))
        assert gc.isenabled() == searches
    finally:
        (gc.enable if before else gc.disable)()
