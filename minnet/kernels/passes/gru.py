"""All steps of a GRU, and all of them back through time. See ``through_time`` for the arrays."""

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, wide_parallel_kernel, wide_routine
from ..vector.elementary import tanh
from ..views import flat
from .packed import add_product, panel_size
from .through_time import add, clear, is_padding, put, samples_of, sigmoid_of, tasks_for


@helper
def _cell(a, inside, old, out):
    """n = tanh(n + r * inner) and h = (1 - z) * n + z * before, with gates r, z, n, for one sample."""
    units = out.size
    sigmoid_of(a[: 2 * units])
    r, z, n = a[:units], a[units : 2 * units], a[2 * units :]
    for j in range(units):
        n[j] = tanh(n[j] + r[j] * inside[j])
    for j in range(units):
        out[j] = n[j] + z[j] * (old[j] - n[j])


@wide_routine
def _forward(start, stop, first, last, gates, c, inner, h, words, padding, place, stride, panels, spare, offsets):
    """Take samples from ``start`` to ``stop`` through the steps from ``first`` to ``last``."""
    samples, units = h.shape[1:]
    of_n = panels[panel_size(units, 2 * units, h.itemsize) :]
    for s in range(first, last):
        row, rows = s * samples + start, stop - start
        for i in range(start, stop):
            put(c, inner[s, i])
        add_product(
            flat(h), row * units, units, 1, rows, panels, units, 0, units, flat(gates), row * 3 * units, 3 * units,
            2 * units, spare, offsets,
        )  # fmt: skip
        add_product(
            flat(h), row * units, units, 1, rows, of_n, units, 0, units, flat(inner), row * units, units, units,
            spare, offsets,
        )  # fmt: skip
        for i in range(start, stop):
            if is_padding(words, padding, i, s, place, stride):
                put(h[s, i], h[s + 1, i])
            else:
                _cell(gates[s, i], inner[s, i], h[s, i], h[s + 1, i])


@wide_parallel_kernel
def gru(U, gates, c, inner, h, first, last, words, padding, place, stride, panels, work, offsets):
    """Steps from ``first`` to ``last`` of a GRU: h[s + 1] = (1 - z) * n + z * h[s].

    gates (time, n, 3 * units) enter as x @ W + b. They become r, z = sigmoid(gates + h[s] @ U) and
    n = tanh(gates + r * inner[s]), each in its columns, with inner[s] = h[s] @ U + c in the columns of n. ``panels``
    has the columns of r and z packed, and behind them those of n.
    """
    samples = h.shape[1]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _forward(
            0, samples, first, last, gates, c, inner, h, words, padding, place, stride, panels, work[0], offsets[0]
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _forward(
                start, stop, first, last, gates, c, inner, h, words, padding, place, stride, panels, work[own],
                offsets[own],
            )  # fmt: skip


@helper
def _cell_backward(a, inside, old, above, after, dh, d, e):
    """Gradients with respect to ``gates`` (d) and to h @ U (e), for one sample.

    dh enters as a part of the gradient with respect to h, beside carry. It becomes that with respect to the state
    before which does not pass through U.
    """
    units, one = dh.size, dh.dtype.type(1)
    r, z, n = a[:units], a[units : 2 * units], a[2 * units :]
    dr, dz, dn = d[:units], d[units : 2 * units], d[2 * units :]
    for j in range(units):
        dh[j] += above[j] + after[j]
    for j in range(units):
        dn[j] = dh[j] * (one - z[j]) * ((one - n[j]) * (one + n[j]))
    for j in range(units):
        dz[j] = dh[j] * (old[j] - n[j]) * (z[j] * (one - z[j]))
    for j in range(units):
        dr[j] = dn[j] * inside[j] * (r[j] * (one - r[j]))
    for j in range(2 * units):
        e[j] = d[j]
    un = e[2 * units :]
    for j in range(units):
        un[j] = dn[j] * r[j]
    for j in range(units):
        dh[j] *= z[j]


@wide_routine
def _backward(
    start, stop, first, last, least, gates, inner, h, dy, carry, dbefore, dgates, drecurrent, words, padding, place,
    stride, panels, spare, offsets,
):  # fmt: skip
    samples, units = carry.shape
    for s in range(last - 1, first - 1, -1):
        for i in range(start, stop):
            if is_padding(words, padding, i, s, place, stride):
                clear(dgates[s, i])
                clear(drecurrent[s, i])
                add(dy[s, i], dbefore[i])
                add(carry[i], dbefore[i])
            else:
                _cell_backward(
                    gates[s, i], inner[s, i], h[s, i], dy[s, i], carry[i], dbefore[i], dgates[s, i], drecurrent[s, i]
                )
            clear(carry[i])
        if s >= least:
            add_product(
                flat(drecurrent), (s * samples + start) * 3 * units, 3 * units, 1, stop - start, panels, 3 * units,
                0, 3 * units, flat(carry), start * units, units, units, spare, offsets,
            )  # fmt: skip


@wide_parallel_kernel
def gru_backward(
    U, gates, inner, h, dy, first, last, least, carry, dbefore, dgates, drecurrent, words, padding, place, stride,
    panels, work, offsets,
):  # fmt: skip
    """The same steps backwards: gradients with respect to ``gates``, and to h[s] @ U (drecurrent).

    dy (time, n, units) are the gradients with respect to h from the outputs. ``carry``, through the product of the step
    that follows, and dbefore, past it, enter as those after the last step and become those before the first; carry only
    as far back as step ``least``. ``panels`` has the transpose of U packed.
    """
    samples = carry.shape[0]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _backward(
            0, samples, first, last, least, gates, inner, h, dy, carry, dbefore, dgates, drecurrent, words, padding,
            place, stride, panels, work[0], offsets[0],
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _backward(
                start, stop, first, last, least, gates, inner, h, dy, carry, dbefore, dgates, drecurrent, words,
                padding, place, stride, panels, work[own], offsets[own],
            )  # fmt: skip
