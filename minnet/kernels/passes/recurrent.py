"""Steps of recurrent layers, and the exchange of their axes of samples and time.

Within the layers the first axis is the step and the second the sample, so that all arrays of a step are contiguous. In
the kernels of a step, a state has shape (n, units), and gates lie side by side in (n, gates * units). ``recurrent`` is
the product of the state before with U. ``gates`` enters as x @ W + b. ``dy`` is the gradient with respect to the state
that comes from the output of the step, and ``carry`` the one that comes from the next step. Loops write to one array
each, because the compiler must prove for vector code that it differs from all arrays that the loop reads.
"""

from ..compile import helper, kernel, wide_kernel
from ..vector.elementary import sigmoid, tanh


@kernel
def by_step(x, first, stride, out):
    """out[s, i] = x[i, first + s * stride], for x (n, time, features)."""
    for s in range(out.shape[0]):
        for i in range(out.shape[1]):
            row, to = x[i, first + s * stride], out[s, i]
            for j in range(to.size):
                to[j] = row[j]


@kernel
def by_sample(x, first, stride, out):
    """out[i, first + s * stride] = x[s, i], for x (time, n, features)."""
    for s in range(x.shape[0]):
        for i in range(x.shape[1]):
            row, to = x[s, i], out[i, first + s * stride]
            for j in range(to.size):
                to[j] = row[j]


@kernel
def recall(carried, number, h):
    """h = the state before the pass of this number, for carried (2, n, units)."""
    a, out = carried[number % 2].reshape(-1), h.reshape(-1)
    for k in range(out.size):
        out[k] = a[k]


@kernel
def remember(h, number, carried):
    """Keep h as the state before the pass that follows the one of this number."""
    a, out = h.reshape(-1), carried[(number + 1) % 2].reshape(-1)
    for k in range(out.size):
        out[k] = a[k]


@kernel
def join(a, b, out):
    """out[i] = a[i] and b[i] side by side, for rows."""
    for i in range(out.shape[0]):
        left, right = out[i, : a.shape[1]], out[i, a.shape[1] :]
        for j in range(left.size):
            left[j] = a[i, j]
        for j in range(right.size):
            right[j] = b[i, j]


@kernel
def part(both, a, b):
    """a[i] and b[i] = the left and the right part of both[i], for rows."""
    for i in range(both.shape[0]):
        left, right = both[i, : a.shape[1]], both[i, a.shape[1] :]
        for j in range(left.size):
            a[i, j] = left[j]
        for j in range(right.size):
            b[i, j] = right[j]


# RNN --------------------------------------------------------------------------------------------------------------


@wide_kernel
def tanh_step(gates, recurrent, h):
    """h = tanh(gates + recurrent)."""
    a, r, out = gates.reshape(-1), recurrent.reshape(-1), h.reshape(-1)
    for k in range(out.size):
        out[k] = tanh(a[k] + r[k])


@kernel
def tanh_step_backward(h, dy, carry, dgates):
    """dgates = (1 - h) * (1 + h) * (dy + carry)."""
    y, d, c, out = h.reshape(-1), dy.reshape(-1), carry.reshape(-1), dgates.reshape(-1)
    one = h.dtype.type(1)
    for k in range(out.size):
        out[k] = (one - y[k]) * (one + y[k]) * (d[k] + c[k])


@kernel
def relu_step(gates, recurrent, h):
    """h = max(gates + recurrent, 0)."""
    a, r, out = gates.reshape(-1), recurrent.reshape(-1), h.reshape(-1)
    zero = h.dtype.type(0)
    for k in range(out.size):
        v = a[k] + r[k]
        out[k] = zero if v <= zero else v


@kernel
def relu_step_backward(h, dy, carry, dgates):
    """dgates = dy + carry where h > 0, 0 elsewhere."""
    y, d, c, out = h.reshape(-1), dy.reshape(-1), carry.reshape(-1), dgates.reshape(-1)
    zero = h.dtype.type(0)
    for k in range(out.size):
        out[k] = d[k] + c[k] if y[k] > zero else zero


# LSTM -------------------------------------------------------------------------------------------------------------


@helper
def _sigmoid_of_sum(a, b):
    for j in range(a.size):
        a[j] = sigmoid(a[j] + b[j])


@helper
def _tanh_of_sum(a, b):
    for j in range(a.size):
        a[j] = tanh(a[j] + b[j])


@wide_kernel
def lstm_step(gates, recurrent, c_before, c, tanh_c, h):
    """c = f * c_before + i * g and h = o * tanh(c), with gates i, f, g, o, which replace what ``gates`` was.

    i, f, o = sigmoid(gates + recurrent) and g = tanh(gates + recurrent), each in its columns.
    """
    units = c.shape[1]
    for row in range(c.shape[0]):
        a, b = gates[row], recurrent[row]
        _sigmoid_of_sum(a[: 2 * units], b[: 2 * units])
        _tanh_of_sum(a[2 * units : 3 * units], b[2 * units : 3 * units])
        _sigmoid_of_sum(a[3 * units :], b[3 * units :])
        i, f, g, o = a[:units], a[units : 2 * units], a[2 * units : 3 * units], a[3 * units :]
        before, cell, squashed, out = c_before[row], c[row], tanh_c[row], h[row]
        for j in range(units):
            cell[j] = f[j] * before[j] + i[j] * g[j]
        for j in range(units):
            squashed[j] = tanh(cell[j])
        for j in range(units):
            out[j] = o[j] * squashed[j]


@kernel
def lstm_step_backward(gates, c_before, tanh_c, dy, carry, dc, dgates):
    """Gradients with respect to the sums of the gates. dc, with respect to c, becomes that for c_before."""
    units, one = dc.shape[1], dc.dtype.type(1)
    for row in range(dc.shape[0]):
        a, d = gates[row], dgates[row]
        i, f, g, o = a[:units], a[units : 2 * units], a[2 * units : 3 * units], a[3 * units :]
        di, df, dg, do = d[:units], d[units : 2 * units], d[2 * units : 3 * units], d[3 * units :]
        before, squashed, cell = c_before[row], tanh_c[row], dc[row]
        above, after = dy[row], carry[row]
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


# GRU --------------------------------------------------------------------------------------------------------------


@wide_kernel
def gru_step(gates, recurrent, c, before, inner, h):
    """h = (1 - z) * n + z * before, with gates r, z, n, which replace what ``gates`` was.

    r, z = sigmoid(gates + recurrent), inner = recurrent + c, and n = tanh(gates + r * inner), each in its columns.
    """
    units = h.shape[1]
    for row in range(h.shape[0]):
        a, b = gates[row], recurrent[row]
        _sigmoid_of_sum(a[: 2 * units], b[: 2 * units])
        r, z, n = a[:units], a[units : 2 * units], a[2 * units :]
        u, inside, old, out = b[2 * units :], inner[row], before[row], h[row]
        for j in range(units):
            inside[j] = u[j] + c[j]
        for j in range(units):
            n[j] = tanh(n[j] + r[j] * inside[j])
        for j in range(units):
            out[j] = n[j] + z[j] * (old[j] - n[j])


@kernel
def gru_step_backward(gates, inner, before, dy, carry, dbefore, dgates, drecurrent):
    """Gradients with respect to ``gates`` and ``recurrent`` of ``gru_step``.

    dbefore enters as a part of the gradient with respect to h, beside carry. It becomes that with respect to before
    which does not pass through ``recurrent``.
    """
    units, one = dbefore.shape[1], dbefore.dtype.type(1)
    for row in range(dbefore.shape[0]):
        a, d, e = gates[row], dgates[row], drecurrent[row]
        r, z, n = a[:units], a[units : 2 * units], a[2 * units :]
        dr, dz, dn = d[:units], d[units : 2 * units], d[2 * units :]
        inside, old, dh, above, after = inner[row], before[row], dbefore[row], dy[row], carry[row]
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


# GRU of Cho et al. ------------------------------------------------------------------------------------------------


@wide_kernel
def cho_gates(gates, of_rz, before, reset):
    """r, z = sigmoid(gates + of_rz) in their columns of ``gates``, and reset = r * before."""
    units = before.shape[1]
    for row in range(before.shape[0]):
        a, old, out = gates[row], before[row], reset[row]
        _sigmoid_of_sum(a[: 2 * units], of_rz[row])
        r = a[:units]
        for j in range(units):
            out[j] = r[j] * old[j]


@wide_kernel
def cho_step(gates, of_n, before, h):
    """n = tanh(gates + of_n) in its columns of ``gates``, and h = (1 - z) * n + z * before."""
    units = before.shape[1]
    for row in range(before.shape[0]):
        a, old, out = gates[row], before[row], h[row]
        _tanh_of_sum(a[2 * units :], of_n[row])
        z, n = a[units : 2 * units], a[2 * units :]
        for j in range(units):
            out[j] = n[j] + z[j] * (old[j] - n[j])


@kernel
def cho_step_backward(gates, before, dy, carry, dbefore, d_rz, d_n):
    """Gradients with respect to the sums of z and n. dbefore enters and leaves as in ``gru_step_backward``."""
    units, one = before.shape[1], before.dtype.type(1)
    for row in range(before.shape[0]):
        a, old, dh, above, after = gates[row], before[row], dbefore[row], dy[row], carry[row]
        z, n, dz, dn = a[units : 2 * units], a[2 * units :], d_rz[row, units:], d_n[row]
        for j in range(units):
            dh[j] += above[j] + after[j]
        for j in range(units):
            dn[j] = dh[j] * (one - z[j]) * ((one - n[j]) * (one + n[j]))
        for j in range(units):
            dz[j] = dh[j] * (old[j] - n[j]) * (z[j] * (one - z[j]))
        for j in range(units):
            dh[j] *= z[j]


@kernel
def cho_gates_backward(gates, before, dreset, dbefore, d_rz):
    """The gradient with respect to the sum of r, from that to r * before, which goes on to dbefore, too."""
    units, one = before.shape[1], before.dtype.type(1)
    for row in range(before.shape[0]):
        a, old, d, total, dr = gates[row], before[row], dreset[row], dbefore[row], d_rz[row, : before.shape[1]]
        r = a[:units]
        for j in range(units):
            dr[j] = d[j] * old[j] * (r[j] * (one - r[j]))
        for j in range(units):
            total[j] += d[j] * r[j]
