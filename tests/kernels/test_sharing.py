"""Threads share the iterations of a prange: each is done once, and nobody waits while another has some left."""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from numba import prange

import minnet as mn
from minnet.kernels.compile import IS_COMPILED, parallel_kernel

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="Python runs the kernels, by one thread")
needs_two = pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="there is one thread only")
PATIENCE = 2_000_000_000  # turns of a loop, some seconds, after which a thread gives up


@parallel_kernel
def count(done):
    for i in prange(len(done)):
        done[i] += 1


@parallel_kernel
def count_from(first, last, done):
    for i in prange(first, last):
        done[i - first] += 1


@parallel_kernel
def count_twice(done, doubled):
    for i in prange(len(done)):
        done[i] += 1
    for i in prange(len(doubled)):
        doubled[i] = done[i] + done[len(done) - 1 - i]


@parallel_kernel
def wait_in(waiting, done, turns):
    """Have iteration ``waiting`` wait until all others are done."""
    for i in prange(len(done)):
        if i == waiting:
            others = 0
            while others < len(done) - 1 and turns[0] < PATIENCE:
                others = 0
                for j in range(len(done)):
                    others += done[j]
                turns[0] += 1  # a store that might change ``done``, so the compiler reads it again
        done[i] = 1


@parallel_kernel
def add_to_all(x, y):
    x[:, :] = x + y


@pytest.mark.parametrize("threads", range(1, numba.config.NUMBA_NUM_THREADS + 1))
def test_each_iteration_is_done_once(threads):
    mn.set_num_threads(threads)
    for n in [*range(70), 127, 128, 129, 1000, 4097]:
        done = np.zeros(n, np.int64)
        count(done)
        assert (done == 1).all()


@pytest.mark.parametrize(("first", "last"), [(-9, 9), (5, 47), (-3, -3), (0, 1), (7, 3)])
def test_a_loop_may_start_anywhere(first, last):
    done = np.zeros(max(0, last - first), np.int64)
    count_from(first, last, done)
    assert (done == 1).all()


def test_a_second_loop_begins_when_the_first_has_ended():
    for n in (1, 2, 33, 1000):
        done, doubled = np.zeros(n, np.int64), np.zeros(n, np.int64)
        count_twice(done, doubled)
        assert (doubled == 2).all()


def test_a_loop_over_several_variables_is_refused():
    """Its rows of the schedule are longer: parts would be written over them, and the process would crash."""
    with pytest.raises(
        NotImplementedError, match="expected parallel loops over one variable in a kernel; got one over 2"
    ):
        add_to_all(np.zeros((3, 5)), np.ones((3, 5)))


@needs_two
@pytest.mark.parametrize("waiting", [0, 15, 16, 31])
def test_others_do_what_a_thread_that_is_held_up_had_left(waiting):
    mn.set_num_threads(2)
    done, turns = np.zeros(32, np.int64), np.zeros(1, np.int64)
    wait_in(waiting, done, turns)
    assert turns[0] < PATIENCE, "the thread waited for iterations that nobody did"
    assert (done == 1).all()


@needs_two
def test_calls_at_the_same_time_do_not_share_with_each_other():
    if numba.threading_layer() == "workqueue":
        pytest.skip("Numba's own threads serve one call at a time")
    arrays = [np.zeros(n, np.int64) for n in range(200, 400)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, arrays))
    assert all((done == 1).all() for done in arrays)
