"""Kinks are seen exactly: who won, who was crossed, and what a check makes of it."""

import numpy as np
import pytest

import minnet as mn

KINKED = [
    (mn.ReLU(), (7,)),
    (mn.LeakyReLU(0.2), (7,)),
    (mn.PReLU(), (7,)),
    (mn.ELU(0.7), (7,)),
    (mn.SELU(), (7,)),
    (mn.Maxout(3), (6,)),
    (mn.MaxPool2D(2), (4, 4, 2)),
    (mn.MaxPool2D(3, stride=2, padding=1), (5, 4, 2)),
    (mn.Chain([mn.Dense(5), mn.ReLU(), mn.Dense(3)]), (4,)),
    (mn.Chain([mn.Residual([mn.Dense(4)]), mn.ReLU(), mn.Dense(3)]), (4,)),
    (mn.Residual([mn.Dense(4), mn.ReLU()]), (4,)),
    (mn.Residual([mn.Dense(4)], shortcut=[mn.Dense(4), mn.ReLU()]), (4,)),
    (mn.Chain([mn.Conv2D(3, 3), mn.ReLU(), mn.MaxPool2D(2)]), (4, 4, 1)),
]


def jump(f, t, h=1e-7):
    """How much the slope of f changes around t."""
    return abs((f(t + 2 * h) - f(t + h)) - (f(t - h) - f(t - 2 * h))) / h


@pytest.mark.parametrize(("layer", "shape"), KINKED, ids=str)
def test_winners_change_just_where_the_slope_jumps(layer, shape):
    """Along a straight line through the inputs: between two places with equal winners no slope jumps."""
    net = mn.Net([layer], shape, dtype=np.float64, seed=1)
    rng = np.random.default_rng(0)
    start, way = rng.standard_normal((2, 1, *shape))
    weights = rng.standard_normal((1, *net.output_shape))

    def f(t):
        return float((net.forward(start + t * way) * weights).sum())

    def winners(t):
        f(t)
        return net.winners().copy()

    crossings = 0
    for low in np.linspace(-2, 2, 41)[:-1]:
        high = low + 0.1
        if np.array_equal(winners(low), winners(high)):
            continue
        while high - low > 1e-12:  # the first place where they change
            middle = (low + high) / 2
            low, high = (middle, high) if np.array_equal(winners(low), winners(middle)) else (low, middle)
        crossings += 1
        # In a chain a unit may win or lose without being heard: behind it a pool has another winner.
        assert isinstance(layer, mn.Chain) or jump(f, high) > 1e-3
    assert crossings > 0
    smooth = [t for t in np.linspace(-2, 2, 57) if np.array_equal(winners(t - 1e-6), winners(t + 1e-6))]
    assert max(jump(f, t) for t in smooth) < 1e-5


@pytest.mark.parametrize("layer", [mn.Dense(3), mn.Tanh(), mn.GELU(), mn.BatchNorm(), mn.Dropout(0.5)])
def test_a_smooth_layer_has_no_winners(layer):
    net = mn.Net([layer], 4)
    net.forward(np.ones((2, 4), np.float32), training=True)
    assert net.winners() is None
    with pytest.raises(ValueError, match="winners: expected a forward pass first"):
        mn.Net([layer], 4).winners()


SCORES = np.array([[1.0, 0.5, 3.0], [0.2, 0.0, -2.0]])


@pytest.mark.parametrize(
    ("loss", "targets", "expected"),
    [
        (mn.MulticlassHinge(), [0, 1], [[1, 1, 1], [1, 1, 0]]),
        (mn.SquaredHinge(margin=0.1), [0, 1], [[1, 0, 1], [1, 1, 0]]),
        (mn.AbsoluteError(), np.zeros((2, 3)), [[1, 1, 1], [1, 0, -1]]),
        (mn.Huber(0.7), np.zeros((2, 3)), [[1, 0, 1], [0, 0, -1]]),
    ],
    ids=str,
)
def test_losses_tell_their_pieces(loss, targets, expected):
    checked = loss.check_targets(np.asarray(targets), (3,), SCORES.dtype)
    np.testing.assert_array_equal(loss.winners(SCORES, checked), expected)
    assert mn.SoftmaxCrossEntropy().winners(SCORES, np.array([0, 1])) is None


def relu_net(x):
    """x itself is the input of a ReLU that has weights of 1 behind it."""
    net = mn.Net([mn.ReLU(), mn.Dense(1, init=mn.initializers.Constant(1.0))], x.shape[1], mn.SquaredError())
    return mn.check_net(net, x, np.full((len(x), 1), -1.0))["input"]


def test_the_notes_example_of_a_kink_is_crossed_and_mended():
    """CS231n: at x = -1e-6 with h above it, the numerical gradient crosses the kink and is not 0."""
    x = np.array([[-1e-6, 1.0, -1.0]])
    tensor = relu_net(x)
    assert (tensor.verdict, tensor.crossed, tensor.excluded) == ("correct", 1, 0)
    plain, _ = mn.numerical_gradient(lambda: np.maximum(x, 0).sum(), x)
    assert plain[0, 0] > 0.4  # in truth 0


def test_at_the_kink_itself_the_side_that_backward_takes_is_judged():
    tensor = relu_net(np.array([[0.0, 1.0, -1.0]]))
    assert (tensor.verdict, tensor.crossed, tensor.excluded, tensor.checked) == ("correct", 1, 0, 3)


def test_a_mistake_at_the_kink_is_found():
    class Loose(mn.ReLU):
        def backward(self, m, x, y, dy, dx):
            np.multiply(dy, x >= 0, out=dx)  # 1 at 0, where forward's piece has 0

    net = mn.Net([Loose(), mn.Dense(1)], 3, mn.SquaredError(), dtype=np.float64)
    result = mn.check_net(net, np.array([[0.0, 1.0, -1.0]]), np.ones((1, 1)))
    assert (result["input"].verdict, result["input"].worst) == ("wrong", (0, 0))


def test_where_both_sides_are_kinks_nothing_is_judged():
    scores = np.zeros((1, 2))
    result = mn.check_loss(mn.AbsoluteError(), scores, np.zeros((1, 2)))
    assert (result.verdict, result.passed, result["scores"].excluded) == ("kink", False, 2)
    with pytest.raises(AssertionError, match=r"with fewer or other data$"):
        result.assert_passed()
    scores[0, 1] = 1.0
    result = mn.check_loss(mn.AbsoluteError(), scores, np.zeros((1, 2)))
    assert (result.verdict, result["scores"].excluded, result["scores"].checked) == ("correct", 1, 1)


def blank_borders(n):
    x = np.zeros((n, 8, 8, 1))
    x[:, 3:5, 3:5] = np.random.default_rng(0).uniform(0.1, 1, (n, 2, 2, 1))
    return x, np.arange(n) % 3


@pytest.mark.parametrize("mode", ["all", "sample", "directions"])
def test_blank_borders_are_no_mistake(mode):
    x, y = blank_borders(3)
    net = mn.Net(
        [mn.Conv2D(2, 3), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(3)], (8, 8, 1), mn.SoftmaxCrossEntropy()
    )
    result = mn.check_net(net, x, y, mode=mode)
    result.assert_passed()
    assert result.crossed > 0


def test_fewer_data_points_cross_fewer_kinks():
    rng = np.random.default_rng(0)
    net = mn.Net([mn.Dense(50), mn.ReLU(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    x, y = rng.standard_normal((200, 4)), rng.integers(0, 3, 200)
    counts = [mn.check_net(net, x[:n], y[:n], h=1e-2, inputs=False).crossed for n in (2, 20, 200)]
    assert counts[0] < counts[1] < counts[2]


def test_the_l1_penalty_has_kinks_too():
    net = mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), l1=0.1, dtype=np.float64)
    net.params[0] = 1e-7
    result = mn.check_net(net, np.ones((1, 3)), np.array([0]))
    result.assert_passed()
    assert result["0.W"].crossed == 1


def test_a_kink_of_anybodys_function_is_seen_from_its_slopes():
    def hinge(x):
        return float(np.maximum(x, 0).sum())

    x = np.array([-1.0, 0.0, 2.0])
    for at_zero in (0.0, 0.3, 1.0):  # every slope between the two sides' is one
        result = mn.check_gradient(hinge, x, np.array([0.0, at_zero, 1.0]))
        assert (result.verdict, result["x"].excluded) == ("correct", 1)
    assert mn.check_gradient(hinge, x, np.array([0.0, 1.5, 1.0])).verdict == "wrong"
    assert mn.check_gradient(hinge, x[1:2], np.zeros(1)).verdict == "kink"
