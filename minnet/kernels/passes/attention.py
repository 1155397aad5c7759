"""Scaled dot-product attention of the positions of one sequence to those of another. Vaswani et al. 2017, section 3.2.

The queries are the first ``width`` columns of ``queries`` (n, time, ...). Keys and values are columns of ``keys``
(n, others, ...) from ``key_at`` and ``value_at`` on. Of a sequence with itself, both are the same array. Each has the
parts of all heads side by side. A task is one head of one sample, and takes a block of queries at a time. Its weights,
(rows, others), stay in the memory of its thread: of them only ``log_sums`` (n, heads, time) is kept, the logarithm of
the sum of each row's exponentials, from which the backward pass computes the weights again. A position sees the one of
its own place, all before it, and ``ahead`` positions after it, but none whose word is ``padding``. The word of
position j is ``words[sample, word_at + j]``; ``words`` has no elements if there are none. Blocks leave out what no row
sees. Each position must see at least one. Weights are dropped where the noise of their place is below ``threshold``,
and the others multiplied by ``keep``.
"""

import math

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, wide_kernel, wide_parallel_kernel, wide_routine
from ..noise import at_step, draw
from ..vector.elementary import exp, larger, log
from ..views import flat
from .packed import add_product, pack_matrix, panel_size, panels_for, spare_for, spare_size, whole_panels

_ROWS = 28  # queries of a block
_SERIAL = 200_000  # weights times features up to which waking a second thread costs more than it brings


@helper
def _hide(row, words, padding):
    """row = minus infinity where the word is ``padding``, so that the weight is 0."""
    for j in range(row.size):
        if words[j] == padding:
            row[j] = -row.dtype.type(math.inf)


@helper
def _softmax(row, seen, scale):
    """row = softmax(scale * row) over its first ``seen`` elements, and 0 in the others. Returns the log of the sum."""
    zero = row.dtype.type(0)
    top = row[0]
    for j in range(1, seen):
        top = larger(top, row[j])
    some = row[:seen]
    for j in range(seen):
        some[j] = exp(scale * (some[j] - top))
    total = zero
    for j in range(seen):
        total += some[j]
    share = row.dtype.type(1) / total
    for j in range(seen):
        some[j] *= share
    for j in range(seen, row.size):
        row[j] = zero
    return scale * top + log(total)


@helper
def _weights_again(row, seen, scale, log_sum):
    """row = exp(scale * row - log_sum) in its first ``seen`` elements, and 0 in the others."""
    some = row[:seen]
    for j in range(seen):
        some[j] = exp(scale * some[j] - log_sum)
    for j in range(seen, row.size):
        row[j] = row.dtype.type(0)


@helper
def _through_softmax(row, scale, slope):
    """slope, the gradient with respect to the weights ``row``, becomes that for what the softmax was taken of."""
    total = row.dtype.type(0)
    for j in range(row.size):
        total += row[j] * slope[j]
    for j in range(row.size):
        slope[j] = scale * row[j] * (slope[j] - total)


@helper
def _drop(row, base, first, threshold, keep):
    """Multiply each element by ``keep`` or 0, by the noise of its place, which is counted from ``first``."""
    for j in range(row.size):
        row[j] = keep * row[j] if draw(base, first + j) >= threshold else row.dtype.type(0)


@helper
def _clear(a, rows, row_step, columns):
    """a[r * row_step + j] = 0, for flat a, r < rows and j < columns."""
    for r in range(rows):
        row = a[r * row_step :]
        for j in range(columns):
            row[j] = row.dtype.type(0)


def work_for(time, others, depth, itemsize):
    """Return the elements of work that a thread needs."""
    packed = 2 * panels_for(depth, others, itemsize) + panels_for(others, depth, itemsize)
    return spare_for(itemsize) + packed + 2 * panels_for(time, depth, itemsize) + 2 * _ROWS * others


@wide_routine
def _attend(
    task, queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, base, threshold, keep, log_sums, out,
    work, offsets,
):  # fmt: skip
    (time, width), (others, key_row), query_row = out.shape[1:], keys.shape[1:], queries.shape[2]
    sample, head, depth = task // heads, task % heads, width // heads
    query, key, y = flat(queries), flat(keys), flat(out)
    start, from_query = sample * others * key_row + head * depth, sample * time * query_row + head * depth
    scale, size = out.dtype.type(1 / math.sqrt(depth)), out.itemsize
    key_panels = work[spare_size(size) :]
    value_panels = key_panels[panel_size(depth, others, size) :]
    weights = value_panels[panel_size(others, depth, size) :]
    pack_matrix(key, start + key_at, 1, key_row, depth, others, key_panels)
    pack_matrix(key, start + value_at, key_row, 1, others, depth, value_panels)
    for first in range(0, time, _ROWS):
        rows = min(_ROWS, time - first)
        seen = whole_panels(min(others, first + rows + ahead), others, size)
        _clear(weights, rows, others, seen)
        add_product(
            query, from_query + first * query_row, query_row, 1, rows, key_panels, depth, 0, depth, weights, 0, others,
            seen, work, offsets,
        )  # fmt: skip
        for i in range(rows):
            row, r = weights[i * others : i * others + seen], first + i
            if words.size > 0:
                _hide(row, words[sample, word_at:], padding)
            log_sums[sample, head, r] = _softmax(row, min(others, r + 1 + ahead), scale)
            if threshold > 0:
                _drop(row, base, (task * time + r) * others, threshold, keep)
        to = (sample * time + first) * width + head * depth
        _clear(y[to:], rows, width, depth)
        add_product(
            weights, 0, others, 1, rows, value_panels, others, 0, seen, y, to, width, depth, work, offsets
        )  # fmt: skip


@wide_parallel_kernel
def attention(
    queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, stream, step, threshold, keep, log_sums,
    out, work, offsets,
):  # fmt: skip
    """out (n, time, width) = the means of the values, weighted by the softmax of queries times keys / sqrt(depth).

    work and offsets have a row for each thread, work one of ``work_for`` elements.
    """
    tasks, base = out.shape[0] * heads, at_step(stream, step)
    if out.size * keys.shape[1] <= _SERIAL:
        for task in range(tasks):
            _attend(
                task, queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, base, threshold, keep,
                log_sums, out, work[0], offsets[0],
            )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            _attend(
                np.intp(i), queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, base, threshold,
                keep, log_sums, out, work[own], offsets[own],
            )  # fmt: skip


@helper
def _through_weights(
    weights, slopes, task, sample, head, first, rows, seen, time, others, ahead, words, word_at, padding, base,
    threshold, keep, scale, log_sums,
):  # fmt: skip
    """Products become the weights of the values; slopes, the gradient for these, becomes that for the products.

    Each has ``others`` elements for each of ``rows`` queries from ``first`` on, of which ``seen`` count.
    """
    for i in range(rows):
        row, slope = weights[i * others : i * others + seen], slopes[i * others : i * others + seen]
        r = first + i
        place = (task * time + r) * others
        if words.size > 0:
            _hide(row, words[sample, word_at:], padding)
        _weights_again(row, min(others, r + 1 + ahead), scale, log_sums[sample, head, r])
        if threshold > 0:
            _drop(slope, base, place, threshold, keep)
        _through_softmax(row, scale, slope)
        if threshold > 0:
            _drop(row, base, place, threshold, keep)


@wide_routine
def _attend_backward(
    task, queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, base, threshold, keep, log_sums, dy,
    dqueries, dkeys, work, offsets,
):  # fmt: skip
    (time, width), (others, key_row), query_row = dy.shape[1:], keys.shape[1:], queries.shape[2]
    sample, head, depth = task // heads, task % heads, width // heads
    query, key, above, of_query, of_key = flat(queries), flat(keys), flat(dy), flat(dqueries), flat(dkeys)
    start, from_query = sample * others * key_row + head * depth, sample * time * query_row + head * depth
    from_above = sample * time * width + head * depth
    scale, size = dy.dtype.type(1 / math.sqrt(depth)), dy.itemsize
    by_key, by_query = panel_size(others, depth, size), panel_size(time, depth, size)
    keys_turned = work[spare_size(size) :]
    values_turned = keys_turned[panel_size(depth, others, size) :]
    key_panels = values_turned[panel_size(depth, others, size) :]
    query_panels, above_panels = key_panels[by_key:], key_panels[by_key + by_query :]
    weights = above_panels[by_query:]
    slopes = weights[_ROWS * others :]
    pack_matrix(key, start + key_at, 1, key_row, depth, others, keys_turned)
    pack_matrix(key, start + value_at, 1, key_row, depth, others, values_turned)
    pack_matrix(key, start + key_at, key_row, 1, others, depth, key_panels)
    pack_matrix(query, from_query, query_row, 1, time, depth, query_panels)
    pack_matrix(above, from_above, width, 1, time, depth, above_panels)
    _clear(of_key[start + key_at :], others, key_row, depth)
    _clear(of_key[start + value_at :], others, key_row, depth)
    for first in range(0, time, _ROWS):
        rows = min(_ROWS, time - first)
        seen = whole_panels(min(others, first + rows + ahead), others, size)
        _clear(weights, rows, others, seen)
        add_product(
            query, from_query + first * query_row, query_row, 1, rows, keys_turned, depth, 0, depth, weights, 0, others,
            seen, work, offsets,
        )  # fmt: skip
        _clear(slopes, rows, others, seen)
        add_product(
            above, from_above + first * width, width, 1, rows, values_turned, depth, 0, depth, slopes, 0, others, seen,
            work, offsets,
        )  # fmt: skip
        _through_weights(
            weights, slopes, task, sample, head, first, rows, seen, time, others, ahead, words, word_at, padding, base,
            threshold, keep, scale, log_sums,
        )  # fmt: skip
        to = from_query + first * query_row
        _clear(of_query[to:], rows, query_row, depth)
        add_product(
            slopes, 0, others, 1, rows, key_panels, others, 0, seen, of_query, to, query_row, depth, work, offsets
        )  # fmt: skip
        add_product(
            slopes, 0, 1, others, seen, query_panels, time, first, rows, of_key, start + key_at, key_row, depth, work,
            offsets,
        )  # fmt: skip
        add_product(
            weights, 0, 1, others, seen, above_panels, time, first, rows, of_key, start + value_at, key_row, depth,
            work, offsets,
        )  # fmt: skip


@wide_parallel_kernel
def attention_backward(
    queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, stream, step, threshold, keep, log_sums, dy,
    dqueries, dkeys, work, offsets,
):  # fmt: skip
    """Gradients of queries, keys and values, from ``dy``, that with respect to the output of ``attention``.

    They have the places of what they are gradients of, in dqueries and dkeys.
    """
    tasks, base = dy.shape[0] * heads, at_step(stream, step)
    if dy.size * keys.shape[1] <= _SERIAL:
        for task in range(tasks):
            _attend_backward(
                task, queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, base, threshold, keep,
                log_sums, dy, dqueries, dkeys, work[0], offsets[0],
            )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            _attend_backward(
                np.intp(i), queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, base, threshold,
                keep, log_sums, dy, dqueries, dkeys, work[own], offsets[own],
            )  # fmt: skip


@wide_kernel
def attend_step(qkv, place, keys, values, weights, out):
    """One step of attention to itself and the steps before it, whose keys and values are kept, (n, context, width).

    qkv (n, 3 * width) and out (n, width) are those of the step number ``place``, whose key and value are added to those
    that are kept. ``weights`` (n, heads, context) is scratch memory.
    """
    heads, width, zero = weights.shape[1], out.shape[1], out.dtype.type(0)
    depth = width // heads
    scale = out.dtype.type(1 / math.sqrt(depth))
    for sample in range(out.shape[0]):
        new_key, new_value = qkv[sample, width : 2 * width], qkv[sample, 2 * width :]
        key, value, total = keys[sample, place], values[sample, place], out[sample]
        for j in range(width):
            key[j] = new_key[j]
        for j in range(width):
            value[j] = new_value[j]
        for j in range(width):
            total[j] = zero
        for head in range(heads):
            own, row = slice(head * depth, (head + 1) * depth), weights[sample, head, : place + 1]
            query, mixed = qkv[sample, own], total[own]
            for s in range(row.size):
                other, product = keys[sample, s, own], zero
                for j in range(depth):
                    product += query[j] * other[j]
                row[s] = product
            _softmax(row, row.size, scale)
            for s in range(row.size):
                other = values[sample, s, own]
                for j in range(depth):
                    mixed[j] += row[s] * other[j]
