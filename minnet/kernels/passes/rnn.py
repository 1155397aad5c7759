"""All steps of a recurrent layer without gates, forwards and backwards. See ``through_time`` for the arrays."""

from typing import Any

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, wide_parallel_kernel, wide_routine
from ..vector.elementary import tanh
from ..views import flat
from .packed import add_product
from .through_time import add, clear, is_padding, put, samples_of, tasks_for


@helper
def _tanh_cell(a, h):
    for j in range(h.size):
        h[j] = tanh(a[j])


@helper
def _relu_cell(a, h):
    zero = h.dtype.type(0)
    for j in range(h.size):
        h[j] = zero if a[j] <= zero else a[j]


def _forward_of(cell: Any) -> Any:
    """Return the routine that takes samples from ``start`` to ``stop`` through the steps from ``first`` to ``last``."""

    @wide_routine
    def _forward(start, stop, first, last, gates, h, words, padding, place, stride, panels, spare, offsets):
        samples, units = h.shape[1:]
        for s in range(first, last):
            row = (s * samples + start) * units
            add_product(
                flat(h), row, units, 1, stop - start, panels, units, 0, units, flat(gates), row, units, units, spare,
                offsets,
            )  # fmt: skip
            for i in range(start, stop):
                if is_padding(words, padding, i, s, place, stride):
                    put(h[s, i], h[s + 1, i])
                else:
                    cell(gates[s, i], h[s + 1, i])

    return _forward


_tanh_forward, _relu_forward = _forward_of(_tanh_cell), _forward_of(_relu_cell)


@wide_parallel_kernel
def tanh_rnn(U, gates, h, first, last, words, padding, place, stride, panels, work, offsets):
    """Steps from ``first`` to ``last`` of h[s + 1] = tanh(gates[s] + h[s] @ U).

    gates (time, n, units) enter as x @ W + b, to which the product is added. ``panels`` has U packed.
    """
    samples = h.shape[1]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _tanh_forward(
            0, samples, first, last, gates, h, words, padding, place, stride, panels, work[0], offsets[0]
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _tanh_forward(
                start, stop, first, last, gates, h, words, padding, place, stride, panels, work[own],
                offsets[own],
            )  # fmt: skip


@wide_parallel_kernel
def relu_rnn(U, gates, h, first, last, words, padding, place, stride, panels, work, offsets):
    """``tanh_rnn`` with h[s + 1] = max(gates[s] + h[s] @ U, 0)."""
    samples = h.shape[1]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _relu_forward(
            0, samples, first, last, gates, h, words, padding, place, stride, panels, work[0], offsets[0]
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _relu_forward(
                start, stop, first, last, gates, h, words, padding, place, stride, panels, work[own],
                offsets[own],
            )  # fmt: skip


@helper
def _tanh_back(y, above, after, d):
    one = y.dtype.type(1)
    for j in range(d.size):
        d[j] = (one - y[j]) * (one + y[j]) * (above[j] + after[j])


@helper
def _relu_back(y, above, after, d):
    zero = y.dtype.type(0)
    for j in range(d.size):
        d[j] = above[j] + after[j] if y[j] > zero else zero


def _backward_of(cell: Any) -> Any:
    """Return the routine that takes the same steps backwards."""

    @wide_routine
    def _backward(
        start, stop, first, last, least, h, dy, carry, dgates, words, padding, place, stride, panels, spare, offsets
    ):  # fmt: skip
        samples, units = carry.shape
        for s in range(last - 1, first - 1, -1):
            for i in range(start, stop):
                if is_padding(words, padding, i, s, place, stride):
                    clear(dgates[s, i])
                    add(dy[s, i], carry[i])
                else:
                    cell(h[s + 1, i], dy[s, i], carry[i], dgates[s, i])
                    clear(carry[i])
            if s >= least:
                add_product(
                    flat(dgates), (s * samples + start) * units, units, 1, stop - start, panels, units, 0, units,
                    flat(carry), start * units, units, units, spare, offsets,
                )  # fmt: skip

    return _backward


_tanh_backward, _relu_backward = _backward_of(_tanh_back), _backward_of(_relu_back)


@wide_parallel_kernel
def tanh_rnn_backward(
    U, h, dy, first, last, least, carry, dgates, words, padding, place, stride, panels, work, offsets
):  # fmt: skip
    """The same steps backwards: dgates = the gradients with respect to what tanh was taken of.

    dy (time, n, units) are the gradients with respect to h from the outputs. ``carry``, from the step that follows,
    enters as that after the last step and becomes that before the first, but through U only as far back as step
    ``least``. ``panels`` has the transpose of U packed.
    """
    samples = carry.shape[0]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _tanh_backward(
            0, samples, first, last, least, h, dy, carry, dgates, words, padding, place, stride, panels,
            work[0], offsets[0],
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _tanh_backward(
                start, stop, first, last, least, h, dy, carry, dgates, words, padding, place, stride,
                panels, work[own], offsets[own],
            )  # fmt: skip


@wide_parallel_kernel
def relu_rnn_backward(
    U, h, dy, first, last, least, carry, dgates, words, padding, place, stride, panels, work, offsets
):  # fmt: skip
    """``tanh_rnn_backward`` for ``relu_rnn``: dgates = dy + carry where h > 0, and 0 elsewhere."""
    samples = carry.shape[0]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _relu_backward(
            0, samples, first, last, least, h, dy, carry, dgates, words, padding, place, stride, panels,
            work[0], offsets[0],
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _relu_backward(
                start, stop, first, last, least, h, dy, carry, dgates, words, padding, place, stride,
                panels, work[own], offsets[own],
            )  # fmt: skip
