"""All steps of the GRU of Cho et al., and all of them back through time. See ``through_time`` for the arrays."""

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, wide_parallel_kernel, wide_routine
from ..views import flat
from .packed import add_product, panel_size
from .through_time import add, clear, is_padding, put, samples_of, sigmoid_of, tanh_of, tasks_for


@helper
def _of_reset(a, old, out):
    """r, z = sigmoid(r), sigmoid(z), and reset = r * before, for one sample."""
    units = out.size
    sigmoid_of(a[: 2 * units])
    r = a[:units]
    for j in range(units):
        out[j] = r[j] * old[j]


@helper
def _cell(a, old, out):
    """n = tanh(n) and h = (1 - z) * n + z * before, for one sample."""
    units = out.size
    tanh_of(a[2 * units :])
    z, n = a[units : 2 * units], a[2 * units :]
    for j in range(units):
        out[j] = n[j] + z[j] * (old[j] - n[j])


@wide_routine
def _forward(start, stop, first, last, gates, reset, h, words, padding, place, stride, panels, spare, offsets):
    """Take samples from ``start`` to ``stop`` through the steps from ``first`` to ``last``."""
    samples, units = h.shape[1:]
    of_n = panels[panel_size(units, 2 * units, h.itemsize) :]
    for s in range(first, last):
        row, rows = s * samples + start, stop - start
        add_product(
            flat(h), row * units, units, 1, rows, panels, units, 0, units, flat(gates), row * 3 * units, 3 * units,
            2 * units, spare, offsets,
        )  # fmt: skip
        for i in range(start, stop):
            _of_reset(gates[s, i], h[s, i], reset[s, i])
        add_product(
            flat(reset), row * units, units, 1, rows, of_n, units, 0, units, flat(gates),
            row * 3 * units + 2 * units, 3 * units, units, spare, offsets,
        )  # fmt: skip
        for i in range(start, stop):
            if is_padding(words, padding, i, s, place, stride):
                put(h[s, i], h[s + 1, i])
            else:
                _cell(gates[s, i], h[s, i], h[s + 1, i])


@wide_parallel_kernel
def cho_gru(U, gates, reset, h, first, last, words, padding, place, stride, panels, work, offsets):
    """Steps from ``first`` to ``last`` of h[s + 1] = (1 - z) * n + z * h[s], with gates r, z, n.

    gates (time, n, 3 * units) enter as x @ W + b. They become r, z = sigmoid(gates + h[s] @ U) and
    n = tanh(gates + reset[s] @ U), each in its columns, with reset[s] = r * h[s]. ``panels`` has the columns of r and z
    packed, and behind them those of n.
    """
    samples = h.shape[1]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _forward(0, samples, first, last, gates, reset, h, words, padding, place, stride, panels, work[0], offsets[0])
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _forward(
                start, stop, first, last, gates, reset, h, words, padding, place, stride, panels, work[own],
                offsets[own],
            )  # fmt: skip


@helper
def _cell_backward(a, old, above, after, dh, dz, dn):
    """Gradients with respect to the sums of z and n, for one sample. dh is as in ``gru_backward``."""
    units, one = dh.size, dh.dtype.type(1)
    z, n = a[units : 2 * units], a[2 * units :]
    for j in range(units):
        dh[j] += above[j] + after[j]
    for j in range(units):
        dn[j] = dh[j] * (one - z[j]) * ((one - n[j]) * (one + n[j]))
    for j in range(units):
        dz[j] = dh[j] * (old[j] - n[j]) * (z[j] * (one - z[j]))
    for j in range(units):
        dh[j] *= z[j]


@helper
def _of_reset_backward(a, old, d, total, dr):
    """The gradient with respect to the sum of r, from that to r * before, which goes on to ``total``, too."""
    units, one = total.size, total.dtype.type(1)
    r = a[:units]
    for j in range(units):
        dr[j] = d[j] * old[j] * (r[j] * (one - r[j]))
    for j in range(units):
        total[j] += d[j] * r[j]


@wide_routine
def _backward(
    start, stop, first, last, least, gates, h, dy, carry, dreset, dbefore, d_rz, d_n, words, padding, place, stride,
    panels, spare, offsets,
):  # fmt: skip
    samples, units = carry.shape
    of_n = panels[panel_size(2 * units, units, h.itemsize) :]
    for s in range(last - 1, first - 1, -1):
        row, rows = s * samples + start, stop - start
        for i in range(start, stop):
            if is_padding(words, padding, i, s, place, stride):
                clear(d_rz[s, i])
                clear(d_n[s, i])
                add(dy[s, i], dbefore[i])
                add(carry[i], dbefore[i])
            else:
                _cell_backward(gates[s, i], h[s, i], dy[s, i], carry[i], dbefore[i], d_rz[s, i, units:], d_n[s, i])
            clear(carry[i])
            clear(dreset[i])
        add_product(
            flat(d_n), row * units, units, 1, rows, of_n, units, 0, units, flat(dreset), start * units, units, units,
            spare, offsets,
        )  # fmt: skip
        for i in range(start, stop):
            _of_reset_backward(gates[s, i], h[s, i], dreset[i], dbefore[i], d_rz[s, i, :units])
        if s >= least:
            add_product(
                flat(d_rz), row * 2 * units, 2 * units, 1, rows, panels, 2 * units, 0, 2 * units, flat(carry),
                start * units, units, units, spare, offsets,
            )  # fmt: skip


@wide_parallel_kernel
def cho_gru_backward(
    U, gates, h, dy, first, last, least, carry, dreset, dbefore, d_rz, d_n, words, padding, place, stride, panels,
    work, offsets,
):  # fmt: skip
    """The same steps backwards: gradients with respect to the sums of r and z, side by side, and of n.

    dy, carry and dbefore are as in ``gru_backward``; dreset (n, units) is scratch memory. ``panels`` has the transpose
    of the columns of r and z packed, and behind it that of the columns of n.
    """
    samples = carry.shape[0]
    tasks = tasks_for(samples, last - first, U)
    if tasks == 1:
        _backward(
            0, samples, first, last, least, gates, h, dy, carry, dreset, dbefore, d_rz, d_n, words, padding, place,
            stride, panels, work[0], offsets[0],
        )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            start, stop = samples_of(np.intp(i), tasks, samples)
            _backward(
                start, stop, first, last, least, gates, h, dy, carry, dreset, dbefore, d_rz, d_n, words, padding,
                place, stride, panels, work[own], offsets[own],
            )  # fmt: skip
