"""Scaled dot-product attention of the positions of a sequence to one another. Vaswani et al. 2017, section 3.2.

``qkv`` (n, time, 3 * width) holds queries, keys and values side by side, each with the parts of all heads side by side.
A task is one head of one sample. Its weights, (time, time), stay in the memory of its thread: of them only ``log_sums``
(n, heads, time) is kept, the logarithm of the sum of each row's exponentials, from which the backward pass computes the
weights again. A position sees itself, all before it, and ``ahead`` positions after it, but none whose word in ``words``
(n, time) is ``padding``; ``words`` has no elements if there are none. Each position must see at least one. Weights are
dropped where the noise of their place is below ``threshold``, and the others multiplied by ``keep``.
"""

import math

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, routine, wide_kernel, wide_parallel_kernel
from ..noise import at_step, draw
from ..vector.elementary import exp, larger, log
from ..vector.product import product_on_one_thread

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
def _put(source, target, start, step):
    """target[start + i * step + j] = source[i, j], for flat target."""
    for i in range(source.shape[0]):
        out, row = target[start + i * step :], source[i]
        for j in range(row.size):
            out[j] = row[j]


@routine
def _attend(task, qkv, heads, ahead, words, padding, base, threshold, keep, none, log_sums, out, work, least, offsets):
    time, width = out.shape[1:]
    sample, head, depth = task // heads, task % heads, width // heads
    flat, start = qkv.reshape(-1), sample * time * 3 * width + head * depth
    scale, low = out.dtype.type(1 / math.sqrt(depth)), -out.dtype.type(math.inf)
    weights = work[least : least + time * time].reshape((time, time))
    made = work[least + time * time : least + time * time + time * depth].reshape((time, depth))
    query, key, value = flat[start:], flat[start + width :], flat[start + 2 * width :]
    product_on_one_thread(query, 3 * width, 1, key, 1, 3 * width, none, low, weights, depth, work, offsets)
    for r in range(time):
        if words.size > 0:
            _hide(weights[r], words[sample], padding)
        log_sums[sample, head, r] = _softmax(weights[r], min(time, r + 1 + ahead), scale)
        if threshold > 0:
            _drop(weights[r], base, (task * time + r) * time, threshold, keep)
    product_on_one_thread(weights.reshape(-1), time, 1, value, 3 * width, 1, none, low, made, time, work, offsets)
    _put(made, out.reshape(-1), sample * time * width + head * depth, width)


@wide_parallel_kernel
def attention(
    qkv, heads, ahead, words, padding, stream, step, threshold, keep, none, log_sums, out, work, least, offsets
):
    """out (n, time, width) = the means of the values, weighted by the softmax of queries times keys / sqrt(depth).

    ``none`` is an empty array. work and offsets have a row for each thread; products take ``least`` elements of work.
    """
    tasks, base = out.shape[0] * heads, at_step(stream, step)
    if out.size * out.shape[1] <= _SERIAL:
        for task in range(tasks):
            _attend(
                task, qkv, heads, ahead, words, padding, base, threshold, keep, none, log_sums, out, work[0], least,
                offsets[0],
            )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            _attend(
                np.intp(i), qkv, heads, ahead, words, padding, base, threshold, keep, none, log_sums, out, work[own],
                least, offsets[own],
            )  # fmt: skip


@routine
def _attend_backward(
    task, qkv, heads, ahead, words, padding, base, threshold, keep, none, log_sums, dy, dqkv, work, least, offsets
):
    time, width = dy.shape[1:]
    sample, head, depth = task // heads, task % heads, width // heads
    flat, start, wide = qkv.reshape(-1), sample * time * 3 * width + head * depth, 3 * width
    scale, low = dy.dtype.type(1 / math.sqrt(depth)), -dy.dtype.type(math.inf)
    weights = work[least : least + time * time].reshape((time, time))
    slopes = work[least + time * time : least + 2 * time * time].reshape((time, time))
    made = work[least + 2 * time * time : least + 2 * time * time + time * depth].reshape((time, depth))
    query, key, value = flat[start:], flat[start + width :], flat[start + 2 * width :]
    above = dy.reshape(-1)[sample * time * width + head * depth :]
    product_on_one_thread(query, wide, 1, key, 1, wide, none, low, weights, depth, work, offsets)
    product_on_one_thread(above, width, 1, value, 1, wide, none, low, slopes, depth, work, offsets)
    for r in range(time):
        row, slope, first = weights[r], slopes[r], (task * time + r) * time
        if words.size > 0:
            _hide(row, words[sample], padding)
        _weights_again(row, min(time, r + 1 + ahead), scale, log_sums[sample, head, r])
        if threshold > 0:
            _drop(slope, base, first, threshold, keep)
        _through_softmax(row, scale, slope)
        if threshold > 0:
            _drop(row, base, first, threshold, keep)
    target = dqkv.reshape(-1)
    product_on_one_thread(slopes.reshape(-1), time, 1, key, wide, 1, none, low, made, time, work, offsets)
    _put(made, target, start, wide)
    product_on_one_thread(slopes.reshape(-1), 1, time, query, wide, 1, none, low, made, time, work, offsets)
    _put(made, target, start + width, wide)
    product_on_one_thread(weights.reshape(-1), 1, time, above, width, 1, none, low, made, time, work, offsets)
    _put(made, target, start + 2 * width, wide)


@wide_parallel_kernel
def attention_backward(
    qkv, heads, ahead, words, padding, stream, step, threshold, keep, none, log_sums, dy, dqkv, work, least, offsets
):
    """dqkv = the gradient with respect to qkv, from ``dy``, that with respect to the output of ``attention``."""
    tasks, base = dy.shape[0] * heads, at_step(stream, step)
    if dy.size * dy.shape[1] <= _SERIAL:
        for task in range(tasks):
            _attend_backward(
                task, qkv, heads, ahead, words, padding, base, threshold, keep, none, log_sums, dy, dqkv, work[0],
                least, offsets[0],
            )  # fmt: skip
    else:
        for i in prange(tasks):
            own = get_thread_id()
            _attend_backward(
                np.intp(i), qkv, heads, ahead, words, padding, base, threshold, keep, none, log_sums, dy, dqkv,
                work[own], least, offsets[own],
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
