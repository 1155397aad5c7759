"""Rows of a matrix chosen by words, which are int64 of shape (n,), and the sums of their gradients."""

from ..compile import kernel
from ..vector.sums import finish, start, two_sum


@kernel
def are_seen(words, padding, first, within):
    """Return whether every row of words has another word than ``padding`` among the ``within`` from ``first`` on."""
    right = True
    for i in range(words.shape[0]):
        some = False
        for t in range(within):
            some |= words[i, first + t] != padding
        right &= some
    return right


@kernel
def embed(words, W, padding, y):
    """y[i] = W[words[i]], and 0 where the word is ``padding``."""
    zero = W.dtype.type(0)
    for i in range(words.size):
        row, out = W[words[i]], y[i]
        if words[i] == padding:
            for j in range(out.size):
                out[j] = zero
        else:
            for j in range(out.size):
                out[j] = row[j]


@kernel
def embed_backward(words, padding, dy, dW, rests):
    """dW[w] = sum of dy[i] over the places i of the word w, in their order, and 0 for ``padding``.

    A frequent word has thousands of terms. What rounding loses of one is kept in ``rests``, of the shape of dW, and
    added to the next (Kahan 1965).
    """
    start(dW.reshape(-1), rests.reshape(-1))
    for i in range(words.size):
        if words[i] != padding:
            total, rest, term = dW[words[i]], rests[words[i]], dy[i]
            for j in range(term.size):
                total[j], rest[j] = two_sum(total[j], term[j] + rest[j])
    finish(dW.reshape(-1), rests.reshape(-1))
