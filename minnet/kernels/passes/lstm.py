"""All steps of an LSTM, and all of them back through time. See ``through_time`` for the arrays."""

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, wide_parallel_kernel, wide_routine
from ..vector.elementary import tanh
from ..views import flat
from .packed import add_product
from .through_time import add, clear, is_padding, put, samples_of, sigmoid_of, tanh_of, tasks_for


@helper
def _cell(a, before, cell, squashed, out):
    """c = f * c_before + i * g and h = o * tanh(c), with gates i, f, g, o, for one sample."""
    units = out.size
    sigmoid_of(a[: 2 * units])
    tanh_of(a[2 * units : 3 * units])
    sigmoid_of(a[3 * units :])
    i, f, g, o = a[:units], a[units : 2 * units], a[2 * units : 3 * units], a[3 * units :]
    for j in range(units):
        cell[j] = f[j] * before[j] + i[j] * g[j]
    for j in range(units):
        squashed[j] = tanh(cell[j])
    for j in range(units):
        out[j] = o[j] * squashed[j]


@wide_routine
def _forward(start, stop, first, last, gates, c, tanh_c, h, words, padding, place, stride, panels, spare, offsets):
    """Take samples from ``start`` to ``stop`` through the steps from ``first`` to ``last``."""
    samples, units = h.shape[1:]
    for s in range(first, last):
        row = s * samples + start
        add_product(
            flat(h), row * units, units, 1, stop - start, panels, units, 0, units, flat(gates), row * 4 * units,
            4 * units, 4 * units, spare, offsets,
        )  # fmt: skip
        for i in range(start, stop):
            if is_padding(words, padding, i, s, place, stride):
                put(h[s, i], h[s + 1, i])
                put(c[s, i], c[s + 1, i])
            else:
                _cell(gates[s, i], c[s, i], c[s + 1, i], tanh_c[s, i], h[s + 1, i])


@wide_parallel_kernel
def lstm(U, gates, c, tanh_c, h, first, last, words, padding, place, stride, panels, work, offsets):
    """Steps from ``first`` to ``last`` of an LSTM: c[s + 1] = f * c[s] + i * g and h[s + 1] = o * tanh(c[s + 1]).

    gates (time, n, 4 * units) enter as x @ W + b. They become i, f, o = sigmoid(gates + h[s] @ U) and
    g = tanh(gates + h[s] @ U), each in its columns, in the order i, f, g, o. ``panels`` has U packed.
    """
    samples = h.shape[1]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _forward(
            0, samples, first, last, gates, c, tanh_c, h, words, padding, place, stride, panels, work[0], offsets[0]
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _forward(
                start, stop, first, last, gates, c, tanh_c, h, words, padding, place, stride, panels, work[own],
                offsets[own],
            )  # fmt: skip


@helper
def _cell_backward(a, before, squashed, above, after, cell, d):
    """Gradients with respect to the sums of the gates, for one sample. dc (``cell``) becomes that for c_before."""
    units, one = cell.size, cell.dtype.type(1)
    i, f, g, o = a[:units], a[units : 2 * units], a[2 * units : 3 * units], a[3 * units :]
    di, df, dg, do = d[:units], d[units : 2 * units], d[2 * units : 3 * units], d[3 * units :]
    for j in range(units):
        do[j] = above[j] + after[j]  # the gradient with respect to h, for now
    for j in range(units):
        cell[j] += do[j] * o[j] * ((one - squashed[j]) * (one + squashed[j]))
    for j in range(units):
        do[j] *= squashed[j] * (o[j] * (one - o[j]))
    for j in range(units):
        di[j] = cell[j] * g[j] * (i[j] * (one - i[j]))
    for j in range(units):
        df[j] = cell[j] * before[j] * (f[j] * (one - f[j]))
    for j in range(units):
        dg[j] = cell[j] * i[j] * ((one - g[j]) * (one + g[j]))
    for j in range(units):
        cell[j] *= f[j]


@wide_routine
def _backward(
    start, stop, first, last, least, gates, c, tanh_c, dy, carry, dc, dgates, words, padding, place, stride, panels,
    spare, offsets,
):  # fmt: skip
    samples, units = carry.shape
    for s in range(last - 1, first - 1, -1):
        for i in range(start, stop):
            if is_padding(words, padding, i, s, place, stride):
                clear(dgates[s, i])
                add(dy[s, i], carry[i])
            else:
                _cell_backward(gates[s, i], c[s, i], tanh_c[s, i], dy[s, i], carry[i], dc[i], dgates[s, i])
                clear(carry[i])
        if s >= least:
            add_product(
                flat(dgates), (s * samples + start) * 4 * units, 4 * units, 1, stop - start, panels, 4 * units, 0,
                4 * units, flat(carry), start * units, units, units, spare, offsets,
            )  # fmt: skip


@wide_parallel_kernel
def lstm_backward(
    U, gates, c, tanh_c, dy, first, last, least, carry, dc, dgates, words, padding, place, stride, panels, work, offsets
):  # fmt: skip
    """The same steps backwards: dgates = the gradients with respect to the sums of the gates.

    dy (time, n, units) are the gradients with respect to h from the outputs. ``carry``, from the step that follows, and
    dc, with respect to c, enter as those after the last step and become those before the first; carry through U only as
    far back as step ``least``. ``panels`` has the transpose of U packed.
    """
    samples = carry.shape[0]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _backward(
            0, samples, first, last, least, gates, c, tanh_c, dy, carry, dc, dgates, words, padding, place, stride,
            panels, work[0], offsets[0],
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _backward(
                start, stop, first, last, least, gates, c, tanh_c, dy, carry, dc, dgates, words, padding, place,
                stride, panels, work[own], offsets[own],
            )  # fmt: skip
