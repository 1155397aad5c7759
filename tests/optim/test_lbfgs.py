"""L-BFGS: directions, convergence, and searches that find nothing."""

import itertools
import tracemalloc

import numpy as np
import pytest
from tensor_forms import both_dtypes, convex_problem, lbfgs_path, rosenbrock, soft_plus

import minnet as mn
from minnet.kernels.updates.lines import inner
from minnet.kernels.updates.partials import flat_parts
from minnet.schedules import Linear

# L-BFGS ------------------------------------------------------------------------------------------------------


def dense_inverse_hessian(pairs):
    """Nocedal and Wright, eq. 7.16 to 7.20: the matrix itself, from pairs (s, y), oldest first."""
    s, y = pairs[-1]
    H = s @ y / (y @ y) * np.eye(s.size)
    for s, y in pairs:
        rho = 1 / (y @ s)
        V = np.eye(s.size) - rho * np.outer(y, s)
        H = V.T @ H @ V + rho * np.outer(s, s)
    return H


def test_each_lbfgs_step_is_the_books_direction_and_meets_the_strong_wolfe_conditions():
    A, c, start = convex_problem()
    hilly = np.tile([-1.2, 1.0, 0.3, 2.0], 3)
    for function, first, history in ((lambda p: soft_plus(p, A, c), start, 4), (rosenbrock, hilly, 10)):
        path, _ = lbfgs_path(mn.LBFGS(history=history), function, first, 25)
        pairs = []
        for (p, loss, g), (after, loss_after, g_after) in itertools.pairwise(path):
            s, y = after - p, g_after - g
            d = -dense_inverse_hessian(pairs[-history:]) @ g if pairs else -g
            t = s @ d / (d @ d)
            np.testing.assert_allclose(s, t * d, rtol=0, atol=1e-8 * np.abs(s).max())
            assert loss_after <= loss + 1e-4 * t * (g @ d)
            assert abs(g_after @ d) <= 0.9 * abs(g @ d)
            pairs.append((s, y))


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-8), (np.float32, 1e-3)])
def test_lbfgs_minimises_rosenbrock_in_few_evaluations(dtype, bound):
    params, grads, calls = np.array([-1.2, 1.0], dtype), np.empty(2, dtype), 0

    def evaluate():
        nonlocal calls
        calls += 1
        value, grads[:] = rosenbrock(params)
        return value

    optimizer = mn.Optimizer.over(params, grads, mn.LBFGS())
    loss = evaluate()
    while np.linalg.norm(grads) > bound and calls < 200:
        optimizer.step(1.0, loss=loss, evaluate=evaluate)
        loss = evaluate()
    assert np.linalg.norm(grads) <= bound
    assert calls - optimizer.steps < 60  # 46 here; one more a step belongs to this loop, which forgets the last value
    assert optimizer.numbers[0, 3] == calls - 1 - optimizer.steps
    np.testing.assert_allclose(params, 1, atol=10 * bound)


def digits_net(dtype=np.float64, samples=None):
    x, y = (part[:samples] for part in mn.datasets.digits())
    x = x.reshape(len(x), -1).astype(dtype)
    net = mn.Net([mn.Dense(10, mn.initializers.Zeros())], 64, mn.SoftmaxCrossEntropy(), l2=1e-2, dtype=dtype)
    return net, x, y


def newton(x, y, l2, steps=8):
    """Minimum of the mean softmax loss + l2 / 2 * |W|^2 by Newton's method with the full Hessian: loss and scores."""
    n, classes = len(x), 10
    features = np.hstack([x, np.ones((n, 1))])
    B, target = np.zeros((features.shape[1], classes)), np.eye(classes)[y]
    penalty = np.repeat(np.r_[np.full(x.shape[1], l2), 0.0], classes)
    together = np.repeat(np.r_[np.zeros(x.shape[1]), 1.0], classes)  # all biases: the loss is flat that way
    for _ in range(steps):
        z = features @ B
        P = np.exp(z - z.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        g = (features.T @ (P - target) / n).reshape(-1) + penalty * B.reshape(-1)
        curvature = np.einsum("ni,nj->nij", P, -P)
        curvature[:, range(classes), range(classes)] += P
        H = np.einsum("na,nb,nij->aibj", features, features, curvature, optimize=True).reshape(g.size, g.size) / n
        B -= np.linalg.solve(H + np.diag(penalty) + np.outer(together, together), g).reshape(B.shape)
    z = features @ B
    loss = np.mean(np.log(np.exp(z).sum(axis=1)) - z[range(n), y]) + 0.5 * penalty @ B.reshape(-1) ** 2
    return loss, z - z.mean(axis=1, keepdims=True), np.abs(g).max()


def test_lbfgs_finds_the_minimum_of_full_batch_logistic_regression():
    net, x, y = digits_net(samples=400)
    start = net.loss_and_grads(x, y)
    history = mn.fit(net, (x, y), rule=mn.LBFGS(), lr=1.0, batch_size=len(x), steps=120, progress=False)
    assert net.loss_and_grads(x, y) < start / 2
    assert np.abs(net.grads).max() < 1e-6
    assert np.all(np.diff(history.steps["loss"]) <= 1e-14)
    loss, scores, slope = newton(x, y, 1e-2)
    assert slope < 1e-10  # the reference is at its minimum
    assert net.loss_and_grads(x, y) == pytest.approx(loss, rel=1e-10)
    ours = net.predict(x)
    np.testing.assert_allclose(ours - ours.mean(axis=1, keepdims=True), scores, atol=1e-3)


def test_lbfgs_needs_about_as_many_evaluations_as_scipys():
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed: no comparison with it")
    net, x, y = digits_net()
    options = {"maxcor": 10, "gtol": 1e-6, "ftol": 0, "maxiter": 500}

    def function(p):
        net.params = p
        return net.loss_and_grads(x, y), net.grads.copy()

    theirs = optimize.minimize(function, np.zeros(net.params.size), jac=True, method="L-BFGS-B", options=options)
    net.params = np.zeros(net.params.size)
    optimizer, loss = mn.Optimizer(net, mn.LBFGS()), net.loss_and_grads(x, y)
    while np.abs(net.grads).max() > 1e-6 and optimizer.steps < 500:
        optimizer.step(1.0, loss=loss, evaluate=lambda: net.loss_and_grads(x, y))
        loss = net.loss_and_grads(x, y)
    assert loss == pytest.approx(theirs.fun, rel=1e-9)
    assert optimizer.numbers[0, 3] < 1.3 * theirs.nfev  # 115 and 109


def test_a_pair_without_positive_curvature_is_left_out():
    # One evaluation a search ends at a step that decreases enough where -cos is still concave.
    path, optimizer = lbfgs_path(
        mn.LBFGS(evaluations=1), lambda p: (float(-np.cos(p).sum()), np.sin(p)), np.full(3, 3.0), 1
    )
    (first, _, g), (second, _, g_after) = path
    assert np.abs(second - first).max() > 0.05
    assert (second - first) @ (g_after - g) < 0
    assert optimizer.numbers[0, 0] == 0
    path, optimizer = lbfgs_path(mn.LBFGS(evaluations=1), lambda p: (float(p @ p), 2 * p), np.full(3, 3.0), 1)
    assert optimizer.numbers[0, 0] == 1


def regression(scale, noise, dtype):
    """Least squares on features in some unit, and what the loss is at best."""
    rng = np.random.default_rng(0)
    X = (scale * rng.standard_normal((50, 5))).astype(dtype)
    target = (X @ (rng.standard_normal(5) / scale) + noise * rng.standard_normal(50)).astype(dtype)

    def function(p):
        residual = X @ p - target
        return float(0.5 * np.mean(residual * residual)), X.T @ residual / dtype(50)

    wide, aim = X.astype(np.float64), target.astype(np.float64)
    best = np.linalg.lstsq(wide / scale, aim, rcond=None)[0] / scale
    return function, 0.5 * np.mean((wide @ best - aim) ** 2)


@both_dtypes
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e2, 1e5, 1e8])
def test_the_units_of_the_parameters_do_not_matter_to_lbfgs(scale, dtype):
    function, best = regression(scale, 0.5, dtype)
    path, optimizer = lbfgs_path(mn.LBFGS(), function, np.zeros(5), 12, dtype)
    assert path[-1][1] == pytest.approx(best, rel=1e-5 if dtype is np.float32 else 1e-9)
    assert optimizer.numbers[0, 3] < 120
    seen = [lbfgs_path(mn.LBFGS(), function, np.zeros(5), steps, dtype)[1].numbers[0, 0] for steps in (1, 3)]
    assert seen == [1, 3]


@both_dtypes
@pytest.mark.parametrize("factor", [1e-15, 1e-6, 1e6, 1e12])
def test_the_unit_of_the_loss_does_not_matter_to_lbfgs(factor, dtype):
    function, best = regression(1.0, 0.5, dtype)

    def scaled(p):
        value, gradient = function(p)
        return factor * value, dtype(factor) * gradient

    path, _ = lbfgs_path(mn.LBFGS(), scaled, np.zeros(5), 15, dtype)
    assert path[-1][1] / factor == pytest.approx(best, rel=1e-5 if dtype is np.float32 else 1e-9)


@both_dtypes
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e2, 1e6])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_after_convergence_lbfgs_counts_stalls_and_takes_no_evaluations(noise, scale, dtype):
    function, _ = regression(scale, noise, dtype)
    path, optimizer = lbfgs_path(mn.LBFGS(), function, np.zeros(5), 60, dtype)
    stalls, evaluations = optimizer.numbers[0, 2:4]
    if np.abs(path[-1][2]).max() == 0:
        return  # the minimum itself, which needs no search
    assert stalls >= 10
    assert evaluations < 250
    for _, _, grads in path[-10:]:
        np.testing.assert_array_equal(grads, path[-1][2])


def test_a_search_is_made_again_where_the_function_has_changed():
    params, grads, signs = np.ones(3), np.empty(3), [-1.0]

    def evaluate():
        grads[:] = 2 * signs[0] * params
        return float(params @ params)

    optimizer = mn.Optimizer.over(params, grads, mn.LBFGS(evaluations=5))
    for _ in range(3):
        optimizer.step(1.0, loss=evaluate(), evaluate=evaluate)  # the gradient points the wrong way
    assert optimizer.numbers[0, 2:4].tolist() == [3, 5]
    signs[0] = 1.0
    optimizer.step(1.0, loss=evaluate(), evaluate=evaluate)
    assert optimizer.numbers[0, 2] == 0
    assert np.abs(params).max() < 1


def test_a_search_that_finds_no_lower_point_leaves_all_as_it_was_and_counts():
    start = np.array([1.0, -2.0])
    path, optimizer = lbfgs_path(mn.LBFGS(evaluations=5), lambda p: (float(p @ p), -2 * p), start, 3)
    for point, _, grads in path:
        np.testing.assert_array_equal(point, start)
        np.testing.assert_array_equal(grads, -2 * start)
    assert optimizer.numbers[0, :4].tolist() == [0, 0, 3, 5]  # one search: from the same point it would end the same


def test_a_direction_that_leads_nowhere_is_given_up_for_the_gradient():
    A, c, start = convex_problem()
    params, grads = start.copy(), np.empty(start.size)

    def evaluate():
        value, grads[:] = soft_plus(params, A, c)
        return value

    optimizer = mn.Optimizer.over(params, grads, mn.LBFGS())
    for _ in range(5):
        optimizer.step(1.0, loss=evaluate(), evaluate=evaluate)
    assert optimizer.numbers[0, 0] == 5
    optimizer.numbers[0, 4:] *= -1  # the pairs now say that all curvature is negative: d ascends
    before, loss = params.copy(), evaluate()
    g = grads.copy()
    optimizer.step(1.0, loss=loss, evaluate=evaluate)
    step = params - before
    np.testing.assert_allclose(step / np.linalg.norm(step), -g / np.linalg.norm(g), atol=1e-12)
    assert evaluate() < loss
    assert optimizer.numbers[0, 0] == 1


def test_a_trial_point_that_is_not_finite_is_a_step_too_long():
    def barrier(p):
        with np.errstate(invalid="ignore", divide="ignore"):
            return float((p - np.log(p)).sum()), 1 - 1 / p  # NaN from 0 down

    path, _ = lbfgs_path(mn.LBFGS(), barrier, np.array([1e-3, 50.0, 3.0]), 30, lr=1e4)
    np.testing.assert_allclose(path[-1][0], 1, atol=1e-7)


def test_at_the_minimum_lbfgs_stays_without_a_search():
    path, optimizer = lbfgs_path(mn.LBFGS(), lambda p: (0.0, np.zeros(3)), np.ones(3), 2)
    np.testing.assert_array_equal(path[-1][0], np.ones(3))
    assert optimizer.numbers[0, 3] == 0


def test_a_loss_or_gradient_that_is_not_finite_is_an_error():
    for loss, slope in ((np.nan, 1.0), (1.0, np.inf), (1.0, np.nan)):
        params, grads = np.ones(2), np.full(2, slope)
        optimizer = mn.Optimizer.over(params, grads, mn.LBFGS())
        with pytest.raises(FloatingPointError, match=r"^LBFGS: expected a finite loss and gradient; got"):
            optimizer.step(1.0, loss=loss, evaluate=lambda: 0.0)
        np.testing.assert_array_equal(params, np.ones(2))


def test_a_new_step_replaces_the_oldest_pair():
    A, c, start = convex_problem()
    path, optimizer = lbfgs_path(mn.LBFGS(history=2), lambda p: soft_plus(p, A, c), start, 5)
    state = optimizer.named_state()
    assert list(state) == ["start", "gradient", "direction", "s0", "y0", "s1", "y1"]
    assert optimizer.numbers[0, 0] == 2
    (p3, _, g3), (p4, _, g4), (p5, _, g5) = path[3:]
    np.testing.assert_allclose(state["s1"], p5 - p4, atol=1e-14)
    np.testing.assert_array_equal(state["y1"], g5 - g4)
    np.testing.assert_allclose(state["s0"], p4 - p3, atol=1e-14)
    np.testing.assert_array_equal(state["y0"], g4 - g3)


def lbfgs_net(**options):
    layers = [mn.Dense(12), mn.Tanh(), mn.Dropout(0.2), mn.Dense(3)]
    net = mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), l2=1e-3, dtype=np.float64, seed=0)
    x, y = mn.datasets.iris()
    return net, mn.fit(net, (x, y), rule=mn.LBFGS(), lr=1.0, progress=False, **{"batch_size": 150, **options})


def test_lbfgs_trains_a_net_to_the_same_bits_with_dropout_the_same_within_a_step():
    first, history = lbfgs_net(steps=15)
    second, _ = lbfgs_net(steps=15)
    np.testing.assert_array_equal(first.params, second.params)
    assert first.step == 15  # evaluations inside a step are no training steps
    assert history.steps["loss"][-1] < 0.5 * history.steps["loss"][0]


def test_the_trainer_refuses_lbfgs_less_than_all_data():
    with pytest.raises(
        ValueError, match=r"^Trainer: expected all 150 samples in a batch and no augmentation for LBFGS"
    ):
        lbfgs_net(epochs=1, batch_size=75)
    net = mn.Net([mn.Flatten(), mn.Dense(2)], (4, 4, 1), mn.SoftmaxCrossEntropy())
    data = (np.zeros((6, 4, 4, 1), np.float32), np.arange(6) % 2)
    with pytest.raises(ValueError, match=r"augmentation for LBFGS.*augment=Augment"):
        mn.Trainer(net, data, rule=mn.LBFGS(), lr=1.0, batch_size=6, epochs=1, augment=mn.data.Augment(flip=True))


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.1},
        {"clip_norm": 1.0},
        {"groups": [mn.Group(lambda tensor: tensor.name == "a", lr_factor=0.5)]},
        {"groups": [mn.Group(lambda tensor: tensor.name == "a", rule=mn.SGD())]},
    ],
    ids=["decay", "clipping", "rate of a group", "rule of a group"],
)
def test_the_optimizer_refuses_what_a_line_search_does_not_see(options):
    with pytest.raises(ValueError, match=r"^Optimizer: expected a rule that searches to have all parameters to itself"):
        mn.Optimizer.over(np.zeros(4), np.zeros(4), mn.LBFGS(), shapes={"a": (2,), "b": (2,)}, **options)


def test_a_step_of_lbfgs_without_a_function_says_what_it_needs():
    optimizer = mn.Optimizer.over(np.zeros(2), np.ones(2), mn.LBFGS())
    with pytest.raises(ValueError, match=r"^Optimizer.step: expected loss=... and evaluate=... for LBFGS"):
        optimizer.step(1.0)


@both_dtypes
def test_lbfgs_gives_the_same_bits_on_one_thread_or_two(dtype):
    scales, results = np.linspace(0.5, 3, 200_001), []
    before = mn.get_num_threads()
    try:
        for threads in (1, 2):
            mn.set_num_threads(threads)

            def function(p):
                return float(np.sum(np.cosh(scales * p) - 1)), scales * np.sinh(scales * p)

            path, _ = lbfgs_path(mn.LBFGS(history=3), function, np.linspace(-1, 1, scales.size), 6, dtype)
            results.append(path[-1][0])
    finally:
        mn.set_num_threads(before)
    np.testing.assert_array_equal(*results)
    assert np.abs(results[0]).max() < 0.9


def test_lbfgs_takes_its_constants_from_schedules_too():
    A, c, start = convex_problem()
    moving, _ = lbfgs_path(mn.LBFGS(curvature=Linear(0.9, 0.01, 5)), lambda p: soft_plus(p, A, c), start, 8)
    fixed, _ = lbfgs_path(mn.LBFGS(), lambda p: soft_plus(p, A, c), start, 8)
    np.testing.assert_array_equal(moving[1][0], fixed[1][0])
    assert np.abs(moving[-1][0] - fixed[-1][0]).max() > 1e-3


def test_a_step_of_lbfgs_allocates_no_array():
    def peak(size):
        params, grads = np.linspace(-1, 2, size), np.empty(size)

        def evaluate():
            np.multiply(params, 4.0, out=grads)
            return 2 * inner(params, params, partial)

        partial = np.empty((flat_parts(size), 1))
        optimizer = mn.Optimizer.over(params, grads, mn.LBFGS(history=3))
        least = []
        for _ in range(6):
            loss = evaluate()
            tracemalloc.start()
            optimizer.step(0.1, loss=loss, evaluate=evaluate)
            least.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            params += np.sin(np.arange(size))
        return min(least[1:])

    peak(10)
    assert peak(20_000) - peak(10) < 1024  # an array would be 160,000 bytes
