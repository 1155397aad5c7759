"""Every layer's backward pass against numerical gradients, and what a new layer gets by one row in this table."""

from dataclasses import dataclass

import numpy as np
import pytest

import minnet as mn

# (layer, shape of one sample): odd sizes, one feature, several axes.
LAYERS = [
    (mn.Dense(4), (5,)),
    (mn.Dense(1), (1,)),
    (mn.Dense(3, bias=False), (17,)),
    # Sequences (time, features): one position, one feature, one word.
    (mn.Dense(1), (1, 1)),
    (mn.Dense(4), (3, 5)),
    (mn.Dense(3, bias=False), (5, 1)),
    (mn.Embedding(1, 1), (1,)),
    (mn.Embedding(5, 3), (4,)),
    (mn.Embedding(2, 3, padding=1), (7,)),
    (mn.Embedding(3, 2), (2, 3)),
    (mn.Chain([mn.Embedding(4, 3), mn.Dense(2), mn.LayerNorm(), mn.Dropout(0.3)]), (5,)),
    # Time 1, one feature, one unit; the last state only; against time; with a layer below and above.
    (mn.RNN(1), (1, 1)),
    (mn.RNN(3), (4, 2)),
    (mn.RNN(3, relu=True, reverse=True), (5, 2)),
    (mn.LSTM(1), (1, 1)),
    (mn.LSTM(3), (4, 2)),
    (mn.LSTM(2, last=True), (5, 1)),
    (mn.GRU(1), (1, 1)),
    (mn.GRU(3), (4, 2)),
    (mn.GRU(2, last=True, reverse=True), (3, 5)),
    (mn.ChoGRU(1), (1, 1)),
    (mn.ChoGRU(3), (4, 2)),
    (mn.ChoGRU(2, last=True, reverse=True), (3, 5)),
    (mn.InitialState(mn.RNN(1), state=mn.Flatten()), (1, 1)),
    (mn.InitialState(mn.LSTM(3), state=[mn.Flatten(), mn.Dense(3)]), (4, 2)),
    (mn.InitialState(mn.GRU(2), state=[mn.Slice(0, 2)], inputs=[mn.Slice(2, 8), mn.Reshape((3, 2))]), (9,)),
    (mn.InitialState(mn.ChoGRU(2), state=mn.LSTM(2, last=True), inputs=mn.Dense(2)), (3, 2)),
    (mn.InitialState(mn.RNN(2, relu=True), [mn.Slice(0, 1), mn.Flatten(), mn.ReLU(), mn.Dense(2)]), (3, 2)),
    (mn.Bidirectional(mn.RNN(1)), (1, 1)),
    (mn.Bidirectional(mn.LSTM(2)), (3, 2)),
    (mn.Bidirectional(mn.GRU(3, last=True)), (4, 2)),
    (mn.PositionalEncoding(), (3, 5)),
    (mn.PositionalEncoding(learned=True), (4, 1)),
    (mn.SelfAttention(1), (1, 1)),
    (mn.SelfAttention(2), (5, 4)),
    (mn.SelfAttention(3, causal=True, dropout=0.4), (4, 3)),
    (mn.Residual([mn.LayerNorm(), mn.SelfAttention(2, causal=True)]), (3, 4)),
    # Time 1, one feature; a memory of another length and width; x itself as queries; a ReLU on each path; words.
    (mn.CrossAttention(1, memory=mn.Slice(0, 1)), (1, 1)),
    (mn.CrossAttention(1, memory=mn.Slice(0, 1), queries=mn.Slice(1, 3), dropout=0.2), (3, 1)),
    (mn.CrossAttention(2, memory=[mn.Slice(0, 3), mn.Dense(3)], queries=mn.Slice(3, 5), dropout=0.4), (5, 4)),
    (mn.CrossAttention(3, memory=mn.GRU(2), dropout=0.3), (4, 3)),
    (mn.CrossAttention(1, [mn.Dense(2), mn.ReLU(), mn.Dense(3)], [mn.Dense(3), mn.ReLU(), mn.Dense(1)]), (4, 2)),
    (mn.Residual(mn.CrossAttention(2, mn.Slice(0, 2), mn.Slice(2, 5)), shortcut=mn.Slice(2, 5)), (5, 4)),
    (mn.Chain([mn.Embedding(4, 4), mn.CrossAttention(2, mn.Slice(0, 3), mn.Slice(3, 5), 0.2, padding=2)]), (5,)),
    (mn.Chain([mn.Embedding(3, 2), mn.CrossAttention(1, mn.Slice(2, 4), padding=1, first=2)]), (5,)),
    (mn.Chain([mn.Embedding(9, 4), mn.SelfAttention(2, padding=5, dropout=0.2)]), (5,)),
    (mn.Chain([mn.Embedding(4, 3), mn.LSTM(3), mn.Dropout(0.3), mn.GRU(2), mn.Dense(2)]), (5,)),
    (mn.Chain([mn.Embedding(3, 2), mn.RNN(3, last=True, padding=1)]), (6,)),
    (mn.Chain([mn.Embedding(3, 2), mn.RNN(3, relu=True, reverse=True, padding=1)]), (5,)),
    (mn.Chain([mn.Embedding(3, 2), mn.LSTM(3, last=True, padding=1)]), (6,)),
    (mn.Chain([mn.Embedding(3, 2), mn.GRU(3, padding=1), mn.ChoGRU(2, last=True, padding=1)]), (5,)),
    (mn.Chain([mn.Embedding(3, 2), mn.Bidirectional(mn.LSTM(2, last=True, padding=1))]), (4,)),
    (mn.TiedEmbedding(mn.Embedding(1, 1), mn.Tanh()), (1,)),
    (mn.TiedEmbedding(mn.Embedding(5, 3), [mn.LSTM(4), mn.Dense(3)]), (4,)),
    (mn.TiedEmbedding(mn.Embedding(3, 2), [mn.SelfAttention(1), mn.ReLU(), mn.Dense(2)]), (5,)),
    (mn.PatchEmbedding(1, 1), (1, 1, 1)),
    (mn.PatchEmbedding(3, 2), (4, 6, 3)),
    (mn.PatchEmbedding(4, (3, 1)), (3, 2, 2)),
    (mn.Slice(0, 1), (1,)),
    (mn.Slice(1, 3), (5,)),
    (mn.Slice(2, 4), (4, 3)),
    (mn.ReLU(), (7,)),
    (mn.ReLU(), (3, 1, 5)),
    (mn.LeakyReLU(0.2), (7,)),
    (mn.PReLU(), (7,)),
    (mn.PReLU(), (2, 3, 5)),
    (mn.ELU(0.7), (7,)),
    (mn.SELU(), (7,)),
    (mn.GELU(), (7,)),
    (mn.GELUTanh(), (7,)),
    (mn.SiLU(), (7,)),
    (mn.Sigmoid(), (7,)),
    (mn.Tanh(), (7,)),
    (mn.Softplus(), (7,)),
    (mn.Maxout(2), (6,)),
    (mn.Maxout(3), (2, 9)),
    (mn.Dropout(0.4), (7,)),
    (mn.Dropout(0.0), (3, 5)),
    (mn.SpatialDropout(0.4), (1, 1, 1)),
    (mn.SpatialDropout(0.4), (3, 2, 17)),
    (mn.SpatialDropout(0.0), (2, 5)),
    (mn.SpatialDropout(0.6), (7,)),
    (mn.BatchNorm(), (5,)),
    (mn.BatchNorm(momentum=0.5, eps=1e-3), (2, 3, 4)),
    (mn.LayerNorm(), (5,)),
    (mn.LayerNorm(eps=1e-3), (3, 6)),
    # Images: one pixel, one channel, one filter, 17 channels, a stride beyond the kernel, borders of every kind.
    (mn.Conv2D(1, 1), (1, 1, 1)),
    (mn.Conv2D(3, 3), (5, 4, 2)),
    (mn.Conv2D(2, 3, padding="valid", bias=False), (3, 4, 17)),
    (mn.Conv2D(5, 2, stride=3), (7, 5, 1)),
    (mn.Conv2D(3, (2, 3), stride=2, padding=((2, 0), (1, 3))), (5, 6, 2)),
    (mn.Conv2D(2, 3, padding=3), (3, 3, 2)),
    (mn.Conv2D(3, 2, dilation=2, padding=1), (5, 6, 2)),
    (mn.Conv2D(6, 3, groups=3, stride=2), (5, 5, 3)),
    (mn.Conv2D(4, (3, 1), groups=4), (4, 3, 4)),
    (mn.Conv2D(34, 1), (2, 2, 3)),
    (mn.Conv2D(17, 3, groups=17, bias=False), (1, 1, 17)),
    (mn.Conv2D(1, (2, 1), stride=3, padding="valid"), (5, 1, 17)),
    (mn.Conv2D(3, 3, stride=(1, 2), dilation=(2, 1), padding=(2, 1)), (5, 6, 2)),
    (mn.Conv2D(4, (3, 2), stride=(3, 1), dilation=(1, 3), padding="same", groups=2), (4, 5, 2)),
    (mn.Conv2D(2, 3, stride=(2, 1)), (1, 4, 1)),
    (mn.ConvTranspose2D(1, 1), (1, 1, 1)),
    (mn.ConvTranspose2D(1, 3), (1, 1, 17)),
    (mn.ConvTranspose2D(3, 3), (3, 2, 2)),
    (mn.ConvTranspose2D(5, 2, stride=3), (2, 3, 1)),
    (mn.ConvTranspose2D(2, (1, 2), stride=3, padding="valid"), (2, 3, 3)),
    (mn.ConvTranspose2D(2, 3, stride=2, padding="valid", bias=False), (2, 1, 17)),
    (mn.ConvTranspose2D(17, 3, stride=2, padding=1, output_padding=1), (2, 2, 2)),
    (mn.ConvTranspose2D(3, (2, 4), stride=2, padding=((1, 0), (2, 3))), (4, 4, 2)),
    (mn.ConvTranspose2D(2, 2, padding=2), (4, 5, 1)),
    (mn.ConvTranspose2D(3, 2, stride=3, dilation=2, padding=1, output_padding=2), (2, 3, 2)),
    (mn.ConvTranspose2D(6, 3, groups=3, stride=2), (2, 3, 3)),
    (mn.ConvTranspose2D(17, (3, 1), groups=17), (2, 1, 17)),
    (mn.ConvTranspose2D(3, 3, stride=(1, 2), dilation=(2, 1), padding=(2, 1), output_padding=(0, 1)), (3, 2, 2)),
    (mn.ConvTranspose2D(4, (2, 3), stride=(3, 2), dilation=(2, 1), groups=2), (2, 3, 2)),
    (mn.ConvTranspose2D(2, 3, stride=(2, 1), padding="valid"), (2, 1, 1)),
    (mn.MaxPool2D(1), (1, 1, 1)),
    (mn.MaxPool2D(3, padding=1), (1, 1, 17)),
    (mn.MaxPool2D(2, stride=3), (5, 6, 1)),
    (mn.MaxPool2D(2), (4, 6, 3)),
    (mn.MaxPool2D(3, stride=2, padding=1), (5, 4, 2)),
    (mn.MaxPool2D(1, stride=3), (4, 1, 17)),
    (mn.MaxPool2D((2, 3)), (4, 7, 3)),
    (mn.MaxPool2D((3, 1), stride=(1, 2), padding=(1, 0)), (3, 1, 17)),
    (mn.MaxPool2D(3, stride=(2, 3), padding="same"), (5, 4, 2)),
    (mn.MaxPool2D(2, ceil_mode=True), (5, 3, 2)),
    (mn.MaxPool2D((2, 3), stride=2, padding=((1, 0), (0, 2)), ceil_mode=True), (4, 4, 1)),
    (mn.AvgPool2D(1), (1, 1, 1)),
    (mn.AvgPool2D(3, padding=1), (1, 1, 17)),
    (mn.AvgPool2D(2, stride=3), (5, 2, 17)),
    (mn.AvgPool2D(2), (4, 5, 3)),
    (mn.AvgPool2D(3, stride=1, padding=2), (4, 3, 2)),
    (mn.AvgPool2D(3, stride=2, padding=1, count_padding=False), (5, 4, 1)),
    (mn.AvgPool2D((2, 3), stride=(1, 2)), (4, 7, 3)),
    (mn.AvgPool2D(3, stride=2, padding="same", count_padding=False), (5, 4, 2)),
    (mn.AvgPool2D((3, 2), stride=2, padding=(1, 0), ceil_mode=True), (4, 5, 2)),
    (mn.AvgPool2D(3, stride=2, padding=((1, 0), (0, 2)), count_padding=False, ceil_mode=True), (4, 4, 1)),
    # Gradients spread out to just the size that they have themselves.
    (mn.Conv2D(1, 1, stride=2, padding=((0, 2), (0, 2))), (3, 3, 1)),
    (mn.Conv2D(1, 3, stride=2, padding=((2, 7), (2, 7))), (4, 4, 1)),
    (mn.ConvTranspose2D(1, 1, stride=2, padding=((0, 2), (0, 2))), (3, 3, 1)),
    (mn.GlobalAvgPool2D(), (1, 1, 1)),
    (mn.GlobalAvgPool2D(), (3, 4, 17)),
    (mn.Upsample(1), (1, 1, 1)),
    (mn.Upsample(3), (2, 3, 2)),
    (mn.Upsample(2), (1, 3, 17)),
    (mn.ZeroPad(0), (1, 1, 1)),
    (mn.ZeroPad(2), (1, 1, 17)),
    (mn.ZeroPad(((1, 0), (0, 2))), (2, 3, 1)),
    (mn.BatchNorm(), (1, 1, 1)),
    (mn.BatchNorm(), (3, 4, 1)),
    (mn.BatchNorm(), (2, 3, 17)),
    (mn.Residual([mn.Conv2D(1, 3)], shortcut=[mn.Conv2D(1, 1)]), (1, 1, 1)),
    (mn.Residual([mn.Conv2D(3, 3, stride=3)], shortcut=[mn.Conv2D(3, 1, stride=3, bias=False)]), (4, 2, 3)),
    (mn.BatchNorm(), (3, 4, 2)),
    (mn.BatchNorm(), (1, 1, 17)),
    (mn.GroupNorm(1), (1,)),
    (mn.GroupNorm(3), (6,)),
    (mn.GroupNorm(1), (1, 1, 3)),
    (mn.GroupNorm(2, eps=1e-3), (3, 5, 4)),
    (mn.GroupNorm(1), (2, 2, 17)),
    (mn.GroupNorm(17), (2, 3, 17)),
    (mn.InstanceNorm(), (1, 1, 3)),
    (mn.InstanceNorm(eps=1e-3), (5, 4, 1)),
    (mn.InstanceNorm(), (7, 2)),
    (mn.Residual([mn.Conv2D(4, 3, stride=2), mn.BatchNorm()], shortcut=[mn.Conv2D(4, 1, stride=2)]), (4, 3, 2)),
    (mn.Flatten(), (2, 3, 5)),
    (mn.Reshape((5, 2)), (10,)),
    (mn.Chain([mn.Dense(6), mn.Tanh(), mn.Dense(3)]), (4,)),
    (mn.Chain([mn.Flatten(), mn.ReLU(), mn.Dense(3)]), (2, 2)),
    (mn.Residual([mn.Dense(5), mn.Tanh(), mn.Dense(5)]), (5,)),
    (mn.Residual([mn.Sigmoid()]), (5,)),
    (mn.Residual([mn.Dense(3), mn.BatchNorm()], shortcut=[mn.Dense(3, bias=False)]), (5,)),
    (mn.Residual(mn.Residual([mn.Dense(4), mn.Dropout(0.3)])), (4,)),
]
IDS = [f"{layer}-{shape}" for layer, shape in LAYERS]


@pytest.mark.parametrize("case", mn.layer_cases(LAYERS, batches=(1, 3), training=[True]), ids=str)
def test_backward_equals_the_numerical_gradient(case):
    case.check().assert_passed()


def passes(layer, shape, batch, training):
    """Output and gradients of one pass, in one array."""
    net = mn.Net([layer], shape, dtype=np.float64)
    rng = np.random.default_rng(5)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    x = some_input(net, rng, batch)
    scores, dx = net.forward(x, training).copy(), None if net.vocabulary else np.empty_like(x)
    net.backward(rng.standard_normal(scores.shape), dx)
    return np.concatenate([scores.reshape(-1), net.grads, [] if dx is None else dx.reshape(-1)])


def some_input(net, rng, batch):
    """Words for a net that takes words, normal numbers for any other."""
    return net.random_words(rng, batch) if net.vocabulary else rng.standard_normal((batch, *net.input_shape))


@pytest.mark.parametrize("case", mn.layer_cases(LAYERS, batches=(1, 3), training=[False]), ids=str)
def test_backward_of_a_pass_that_does_not_train_equals_the_numerical_gradient(case):
    """Most layers compute the same in both kinds of pass: then the test above is that of this one too."""
    statistics = case.layer.plan(case.input_shape).least_batch() > case.batch  # which one sample has not
    if statistics or not np.array_equal(*(passes(case.layer, case.input_shape, case.batch, t) for t in (False, True))):
        case.check().assert_passed()


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=IDS)
def test_backward_in_float32_follows_float64(layer, shape):
    gradients = {}
    rng = np.random.default_rng(3)
    x = cotangent = None
    for dtype in (np.float64, np.float32):
        net = mn.Net([layer], shape, dtype=dtype)
        x = some_input(net, rng, 4) if x is None else x
        scores = net.forward(x.astype(net.input_dtype), training=True)
        if cotangent is None:
            cotangent = rng.standard_normal(scores.shape)
        dx = None if net.vocabulary else np.empty(x.shape, dtype)
        net.backward(cotangent.astype(dtype), dx)
        gradients[dtype] = np.concatenate([net.grads, [] if dx is None else dx.reshape(-1)])
    exact = gradients[np.float64]
    # Sums of at most some dozens of terms: 100 roundings, relative to the largest gradient.
    bound = 100 * np.finfo(np.float32).eps * max(1.0, np.abs(exact).max())
    np.testing.assert_allclose(gradients[np.float32], exact, rtol=0, atol=bound)


@pytest.mark.parametrize(
    "layer", [mn.Sigmoid(), mn.Tanh(), mn.Softplus(), mn.SiLU(), mn.GELU(), mn.GELUTanh(), mn.ELU()]
)
def test_activations_survive_extreme_inputs(layer):
    x = np.array([[-1000.0, -88.0, 0.0, 88.0, 1000.0]], np.float32)
    net = mn.Net([layer], 5)
    dx = np.empty_like(x)
    with np.errstate(all="raise"):
        y = net.forward(x).copy()
        net.backward(np.ones_like(y), dx)
    low = -1.0 if isinstance(layer, mn.ELU | mn.Tanh) else 0.0
    high = 1.0 if isinstance(layer, mn.Sigmoid | mn.Tanh) else 1000.0
    assert y[0, 0] == pytest.approx(low, abs=1e-6)
    assert y[0, -1] == pytest.approx(high)
    # Saturated on the left; on the right saturated too, or a straight line.
    assert dx[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert dx[0, -1] == pytest.approx(0.0 if high == 1.0 else 1.0, abs=1e-6)


def test_a_layer_of_ones_own_is_checked_like_any_other():
    @dataclass(frozen=True)
    class Scale(mn.Layer):
        def plan(self, in_shape):
            return mn.Plan(in_shape, (mn.Param("g", in_shape, mn.initializers.Constant(1.0), decay=False),))

        def forward(self, m, x, y):
            np.multiply(x, m.g, out=y)

        def backward(self, m, x, y, dy, dx):
            np.einsum("ni,ni->i", x, dy, out=m.dg)
            if dx is not None:
                np.multiply(dy, m.g, out=dx)

    mn.check_layer(Scale(), (5,)).assert_passed()


def test_dropout_keeps_the_expected_value_and_is_silent_in_evaluation():
    net = mn.Net([mn.Dropout(0.25)], 10_000)
    x = np.ones((4, 10_000), np.float32)
    np.testing.assert_array_equal(net.forward(x), x)
    y = net.forward(x, training=True).copy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    # 40000 draws of variance 0.25 / 0.75: five standard errors.
    assert abs(y.mean() - 1) < 5 * np.sqrt(0.25 / 0.75 / y.size)
    np.testing.assert_array_equal(net.forward(x, training=True), y)  # the step has not moved on
    net.step += 1
    assert (net.forward(x, training=True) != y).any()


def test_two_dropout_layers_draw_different_noise():
    net = mn.Net([mn.Dropout(0.5), mn.Dropout(0.5)], 1000)
    x = np.ones((1, 1000), np.float32)
    kept = np.count_nonzero(net.forward(x, training=True))
    # One noise for both would keep a half; independent noise keeps a quarter: 250, five standard errors.
    assert abs(kept - 250) < 5 * np.sqrt(1000 * 0.25 * 0.75)


def test_spatial_dropout_drops_whole_channels_of_a_sample_and_keeps_the_expected_value():
    net = mn.Net([mn.SpatialDropout(0.25)], (3, 2, 500))
    x = np.random.default_rng(0).uniform(1, 2, (20, 3, 2, 500)).astype(np.float32)
    np.testing.assert_array_equal(net.forward(x), x)
    factors = (net.forward(x, training=True) / x).reshape(20, 6, 500)
    np.testing.assert_allclose(factors - factors[:, :1], 0, atol=1e-6)
    kept = factors[:, 0] > 0
    np.testing.assert_allclose(factors[:, 0][kept], 1 / 0.75, rtol=1e-6)
    # 10000 draws of variance 0.25 * 0.75: five standard errors. Each sample and channel draws for itself.
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / kept.size)
    for first, second in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1])):
        both = (first & second).mean()
        assert abs(both - 0.75**2) < 5 * np.sqrt(0.75**2 * (1 - 0.75**2) / first.size)
    net.step += 1
    assert (net.forward(x, training=True) / x > 0).reshape(20, 6, 500)[:, 0].tolist() != kept.tolist()


def test_spatial_dropout_of_plain_features_is_dropout():
    x = np.random.default_rng(0).standard_normal((9, 33)).astype(np.float32)
    single, whole = (
        mn.Net([layer], 33).forward(x, training=True) for layer in (mn.Dropout(0.3), mn.SpatialDropout(0.3))
    )
    np.testing.assert_array_equal(single, whole)


def test_batch_norm_evaluates_with_running_statistics():
    rng = np.random.default_rng(0)
    net = mn.Net([mn.BatchNorm(momentum=0.5)], 3, dtype=np.float64)
    x = rng.normal(2.0, 3.0, (50, 3))
    for _ in range(60):  # 0.5^60 of the starting statistics is below round-off
        net.forward(x, training=True)
    buffers = net.named_buffers()
    np.testing.assert_allclose(buffers["0.running_mean"], x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(buffers["0.running_var"], x.var(axis=0), rtol=1e-12)
    np.testing.assert_allclose(net.forward(x), (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5), atol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mn.Dense(0), "Dense: expected units of at least 1; got 0"),
        (lambda: mn.Dense(2.5), "Dense: expected units to be a whole number; got 2.5"),
        (lambda: mn.Embedding(0, 3), "Embedding: expected vocabulary of at least 1; got 0"),
        (lambda: mn.Embedding(3, 2.5), "Embedding: expected width to be a whole number; got 2.5"),
        (lambda: mn.Embedding(3, 2, padding=3), "Embedding: expected padding from 0 to 2; got 3"),
        (lambda: mn.Embedding(3, 2, padding=-1), "Embedding: expected padding of at least 0; got -1"),
        (
            lambda: mn.TiedEmbedding(mn.Embedding(3, 2, padding=0), mn.Tanh()),
            "TiedEmbedding: expected an Embedding with padding=None; got Embedding",
        ),
        (
            lambda: mn.Net([mn.TiedEmbedding(mn.Embedding(3, 2), mn.Dense(3))], 4),
            r"TiedEmbedding 0: expected layers to end in shape \(4, 2\), that of the words; got \(4, 3\)",
        ),
        (lambda: mn.PatchEmbedding(0, 2), "PatchEmbedding: expected width of at least 1; got 0"),
        (lambda: mn.PatchEmbedding(3, 0), "PatchEmbedding: expected patch"),
        (
            lambda: mn.Net([mn.PatchEmbedding(3, 2)], (4, 5, 1)),
            r"PatchEmbedding 0: expected images whose size is a multiple of patch=2; got shape \(4, 5, 1\)",
        ),
        (
            lambda: mn.Net([mn.PatchEmbedding(3, 2)], (4, 4)),
            r"PatchEmbedding 0: expected images \(H, W, C\); got input shape \(4, 4\)",
        ),
        (lambda: mn.Embedding(3, 2, init=0.1), "Embedding: expected init to be an initializer such as .*; got 0.1"),
        (lambda: mn.Dropout(1.0), "^Dropout: expected 0 <= rate < 1; got 1.0"),
        (lambda: mn.SpatialDropout(-0.1), "SpatialDropout: expected 0 <= rate < 1; got -0.1"),
        (lambda: mn.Conv2D(0, 3), "Conv2D: expected filters of at least 1; got 0"),
        (lambda: mn.Conv2D(4, (3, 3, 3)), r"Conv2D: expected kernel as one number or two; got \(3, 3, 3\)"),
        (lambda: mn.Conv2D(4, 3, padding="full"), 'Conv2D: expected padding as "same", "valid" .*; got \'full\''),
        (
            lambda: mn.Conv2D(4, 3, padding=None),
            'Conv2D: expected padding as "same", "valid" .* a number, .* or .*; got None',
        ),
        (
            lambda: mn.Conv2D(4, 3, padding=(1, 1, 1)),
            r"expected padding as .*\(\(top, bottom\), \(left, right\)\); got \(1, 1, 1\)",
        ),
        (
            lambda: mn.ZeroPad("same"),
            r"^ZeroPad: expected padding as a number, \(rows, columns\) or \(\(top, .*; got 'same'",
        ),
        (
            lambda: mn.ZeroPad(None),
            r"^ZeroPad: expected padding as a number, \(rows, columns\) or \(\(top, .*; got None",
        ),
        (
            lambda: mn.MaxPool2D(2, padding=None),
            'MaxPool2D: expected padding as "same", "valid" .* a number.*; got None',
        ),
        (lambda: mn.AvgPool2D(3, padding="full"), 'AvgPool2D: expected padding as "same", "valid" .*; got \'full\''),
        (lambda: mn.MaxPool2D((2, 3, 2)), r"MaxPool2D: expected size as one number or two; got \(2, 3, 2\)"),
        (lambda: mn.MaxPool2D((2, 0)), "MaxPool2D: expected size of at least 1; got 0"),
        (lambda: mn.AvgPool2D(2, stride=(1, 1.5)), "AvgPool2D: expected stride to be a whole number; got 1.5"),
        (
            lambda: mn.MaxPool2D((3, 2), padding=(1, 2)),
            r"MaxPool2D: expected padding below size=\(3, 2\); got \(1, 2\)",
        ),
        (lambda: mn.AvgPool2D(2, padding=((0, 2), (0, 0))), r"AvgPool2D: expected padding below size=\(2, 2\)"),
        (lambda: mn.MaxPool2D(2, ceil_mode=1), "MaxPool2D: expected ceil_mode to be True or False; got 1"),
        (lambda: mn.Conv2D(4, 3, stride=(1, 0)), "Conv2D: expected stride of at least 1; got 0"),
        (
            lambda: mn.Conv2D(4, 3, dilation=(1, 2, 3)),
            r"Conv2D: expected dilation as one number or two; got \(1, 2, 3\)",
        ),
        (lambda: mn.Conv2D(4, 3, padding=(1, -1)), "Conv2D: expected each padding of at least 0; got -1"),
        (lambda: mn.Conv2D(4, 3, padding=(1, "same")), 'Conv2D: expected padding as "same"'),
        (
            lambda: mn.ConvTranspose2D(4, 3, stride=(2, 1), output_padding=1),
            r"ConvTranspose2D: expected output_padding below stride=\(2, 1\); got \(1, 1\)",
        ),
        (lambda: mn.Conv2D(4, 3, init=mn.initializers.HeNormal), "Conv2D: expected init to be an initializer"),
        (lambda: mn.Conv2D(4, 3, groups=3), "Conv2D: expected filters divisible by groups=3; got 4"),
        (
            lambda: mn.Net([mn.Conv2D(4, 3, groups=2)], (5, 5, 3)),
            r"Conv2D 0: expected channels divisible by groups=2; got input shape \(5, 5, 3\)",
        ),
        (lambda: mn.ConvTranspose2D(4, 0), "ConvTranspose2D: expected kernel of at least 1; got 0"),
        (lambda: mn.ConvTranspose2D(4, 3, padding=-1), "ConvTranspose2D: expected padding of at least 0; got -1"),
        (
            lambda: mn.ConvTranspose2D(4, 3, stride=2, padding=1, output_padding=2),
            r"ConvTranspose2D: expected output_padding below stride=\(2, 2\); got \(2, 2\)",
        ),
        (
            lambda: mn.ConvTranspose2D(4, 3, stride=2, output_padding=1),
            r"ConvTranspose2D: expected output_padding=0 with padding 'same', which fixes .* size; got \(1, 1\)",
        ),
        (
            lambda: mn.Net([mn.ConvTranspose2D(4, 3, groups=2)], (5, 5, 3)),
            "ConvTranspose2D 0: expected channels divisible by groups=2; got input shape",
        ),
        (
            lambda: mn.Net([mn.ConvTranspose2D(4, 3)], 75),
            r"ConvTranspose2D 0: expected channels-last images \(H, W, C\); got input shape \(75,\)",
        ),
        (
            lambda: mn.Net([mn.ConvTranspose2D(4, 3, stride=2, padding=2)], (1, 5, 3)),
            r"ConvTranspose2D 0: expected padding to leave something of the output; got \(-1, 7\) from \(1, 5, 3\)",
        ),
        (lambda: mn.BatchNorm(momentum=1.1), "BatchNorm: expected 0 <= momentum <= 1; got 1.1"),
        (lambda: mn.LayerNorm(eps=0.0), "LayerNorm: expected eps above 0; got 0.0"),
        (lambda: mn.GroupNorm(0), "GroupNorm: expected groups of at least 1; got 0"),
        (lambda: mn.GroupNorm(2, eps=-1.0), "GroupNorm: expected eps above 0; got -1.0"),
        (lambda: mn.InstanceNorm(eps=0.0), "InstanceNorm: expected eps above 0; got 0.0"),
        (
            lambda: mn.Net([mn.GroupNorm(4)], (8, 8, 6)),
            r"GroupNorm 0: expected channels divisible by groups=4; got input shape \(8, 8, 6\)",
        ),
        (lambda: mn.LeakyReLU(float("nan")), "LeakyReLU: expected slope to be finite; got nan"),
        (lambda: mn.Chain([]), "Chain: expected at least one layer"),
        (
            lambda: mn.Net([mn.Dense(3)], (8, 8, 1)),
            r"Dense 0: expected one axis of features, or \(time, features\); got input shape \(8, 8, 1\)",
        ),
        (lambda: mn.Net([mn.Maxout(2)], 5), r"Maxout 0: expected a last axis divisible by pieces=2"),
        (lambda: mn.Net([mn.Reshape((4,))], 5), r"Reshape 0: expected 4 elements for shape \(4,\); got 5"),
        (
            lambda: mn.Net([mn.Dense(3), mn.Residual([mn.Dense(4)])], 5),
            "Residual 1: expected both paths to end in one shape",
        ),
        (
            lambda: mn.Net([mn.Residual([mn.Flatten(), mn.Chain([mn.Dense(3), mn.Reshape((7,))])])], 5),
            "Residual 0: Chain layers: Chain 1: Reshape 1: expected 7 elements",
        ),
        (
            lambda: mn.Residual(mn.Dense(3), mn.ReLU()),
            r"Residual: expected at most 1 arguments without a name; got 1 more",
        ),
        (lambda: mn.Residual(3), "Residual: expected layers as a layer or a list of layers; got 3"),
        (
            lambda: mn.Residual([mn.Dense(3)], shortcut=True),
            "expected shortcut as a layer or a list of layers; got True",
        ),
        (lambda: mn.Net([[mn.Dense(3)], mn.ReLU()], 5), r"layer 0: expected a Layer; got \[Dense.* one list, .* Chain"),
    ],
)
def test_bad_layers_are_refused_where_they_are_made(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("pool", [mn.MaxPool2D, mn.AvgPool2D])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_pool_of_odd_size_padded_by_half_of_it_has_the_outputs_of_same(pool, size, stride):
    """What the error for padding="same" advises."""
    for length in range(1, 9):
        plan = pool(size, stride, padding=size // 2).plan((length, 9, 2))
        assert plan.out == (-(-length // stride), -(-9 // stride), 2)


def test_a_class_in_place_of_a_layer_is_named():
    with pytest.raises(TypeError, match=r"layer 0: expected a Layer; got .*ReLU.*give an instance"):
        mn.Net([mn.ReLU], 5)


def test_a_subclass_of_relu_is_run_and_one_of_dense_is_not_asked_to_floor():
    class ReLU6(mn.ReLU):
        def forward(self, m, x, y):
            np.clip(x, 0, 6, out=y)

    class Negative(mn.Dense):
        def forward(self, m, x, y):
            y.fill(-1)

    x = 100 * np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    assert mn.Net([mn.Dense(5), ReLU6(), mn.Dropout(0)], 3).forward(x).max() == 6
    assert mn.Net([Negative(5), mn.ReLU(), mn.Dropout(0)], 3).forward(x).max() == 0
