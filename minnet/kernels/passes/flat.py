"""Passes over a flat vector: norms, penalties, constraints, and whether every element is finite."""

import math

from numba import prange

from ..chunks import bounds, chunks
from ..compile import kernel, parallel_kernel
from ..views import flat

# Sums are taken in blocks, then over blocks in float64, so that float32 stays accurate. A block is a view, counted from
# 0: an index that starts elsewhere might be negative for all the compiler knows, and the loop would be no vector code.
_BLOCK = 4096


@kernel
def all_finite(x):
    """Return whether no element is NaN or infinite. 0 * x is 0 for a finite x, and NaN otherwise."""
    xs = flat(x)
    zero = x.dtype.type(0)
    total = zero
    for i in range(xs.size):
        total += zero * xs[i]
    return total == zero


@parallel_kernel
def all_finite_parallel(x):
    """``all_finite`` by several threads."""
    xs = flat(x)
    zero, bad = x.dtype.type(0), 0
    for chunk in prange(chunks(xs.size)):
        first, last = bounds(chunk, xs.size)
        part, total = xs[first:last], zero
        for i in range(part.size):
            total += zero * part[i]
        bad += total != zero
    return bad == 0


@kernel
def fill(x, value):
    """x = value, for flat x."""
    for i in range(x.size):
        x[i] = value


@kernel
def copy(source, out):
    """out = source, element by element in C order; the shapes may differ."""
    a, b = flat(source), flat(out)
    for i in range(a.size):
        b[i] = a[i]


@kernel
def take_slice(x, start, out):
    """out[i] = x[i, start : start + size], for rows of out of this size."""
    for i in range(out.shape[0]):
        source, row = x[i, start:], out[i]
        for j in range(row.size):
            row[j] = source[j]


@kernel
def put_slice(source, start, out):
    """out[i, start : start + size] = source[i], for rows of source of this size, and 0 elsewhere."""
    zero = out.dtype.type(0)
    for i in range(out.shape[0]):
        row = source[i]
        before, place, after = out[i, :start], out[i, start : start + row.size], out[i, start + row.size :]
        for j in range(before.size):
            before[j] = zero
        for j in range(row.size):
            place[j] = row[j]
        for j in range(after.size):
            after[j] = zero


@kernel
def count(marks):
    """How many of the flat truth values are true."""
    total = 0
    for i in range(marks.size):
        total += marks[i]
    return total


@kernel
def sum_of_squares(x):
    """Return the sum of x^2 as float64."""
    total = 0.0
    for start in range(0, x.size, _BLOCK):
        block, part = x[start : start + _BLOCK], x.dtype.type(0)
        for i in range(block.size):
            part += block[i] * block[i]
        total += part
    return total


@kernel
def scale(x, factor):
    """x *= factor."""
    for i in range(x.size):
        x[i] *= factor


@kernel
def add_l2(w, strength, dw):
    """dw += strength * w; returns the sum of w^2 as float64."""
    total = 0.0
    for start in range(0, w.size, _BLOCK):
        block, gradient, part = w[start : start + _BLOCK], dw[start : start + _BLOCK], w.dtype.type(0)
        for i in range(block.size):
            part += block[i] * block[i]
            gradient[i] += strength * block[i]
        total += part
    return total


@kernel
def add_l1(w, strength, dw):
    """dw += strength * sign(w); returns the sum of |w| as float64."""
    zero = w.dtype.type(0)
    total = 0.0
    for start in range(0, w.size, _BLOCK):
        block, gradient, part = w[start : start + _BLOCK], dw[start : start + _BLOCK], zero
        for i in range(block.size):
            part += abs(block[i])
            gradient[i] += strength if block[i] > zero else (-strength if block[i] < zero else zero)
        total += part
    return total


@kernel
def limit_unit_norms(W, bound):
    """Scale the incoming weights W[:, u] of each unit down to the Euclidean norm ``bound`` if theirs is larger."""
    for u in range(W.shape[1]):
        squares = 0.0
        for i in range(W.shape[0]):
            squares += W[i, u] * W[i, u]
        norm = math.sqrt(squares)
        if norm > bound:
            factor = W.dtype.type(bound / norm)
            for i in range(W.shape[0]):
                W[i, u] *= factor
