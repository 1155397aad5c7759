"""Typical mistakes, seeded into every layer's backward pass: what a gradient check has to catch.

Each class is a right layer with one mistake. tests/gradcheck/test_seeded_mistakes.py catches them all;
bench/gradcheck.py measures what each mode of the check catches, at which cost.
"""

from dataclasses import dataclass

import numpy as np

import minnet as mn


@dataclass(frozen=True)
class Mistake:
    """A layer with a mistake in its backward pass, the right one, the shape of a sample, and what the mistake is."""

    layer: mn.Layer
    right: mn.Layer
    shape: tuple[int, ...]
    name: str

    def __str__(self) -> str:
        return self.name


MISTAKES: list[Mistake] = []


def seed(base, arguments, shape, name, spoil, **options):
    """A layer whose backward pass is right, and is then spoiled."""

    def backward(self, m, x, y, dy, dx):
        base.backward(self, m, x, y, dy, dx)
        spoil(m, x, y, dy, np.empty_like(x) if dx is None else dx)

    cls = dataclass(frozen=True)(type(base.__name__, (base,), {"backward": backward}))
    MISTAKES.append(Mistake(cls(*arguments, **options), base(*arguments, **options), shape, f"{base.__name__}: {name}"))


def scale(array, factor):
    array *= factor


def copy(target, source):
    target[...] = source


# Dense: square, so that a lost transpose still has the right shape.
seed(mn.Dense, [5], (5,), "lost transpose of W in dx", lambda m, x, y, dy, dx: copy(dx, dy @ m.W))
seed(mn.Dense, [5], (5,), "lost transpose in dW", lambda m, x, y, dy, dx: copy(m.dW, (x.T @ dy).T))
seed(mn.Dense, [3], (5,), "db summed over the wrong axis", lambda m, x, y, dy, dx: copy(m.db, dy.sum(axis=1)))
seed(mn.Dense, [4], (5,), "factor 2 in dW", lambda m, x, y, dy, dx: scale(m.dW, 2))
seed(mn.Dense, [4], (5,), "dW averaged twice over the batch", lambda m, x, y, dy, dx: scale(m.dW, 1 / len(x)))
seed(mn.Dense, [4], (5,), "db forgotten", lambda m, x, y, dy, dx: copy(m.db, 0))
seed(mn.Dense, [4], (5,), "dx forgotten", lambda m, x, y, dy, dx: copy(dx, np.nan))
seed(mn.Dense, [4], (5,), "last column of dW not written", lambda m, x, y, dy, dx: copy(m.dW[:, -1], np.nan))


class Accumulates(mn.Dense):
    """Adds to the gradient that the last pass left."""

    def backward(self, m, x, y, dy, dx):
        before = m.dW.copy()
        super().backward(m, x, y, dy, dx)
        m.dW += before


MISTAKES.append(Mistake(Accumulates(4), mn.Dense(4), (5,), "Dense: dW added to what was there"))

# Words and sequences: square, so that exchanged axes still have the right shape.
seed(mn.Dense, [4], (3, 4), "dW of the first position", lambda m, x, y, dy, dx: copy(m.dW, x[:, 0].T @ dy[:, 0]))
seed(mn.Dense, [4], (3, 4), "db averaged over the positions", lambda m, x, y, dy, dx: scale(m.db, 1 / 3))


def last_place_only(m, x, y, dy, dx):
    """As ``dW[x] += dy`` has it in NumPy, where words repeat."""
    m.dW[...] = 0
    m.dW[x] += dy


seed(mn.Embedding, [3, 2], (7,), "repeated words counted once", last_place_only)
seed(mn.Embedding, [3, 2], (7,), "mean over the places of a word", lambda m, x, y, dy, dx: scale(m.dW, 1 / 7))
seed(
    mn.Embedding,
    [9, 2],
    (2,),
    "row of an absent word not written",
    lambda m, x, y, dy, dx: copy(m.dW[min(set(range(9)) - set(x.flat))], np.nan),
)
seed(
    mn.Embedding,
    [3, 2],
    (7,),
    "gradient of the padding",
    lambda m, x, y, dy, dx: copy(m.dW[0], dy[x == 0].sum(axis=0)),
    padding=0,
)


def spoiled_steps(base, name, arguments, shape, **methods):
    """A recurrent layer with another method of its steps."""
    cls = dataclass(frozen=True)(type(base.__name__, (base,), methods))
    MISTAKES.append(Mistake(cls(*arguments), base(*arguments), shape, f"{base.__name__}: {name}"))


def forgets(name):
    """Steps backwards in which what an array carries to the step before is lost."""

    def steps(base):
        def forgetful(self, m, first, last):
            for s in range(last - 1, first - 1, -1):
                getattr(m, name)[...] = 0
                base._steps_backward(self, m, s, s + 1)

        return forgetful

    return steps


def with_state_after(self, m):
    """The product of the gradient with the states of the same steps, not of those before."""
    type(self).__mro__[1]._recurrent_gradients(self, m)
    m.dU[...] = m.h[1:].reshape(-1, self.units).T @ m.d_activated.reshape(-1, m.dU.shape[1])


for _kind in (mn.RNN, mn.LSTM, mn.GRU):
    spoiled_steps(_kind, "nothing goes back through time", [3], (4, 2), _steps_backward=forgets("carry")(_kind))
    spoiled_steps(_kind, "dU with the state of the same step", [3], (4, 2), _recurrent_gradients=with_state_after)
    seed(_kind, [3], (4, 2), "dx against time", lambda m, x, y, dy, dx: copy(dx, dx[:, ::-1]))
    seed(_kind, [3], (4, 2), "db of the last step", lambda m, x, y, dy, dx: copy(m.db, m.d_activated[-1].sum(axis=0)))
spoiled_steps(mn.LSTM, "the cell's gradient ends at each step", [3], (4, 2), _steps_backward=forgets("dc")(mn.LSTM))
spoiled_steps(mn.GRU, "z's path past the gates forgotten", [3], (4, 2), _steps_backward=forgets("dbefore")(mn.GRU))
seed(
    mn.GRU,
    [3],
    (4, 2),
    "dU without the reset gate",
    lambda m, x, y, dy, dx: copy(m.dU, m.h[:-1].reshape(-1, 3).T @ m.d_activated.reshape(-1, 9)),
)
seed(mn.GRU, [3], (4, 2), "c treated as b", lambda m, x, y, dy, dx: copy(m.dc, m.db[-3:]))
spoiled_steps(mn.ChoGRU, "nothing goes back through time", [3], (4, 2), _steps_backward=forgets("carry")(mn.ChoGRU))
spoiled_steps(mn.ChoGRU, "path past the gates forgotten", [3], (4, 2), _steps_backward=forgets("dbefore")(mn.ChoGRU))
seed(
    mn.ChoGRU,
    [3],
    (4, 2),
    "dU of n without the reset gate",
    lambda m, x, y, dy, dx: copy(m.dU[:, 6:], m.h[:-1].reshape(-1, 3).T @ m.d_n.reshape(-1, 3)),
)


def sees_padding(base):
    """A layer whose steps backwards take padding for words."""

    def steps(self, m, first, last):
        words, m._run.words = m.words, np.full_like(m.words, -1)
        base._steps_backward(self, m, first, last)
        m._run.words = words

    return dataclass(frozen=True)(type(base.__name__, (base,), {"_steps_backward": steps}))


for _kind in (mn.RNN, mn.LSTM, mn.GRU, mn.ChoGRU):
    MISTAKES.append(
        Mistake(
            *(mn.Chain([mn.Embedding(3, 2), k(3, last=True, padding=1)]) for k in (sees_padding(_kind), _kind)),
            (5,),
            f"{_kind.__name__}: padding skipped forwards only",
        )
    )


class WithoutItself(mn.GRU):
    """A layer whose first state has the gradient through the product with U only."""

    def _first_gradient(self, m):
        m.dfirst[...] = m.carry


STATE = [mn.Slice(0, 1), mn.Flatten(), mn.Dense(2)]
MISTAKES.append(
    Mistake(
        mn.InitialState(WithoutItself(2), STATE),
        mn.InitialState(mn.GRU(2), STATE),
        (3, 2),
        "InitialState: the state's path past the gates forgotten",
    )
)
seed(
    mn.InitialState,
    [mn.LSTM(2), STATE],
    (3, 2),
    "dx of the sequence only",
    lambda m, x, y, dy, dx: copy(dx, dx - m.dx_state),
)
TIED = [mn.Embedding(5, 3), [mn.Dense(3), mn.Tanh()]]
seed(
    mn.TiedEmbedding,
    TIED,
    (4,),
    "dW of the scores only",
    lambda m, x, y, dy, dx: copy(m.children[0][1].dW, m.dW_scores),
)
seed(
    mn.TiedEmbedding,
    TIED,
    (4,),
    "dW of the words only",
    lambda m, x, y, dy, dx: copy(m.children[0][1].dW, m.children[0][1].dW - m.dW_scores),
)
seed(
    mn.PatchEmbedding,
    [3, 2],
    (4, 4, 2),
    "dx of other patches",
    lambda m, x, y, dy, dx: copy(dx, np.roll(dx, 2, axis=1)),
)
seed(mn.PatchEmbedding, [3, 2], (4, 4, 2), "db of one patch", lambda m, x, y, dy, dx: copy(m.db, dy[:, 0].sum(axis=0)))
seed(mn.Slice, [1, 3], (5,), "dx of the rest not written", lambda m, x, y, dy, dx: copy(dx[:, 3:], np.nan))
seed(mn.Slice, [1, 3], (5,), "dx of other places", lambda m, x, y, dy, dx: copy(dx, np.roll(dx, -1, axis=1)))
seed(mn.Bidirectional, [mn.LSTM(3)], (4, 2), "dx of one direction", lambda m, x, y, dy, dx: copy(dx, dx - m.dx_back))
seed(
    mn.Bidirectional,
    [mn.GRU(3)],
    (4, 2),
    "dx of the reverse against time",
    lambda m, x, y, dy, dx: copy(dx, dx - m.dx_back + m.dx_back[:, ::-1]),
)

seed(mn.PositionalEncoding, [True], (3, 4), "dP of one sample", lambda m, x, y, dy, dx: copy(m.dP, dy[0]))
seed(mn.PositionalEncoding, [True], (3, 4), "dP of all places", lambda m, x, y, dy, dx: copy(m.dP, m.dP.sum(axis=0)))


def attention_with(changed):
    """A layer whose gradient at queries, keys and values is changed before it goes on to W_in and x."""

    def spoil(m, x, y, dy, dx):
        d = changed(m.d_qkv.copy())
        copy(m.dW_in, np.einsum("nti,ntj->ij", x, d))
        copy(dx, d @ m.W_in.T)

    return spoil


def through_values_only(d):
    """Queries and keys get no gradient, as if all weights were fixed."""
    d[..., :-4] = 0
    return d


seed(mn.SelfAttention, [2], (5, 4), "gradient through the values only", attention_with(through_values_only))
seed(
    mn.SelfAttention,
    [2],
    (5, 4),
    "scale forgotten in the queries",
    attention_with(lambda d: np.concatenate([d[..., :4] * np.sqrt(2), d[..., 4:]], axis=-1)),
)
seed(
    mn.SelfAttention,
    [2],
    (5, 4),
    "heads exchanged",
    attention_with(lambda d: d.reshape(*d.shape[:2], 3, 2, 2)[:, :, :, ::-1].reshape(d.shape)),
)
seed(
    mn.SelfAttention,
    [2],
    (5, 4),
    "db_out of one position",
    lambda m, x, y, dy, dx: copy(m.db_out, dy[:, 0].sum(axis=0)),
)


class SeesPadding(mn.SelfAttention):
    """Attention whose backward pass sees padding."""

    def backward(self, m, x, y, dy, dx):
        words, m._run.words = m.words, np.full_like(m.words, -1)
        try:
            super().backward(m, x, y, dy, dx)
        finally:
            m._run.words = words


MISTAKES.append(
    Mistake(
        mn.Chain([mn.Embedding(9, 4), SeesPadding(2, padding=5)]),
        mn.Chain([mn.Embedding(9, 4), mn.SelfAttention(2, padding=5)]),
        (5,),
        "SelfAttention: padding hidden forwards only",
    )
)

ACROSS = [2, mn.Slice(0, 2), mn.Slice(2, 5)]
seed(
    mn.CrossAttention,
    ACROSS,
    (5, 4),
    "dx of the queries only",
    lambda m, x, y, dy, dx: copy(dx, dx - m.dx_memory),
)
seed(
    mn.CrossAttention,
    ACROSS,
    (5, 4),
    "dx of the memory through the values only",
    lambda m, x, y, dy, dx: copy(dx[:, :2], m.d_kv[..., 4:] @ m.W_kv[:, 4:].T),
)
seed(
    mn.CrossAttention,
    ACROSS,
    (5, 4),
    "keys and values exchanged in dW_kv",
    lambda m, x, y, dy, dx: copy(m.dW_kv, np.roll(m.dW_kv, 4, axis=1)),
)
seed(
    mn.CrossAttention,
    ACROSS,
    (5, 4),
    "db_q of one position",
    lambda m, x, y, dy, dx: copy(m.db_q, m.d_q[:, 0].sum(axis=0)),
)

# Elementwise activations: each mistake is one that its formula invites.
seed(mn.ReLU, [], (7,), "mask by the sign of dy", lambda m, x, y, dy, dx: copy(dx, dy * (dy > 0)))
seed(mn.ReLU, [], (7,), "mask forgotten", lambda m, x, y, dy, dx: copy(dx, dy))
seed(mn.ReLU, [], (7,), "mask turned round", lambda m, x, y, dy, dx: copy(dx, dy * (x <= 0)))
seed(
    mn.ReLU, [], (7,), "stale mask, of another sample", lambda m, x, y, dy, dx: copy(dx, dy * np.roll(x > 0, 1, axis=0))
)
seed(mn.LeakyReLU, [0.1], (7,), "slope 0", lambda m, x, y, dy, dx: copy(dx, dy * (x > 0)))
seed(
    mn.LeakyReLU, [0.1], (7,), "slope on the wrong side", lambda m, x, y, dy, dx: copy(dx, dy * np.where(x > 0, 0.1, 1))
)
seed(mn.PReLU, [], (7,), "da over all x", lambda m, x, y, dy, dx: copy(m.da, (dy * x).sum(axis=0)))
seed(mn.PReLU, [], (7,), "da summed over everything", lambda m, x, y, dy, dx: copy(m.da, m.da.sum()))
seed(mn.PReLU, [], (7,), "slope forgotten in dx", lambda m, x, y, dy, dx: copy(dx, dy * (x > 0)))
seed(mn.ELU, [0.7], (7,), "y in place of y + alpha", lambda m, x, y, dy, dx: copy(dx, dy * np.where(x > 0, 1, y)))
seed(mn.ELU, [0.7], (7,), "alpha forgotten", lambda m, x, y, dy, dx: copy(dx, dy * np.where(x > 0, 1, np.exp(x))))
seed(mn.SELU, [], (7,), "scale forgotten", lambda m, x, y, dy, dx: scale(dx, 1 / 1.0507009873554805))
seed(mn.GELU, [], (7,), "density term forgotten", lambda m, x, y, dy, dx: copy(dx, dy * y / x))
seed(mn.GELUTanh, [], (7,), "inner derivative forgotten", lambda m, x, y, dy, dx: copy(dx, dy * y / x))
seed(mn.SiLU, [], (7,), "product rule forgotten", lambda m, x, y, dy, dx: copy(dx, dy * y / x))
seed(mn.Sigmoid, [], (7,), "y (1 - x) in place of y (1 - y)", lambda m, x, y, dy, dx: copy(dx, dy * y * (1 - x)))
seed(mn.Sigmoid, [], (7,), "sign", lambda m, x, y, dy, dx: scale(dx, -1))
seed(mn.Tanh, [], (7,), "1 - y in place of 1 - y^2", lambda m, x, y, dy, dx: copy(dx, dy * (1 - y)))
seed(mn.Softplus, [], (7,), "sigmoid of y", lambda m, x, y, dy, dx: copy(dx, dy / (1 + np.exp(-y))))
seed(mn.Maxout, [2], (6,), "gradient to both pieces", lambda m, x, y, dy, dx: copy(dx, np.repeat(dy, 2, axis=1)))
seed(mn.Maxout, [2], (6,), "off by one piece", lambda m, x, y, dy, dx: copy(dx, np.roll(dx, 1, axis=1)))


def spread_out(dy):
    return dy.repeat(2, axis=1).repeat(2, axis=2)


# Noise.
seed(mn.Dropout, [0.4], (9,), "mask forgotten", lambda m, x, y, dy, dx: copy(dx, dy))
seed(mn.Dropout, [0.4], (9,), "scale forgotten", lambda m, x, y, dy, dx: scale(dx, 0.6))
seed(
    mn.Dropout,
    [0.4],
    (9,),
    "stale mask, of another sample",
    lambda m, x, y, dy, dx: copy(dx, dy * np.roll(y / x, 1, axis=0)),
)
seed(mn.SpatialDropout, [0.4], (3, 3, 5), "mask forgotten", lambda m, x, y, dy, dx: copy(dx, dy))
seed(mn.SpatialDropout, [0.4], (3, 3, 5), "scale forgotten", lambda m, x, y, dy, dx: scale(dx, 0.6))
seed(
    mn.SpatialDropout,
    [0.4],
    (3, 3, 5),
    "mask of the last sample for all",
    lambda m, x, y, dy, dx: copy(dx, dy * m.factors),
)
seed(
    mn.SpatialDropout,
    [0.4],
    (3, 3, 5),
    "mask of the next channel",
    lambda m, x, y, dy, dx: copy(dx, dy * np.roll(y / x, 1, axis=3)),
)

# Normalisation.


def batch_norm_without(part):
    def spoil(m, x, y, dy, dx):
        xhat = (x - m.mean.sum(axis=0)) * m.inv_std  # the mean, and what its rounding lost
        terms = {"mean": dy.mean(axis=0), "variance": xhat * (dy * xhat).mean(axis=0)}
        copy(dx, m.gamma * m.inv_std * (dy - sum(value for name, value in terms.items() if name != part)))

    return spoil


seed(mn.BatchNorm, [], (5,), "term of the mean missing", batch_norm_without("mean"))
seed(mn.BatchNorm, [], (5,), "term of the variance missing", batch_norm_without("variance"))
seed(mn.BatchNorm, [], (5,), "gamma missing in dx", lambda m, x, y, dy, dx: scale(dx, 1 / m.gamma))
seed(mn.BatchNorm, [], (5,), "dgamma of x, not of xhat", lambda m, x, y, dy, dx: copy(m.dgamma, (dy * x).sum(axis=0)))
seed(mn.BatchNorm, [], (5,), "dbeta averaged", lambda m, x, y, dy, dx: scale(m.dbeta, 1 / len(x)))
seed(
    mn.BatchNorm,
    [],
    (5,),
    "running statistics in dx",
    lambda m, x, y, dy, dx: copy(dx, dy * m.gamma / np.sqrt(m.running_var)),
)


def layer_norm_over_the_batch(m, x, y, dy, dx):
    xhat, g = (x - m.mean.sum(axis=-1)[:, None]) * m.inv_std[:, None], dy * m.gamma
    copy(dx, m.inv_std[:, None] * (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)))


seed(mn.LayerNorm, [], (5,), "means over the batch", layer_norm_over_the_batch)
seed(mn.LayerNorm, [], (5,), "gamma missing in dx", lambda m, x, y, dy, dx: copy(dx, dy * m.inv_std[:, None]))
seed(mn.LayerNorm, [], (5,), "dbeta over the features", lambda m, x, y, dy, dx: copy(m.dbeta, dy.sum()))


def by_channel(m, x):
    """Mean and inv_std of (n, positions, C), one for each sample and channel."""
    each = x.shape[-1] // m.inv_std.shape[1]
    return m.mean.sum(axis=-1).repeat(each, axis=1)[:, None], m.inv_std.repeat(each, axis=1)[:, None]


def group_norm_over(axes):
    """dx with its means taken over these axes of (n, positions, groups, channels of a group)."""

    def spoil(m, x, y, dy, dx):
        centre, inv = by_channel(m, x)
        shape = (*x.shape[:2], m.inv_std.shape[1], -1)
        g, xhat = (dy * m.gamma).reshape(shape), ((x - centre) * inv).reshape(shape)
        inner = g - g.mean(axis=axes, keepdims=True) - xhat * (g * xhat).mean(axis=axes, keepdims=True)
        copy(dx, inv * inner.reshape(x.shape))

    return spoil


def other_groups_statistics(m, x, y, dy, dx):
    centre, inv = by_channel(m, x)
    each = x.shape[-1] // m.inv_std.shape[1]
    copy(m.dgamma, (dy * ((x - np.roll(centre, each, -1)) * np.roll(inv, each, -1))).sum(axis=(0, 1)))


seed(mn.GroupNorm, [2], (5, 6), "means over the channels only", group_norm_over(3))
seed(mn.GroupNorm, [2], (5, 6), "means over the positions only", group_norm_over(1))
seed(mn.GroupNorm, [2], (5, 6), "means over all groups", group_norm_over((1, 2, 3)))
seed(mn.GroupNorm, [2], (5, 6), "another group's statistics in dgamma", other_groups_statistics)
seed(mn.GroupNorm, [2], (5, 6), "dbeta of one sample", lambda m, x, y, dy, dx: copy(m.dbeta, dy[0].sum(axis=0)))
seed(mn.InstanceNorm, [], (5, 3), "means over the samples too", group_norm_over((0, 1, 3)))
seed(mn.InstanceNorm, [], (5, 3), "gamma missing in dx", lambda m, x, y, dy, dx: scale(dx, 1 / m.gamma))

# Images.
seed(mn.Conv2D, [3, 3], (4, 5, 3), "kernel not turned in dx", lambda m, x, y, dy, dx: copy(dx, dx[:, ::-1, ::-1]))
seed(mn.Conv2D, [2, 3], (4, 4, 2), "dx one pixel off", lambda m, x, y, dy, dx: copy(dx, np.roll(dx, 1, axis=1)))
seed(mn.Conv2D, [2, 3], (4, 4, 2), "dW one tap off", lambda m, x, y, dy, dx: copy(m.dW, np.roll(m.dW, 1, axis=0)))
seed(mn.Conv2D, [2, 3], (4, 4, 2), "dW of one image", lambda m, x, y, dy, dx: scale(m.dW, 1 / len(x)))
seed(mn.Conv2D, [2, 2], (4, 4, 2), "db averaged over pixels", lambda m, x, y, dy, dx: scale(m.db, 1 / 16))
seed(mn.ConvTranspose2D, [3, 3], (4, 5, 3), "window turned in dx", lambda m, x, y, dy, dx: copy(dx, dx[:, ::-1, ::-1]))
seed(
    mn.ConvTranspose2D,
    [2, 3, 2],
    (3, 3, 2),
    "window of dW turned back",
    lambda m, x, y, dy, dx: copy(m.dW, m.dW[::-1, ::-1]),
)
seed(
    mn.ConvTranspose2D,
    [4, 3],
    (3, 3, 4),
    "channels and filters of dW not exchanged",
    lambda m, x, y, dy, dx: copy(m.dW, m.d_turned[::-1, ::-1]),
)
seed(
    mn.ConvTranspose2D,
    [2, 3, 2],
    (3, 4, 2),
    "dx one pixel off",
    lambda m, x, y, dy, dx: copy(dx, np.roll(dx, 1, axis=1)),
)
seed(mn.ConvTranspose2D, [2, 3, 2], (3, 4, 2), "dW of one image", lambda m, x, y, dy, dx: scale(m.dW, 1 / len(x)))
seed(
    mn.ConvTranspose2D,
    [2, 3, 2],
    (3, 3, 2),
    "db over x's pixels only",
    lambda m, x, y, dy, dx: copy(m.db, dy[:, ::2, ::2].sum(axis=(0, 1, 2))),
)
seed(
    mn.ConvTranspose2D,
    [1, 1, 2, "valid"],
    (3, 3, 1),
    "dx of pixels that nothing reaches",
    lambda m, x, y, dy, dx: copy(dx, m.W[0, 0, 0, 0] * dy[:, 1::2, 1::2]),
)
seed(mn.MaxPool2D, [2], (4, 4, 2), "gradient to the whole window", lambda m, x, y, dy, dx: copy(dx, spread_out(dy)))
seed(mn.MaxPool2D, [2], (4, 4, 2), "off by one pixel", lambda m, x, y, dy, dx: copy(dx, np.roll(dx, 1, axis=2)))
seed(mn.AvgPool2D, [2], (4, 4, 2), "window's size forgotten", lambda m, x, y, dy, dx: scale(dx, 4))
seed(mn.AvgPool2D, [3, 2, 1], (5, 5, 1), "padding not counted", lambda m, x, y, dy, dx: scale(dx[:, 0, 0], 9 / 4))
seed(mn.GlobalAvgPool2D, [], (3, 4, 2), "sum in place of mean", lambda m, x, y, dy, dx: scale(dx, 12))
seed(mn.Upsample, [2], (2, 3, 2), "one of the copies only", lambda m, x, y, dy, dx: copy(dx, dy[:, ::2, ::2]))
seed(mn.ZeroPad, [1], (2, 3, 2), "cropped at the wrong corner", lambda m, x, y, dy, dx: copy(dx, dy[:, :-2, :-2]))

# Shapes and composites.
seed(
    mn.Flatten,
    [],
    (2, 3),
    "Fortran order",
    lambda m, x, y, dy, dx: copy(dx, dy.reshape(len(x), 3, 2).transpose(0, 2, 1)),
)
seed(mn.Reshape, [(3, 2)], (2, 3), "transposed", lambda m, x, y, dy, dx: copy(dx, dy.transpose(0, 2, 1)))
seed(mn.Residual, [[mn.Dense(4)]], (4,), "identity path forgotten", lambda m, x, y, dy, dx: copy(dx, dx - dy))
seed(mn.Residual, [[mn.Dense(4)]], (4,), "identity path twice", lambda m, x, y, dy, dx: copy(dx, dx + dy))
seed(
    mn.Residual,
    [[mn.Dense(3)]],
    (4,),
    "shortcut's dx forgotten",
    lambda m, x, y, dy, dx: copy(dx, dx - m.dx_shortcut),
    shortcut=[mn.Dense(3)],
)
seed(
    mn.Chain,
    [[mn.Dense(4), mn.Dense(4)]],
    (4,),
    "dx of the second layer",
    lambda m, x, y, dy, dx: copy(dx, m.gradients[0]),
)
