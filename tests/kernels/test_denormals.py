"""Kernels take denormal numbers for zeros, in every thread that they use, and nobody else does.

What is asked everywhere: numbers are set next to the smallest normal one, such that exact results lie below it, and
nothing that comes out is denormal.
"""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba import njit

import minnet as mn
from minnet.kernels.chunks import SERIAL
from minnet.kernels.denormals import _REGISTER, FlushingCompiler
from minnet.kernels.passes import flat
from minnet.kernels.updates import gradients
from minnet.kernels.vector import elementary

pytestmark = pytest.mark.skipif(
    _REGISTER is None or bool(numba.config.DISABLE_JIT), reason="no kernel sets flags of this processor"
)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def tiny(dtype):
    return np.finfo(dtype).tiny


def has_denormals(x):
    return bool(((x != 0) & (np.abs(x) < tiny(x.dtype))).any())


def next_to_zero(shape, dtype, seed=0):
    """Normal numbers of both signs, up to four times the smallest."""
    rng = np.random.default_rng(seed)
    return (tiny(dtype) * rng.uniform(1, 4, shape) * rng.choice([-1, 1], shape)).astype(dtype)


def numpy_makes_denormals():
    return all(has_denormals(np.full(1000, tiny(dtype)) / dtype(3)) for dtype in (np.float32, np.float64))


# Rules -----------------------------------------------------------------------------------------------------------

RULES = [
    *(mn.SGD(), mn.Momentum(), mn.Momentum(lr_in_velocity=False, dampening=0.5), mn.Nesterov(), mn.NesterovLookAhead()),
    *(mn.Adagrad(), mn.RMSprop(), mn.RMSpropMomentum(), mn.RMSpropCentred(), mn.RMSpropCentredMomentum()),
    *(mn.Adadelta(), mn.Adam(), mn.AMSGrad(), mn.AdaMax(), mn.NAdam(), mn.RAdam(), mn.Lion()),
    *(mn.ScheduleFreeSGD(), mn.ScheduleFreeAdamW(), mn.LARS(), mn.LAMB(), mn.Adafactor(), mn.Muon()),
    *(mn.ClipValue(mn.Momentum(), bound=1.0), mn.ClipNorm(mn.Momentum(), bound=1.0)),
    *(mn.ClipTensorNorm(mn.Momentum(), bound=1.0), mn.AdaptiveClip(mn.Momentum())),
    *(mn.LookAhead(mn.Momentum(), k=2), mn.Accumulate(mn.Momentum(), k=2), mn.GradientNoise(mn.Momentum(), eta=0.0)),
    mn.CoupledDecay(mn.Momentum(), strength=0.1),
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)


def test_every_rule_is_asked():
    known = {
        kind for kind in vars(mn).values() if isinstance(kind, type) and issubclass(kind, mn.Rule) and kind != mn.Rule
    }
    assert known - {mn.LBFGS} == {type(rule) for rule in RULES}


def optimizer_over(rule, dtype, gradient):
    params = np.random.default_rng(1).standard_normal(600).astype(dtype)
    shapes = {"W": (20, 29), "b": (20,)}
    return params, mn.Optimizer.over(params, gradient, rule, shapes=shapes, weight_decay=0.1)


@every_rule
@both_dtypes
def test_state_that_decays_ends_at_zero(rule, dtype):
    gradient = np.zeros(600, dtype)
    params, optimizer = optimizer_over(rule, dtype, gradient)
    state = np.abs(next_to_zero(optimizer.state.shape, dtype))
    state.reshape(-1)[::5] = tiny(dtype)  # which a factor of 0.999 makes denormal
    optimizer.state = state
    for _ in range(20):
        optimizer.step(0.01)
    assert not has_denormals(optimizer.state)
    assert not has_denormals(params)


@every_rule
@both_dtypes
def test_gradients_next_to_zero_leave_no_denormals(rule, dtype):
    for size in (tiny(dtype), tiny(dtype) ** 0.5):  # whose shares, and whose squares, are denormal
        gradient = np.zeros(600, dtype)
        params, optimizer = optimizer_over(rule, dtype, gradient)
        params *= dtype(size)
        for seed in range(3):
            gradient[:] = next_to_zero(600, dtype, seed) * (size / tiny(dtype))
            optimizer.step(0.01)
        assert not has_denormals(optimizer.state)
        assert not has_denormals(params)


@both_dtypes
def test_lbfgs_keeps_no_denormals(dtype):
    # A valley along the first axis, nearly level along the others.
    params, grads, slopes = np.zeros(10, dtype), np.zeros(10, dtype), next_to_zero(10, dtype)

    def evaluate():
        grads[:] = slopes
        grads[0] = params[0] - 3 + 0.1 * params[0] ** 3
        return float(0.5 * (params[0] - 3) ** 2 + 0.025 * params[0] ** 4)

    optimizer = mn.Optimizer.over(params, grads, mn.LBFGS())
    for _ in range(4):
        optimizer.step(0.5, loss=evaluate(), evaluate=evaluate)
        assert not has_denormals(optimizer.state)
        assert not has_denormals(params)
    assert abs(params[0] - 3) < 2


AVERAGES = {
    "EMA": lambda: mn.EMA(0.9),
    "SWA": lambda: mn.SWA(1),
    "LAWA": lambda: mn.LAWA(2, at=1),
    "SWAG": lambda: mn.SWAG(1, rank=2),
}


@pytest.mark.parametrize("name", AVERAGES)
@both_dtypes
def test_averages_of_weights_next_to_zero_have_no_denormals(name, dtype):
    average = AVERAGES[name]()
    net = mn.Net([mn.Dense(5)], 4, mn.SquaredError(), dtype=dtype)
    for seed in range(4):
        net.params = next_to_zero(net.params.size, dtype, seed) * (1e10 if seed % 2 else 1)
        average.update(net)
    for array in (average.params, average.point(net)[0], *average._arrays().values()):
        assert not has_denormals(np.asarray(array))


# Passes ----------------------------------------------------------------------------------------------------------

LAYERS = [
    (mn.Dense(5), (7,)),
    (mn.Dense(40), (30,)),
    *((layer, (33,)) for layer in (mn.LeakyReLU(0.2), mn.PReLU(), mn.ELU(0.7), mn.SELU(), mn.GELU(), mn.GELUTanh())),
    *((layer, (33,)) for layer in (mn.SiLU(), mn.Sigmoid(), mn.Tanh(), mn.Softplus(), mn.Maxout(3))),
    *((layer, (6,)) for layer in (mn.BatchNorm(), mn.LayerNorm(), mn.Dropout(0.4))),
    *((layer, (4, 4, 6)) for layer in (mn.BatchNorm(), mn.GroupNorm(2), mn.InstanceNorm(), mn.SpatialDropout(0.4))),
    *((layer, (6, 6, 4)) for layer in (mn.Conv2D(5, 1), mn.Conv2D(5, 3), mn.Conv2D(5, 3, stride=2))),
    *((layer, (6, 6, 4)) for layer in (mn.Conv2D(4, 3, groups=4), mn.Conv2D(3, 5), mn.ConvTranspose2D(3, 2, stride=2))),
    *((layer, (6, 6, 4)) for layer in (mn.AvgPool2D(2), mn.AvgPool2D(3, stride=1), mn.GlobalAvgPool2D())),
    *((layer, (6, 6, 4)) for layer in (mn.MaxPool2D(2), mn.Upsample(2), mn.ZeroPad(1))),
    (mn.Residual([mn.Dense(7), mn.LeakyReLU(0.3)]), (7,)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
@both_dtypes
def test_passes_make_no_denormals(layer, shape, dtype):
    for training in (True, False):
        net = mn.Net([layer], shape, dtype=dtype, seed=0)
        x = next_to_zero((3, *shape), dtype)
        y = net.forward(x, training=training)
        assert not has_denormals(y)
        dx = np.empty_like(x)
        net.backward(next_to_zero(y.shape, dtype, 1), dx)
        assert not has_denormals(dx)
        assert not has_denormals(net.grads)
        assert not has_denormals(net.buffers)
        # Where the input is of usual size and the gradient is not, and where activation functions end.
        x = np.random.default_rng(2).uniform(-120, 5, x.shape).astype(dtype) * (1 if dtype is np.float32 else 7)
        y = net.forward(x, training=training)
        assert not has_denormals(y)
        net.backward(next_to_zero(y.shape, dtype, 1), dx)
        assert not has_denormals(dx)
        assert not has_denormals(net.grads)


LOSSES = [
    (mn.SoftmaxCrossEntropy(), "label"),
    (mn.SoftmaxCrossEntropy(label_smoothing=0.1), "label"),
    *((loss, "label") for loss in (mn.MulticlassHinge(), mn.SquaredHinge())),
    *((loss, "number") for loss in (mn.Logistic(), mn.SquaredError(), mn.AbsoluteError(), mn.Huber())),
]


@pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=str)
@both_dtypes
def test_losses_hand_back_no_denormals(loss, kind, dtype):
    width = 100 if dtype is np.float32 else 740  # exp(-100) and exp(-740) are denormal
    for scores in (
        np.random.default_rng(0).uniform(-width, 0, (40, 6)).astype(dtype),
        next_to_zero((40, 6), dtype),
    ):
        targets = np.zeros(40, np.int64) if kind == "label" else np.zeros((40, 6), dtype)
        dscores = np.empty_like(scores)
        loss.apply(scores, targets, np.full(40, 1 / 40, dtype), dscores)
        assert not has_denormals(dscores)


@both_dtypes
def test_penalties_clipping_and_constraints_make_no_denormals(dtype):
    w, g = next_to_zero((20, 30), dtype), next_to_zero((20, 30), dtype, 1)
    flat.add_l2(w.reshape(-1), dtype(0.1), g.reshape(-1))
    flat.scale(w.reshape(-1), dtype(0.1))
    assert not has_denormals(g)
    assert not w.any()
    g = next_to_zero((20, 30), dtype)
    g[0] = 1e3
    flat.limit_unit_norms(g, 1.0)
    assert not has_denormals(g)


@njit(pipeline_class=FlushingCompiler, error_model="numpy")
def elementary_functions(x, y):
    for i in range(x.size):
        y[0, i] = elementary.exp(x[i])
        y[1, i] = elementary.expm1(x[i])
        y[2, i] = elementary.log(abs(x[i]))
        y[3, i] = elementary.log1p(abs(x[i]))
        y[4, i] = elementary.tanh(x[i])
        y[5, i] = elementary.sigmoid(x[i])


@both_dtypes
def test_elementary_functions_keep_their_digits_in_kernels(dtype):
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    logarithms = rng.uniform(info.minexp, info.maxexp - 1e-3, 3000)
    sizes = [2**logarithms, rng.uniform(0, -np.log(info.tiny), 3000), [info.max, info.max / 2, 1.0, info.tiny]]
    x = np.concatenate([*sizes, *(-np.asarray(size) for size in sizes)]).astype(dtype)
    y = np.empty((6, x.size), dtype)
    elementary_functions(x, y)
    with np.errstate(over="ignore", under="ignore"):
        wide = x.astype(np.longdouble)
        expected = np.array(
            [
                *(np.exp(wide), np.expm1(wide), np.log(abs(wide)), np.log1p(abs(wide)), np.tanh(wide)),
                1 / (1 + np.exp(-wide)),
            ]
        )
        over = np.abs(expected) > info.max
        assert np.isinf(y[over]).all()
        np.testing.assert_allclose(
            y[~over].astype(np.longdouble), expected[~over], rtol=3 * info.eps, atol=2 * float(info.tiny)
        )
    assert not has_denormals(y)


# Threads and what is around kernels ------------------------------------------------------------------------------


def decayed(dtype, size, threads):
    before = mn.get_num_threads()
    mn.set_num_threads(threads)
    try:
        v = next_to_zero(size, dtype)
        for _ in range(2):
            gradients.combine(v, dtype(0.3), next_to_zero(size, dtype, 1), dtype(0.3))
    finally:
        mn.set_num_threads(before)
    return v


@both_dtypes
def test_all_threads_flush_alike(dtype):
    size = 4 * SERIAL
    alone = decayed(dtype, size, 1)
    assert not has_denormals(alone)
    assert np.count_nonzero(alone == 0) > size // 10
    assert np.count_nonzero(alone) > size // 10
    np.testing.assert_array_equal(decayed(dtype, size, min(2, numba.config.NUMBA_NUM_THREADS)), alone)
    # A short vector, which the calling thread works on by itself.
    assert not has_denormals(decayed(dtype, 100, 1))


def test_numpy_still_makes_denormals_after_a_kernel():
    assert numpy_makes_denormals()
    decayed(np.float32, 100, 1)
    assert numpy_makes_denormals()
    decayed(np.float32, 4 * SERIAL, 1)
    assert numpy_makes_denormals()


@njit(pipeline_class=FlushingCompiler, error_model="numpy")
def fails(x, wrong):
    x[0] *= 0.5
    if wrong:
        raise ValueError("wrong")


def test_the_flags_are_restored_after_an_error():
    x = np.array([tiny(np.float64)])
    with pytest.raises(ValueError, match="wrong"):
        fails(x, True)
    assert x[0] == 0
    assert numpy_makes_denormals()


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.torch
def test_flags_that_were_set_before_stay_set(torch):
    torch.set_flush_denormal(True)
    try:
        decayed(np.float32, 100, 1)
        decayed(np.float32, 4 * SERIAL, 1)
        assert not has_denormals(np.full(1000, tiny(np.float32)) / np.float32(3))
    finally:
        torch.set_flush_denormal(False)
    assert numpy_makes_denormals()


# Run by itself: kernels are to be the first that use the threads, which start with the flags of their creator.
USER_CODE = """
import numpy as np
from numba import get_thread_id, njit, prange, threading_layer

import minnet as mn
from minnet.kernels.updates import gradients

p = np.ones(300_000, np.float32)
gradients.combine(p, np.float32(0.9), p.copy(), np.float32(0.1))


@njit(parallel=True)
def halves(x, y, thread):
    for i in prange(x.size):
        y[i] = x[i] * 0.5
        thread[i] = get_thread_id()


x = np.full(10_000, np.finfo(np.float64).tiny)
y, thread = np.zeros_like(x), np.zeros(x.size, np.int64)
halves(x, y, thread)
assert (y == x / 2).all() and y[0] > 0, np.unique(thread[y == 0])
print(threading_layer())
"""


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_threads_are_left_as_they_were_for_other_code(layer):
    ended = run_python(USER_CODE, NUMBA_THREADING_LAYER=layer)
    if "No threading layer could be loaded" in ended.stderr:
        pytest.skip(f"Numba has no {layer} here")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [layer]


def test_rules_run_where_nothing_is_compiled():
    code = """
import numpy as np, minnet as mn
p = np.ones(3)
mn.Optimizer.over(p, np.ones(3), mn.Momentum()).step(0.1)
print(p)
"""
    ended = run_python(code, NUMBA_DISABLE_JIT="1")
    assert ended.stdout.split() == ["[0.9", "0.9", "0.9]"], ended.stderr
