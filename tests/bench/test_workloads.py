"""The workloads of bench/ are the same networks in minnet, in PyTorch and in plain NumPy, so that their times compare.

Batches are small, as steps in float64 take long; what is computed for each sample does not depend on their number.
"""

import numpy as np
import pytest
from layouts import channels_first, channels_last
from peer_numpy import NumPy
from workloads import LEARNING_RATE, WORKLOADS

import minnet as mn

BATCH = 16
# Convolutions take long, and have so many ReLUs that of more samples one is always near its kink.
SMALL = {"cs231n_three_layer_conv": 2, "mnist_2c2d": 2, "cifar10_3c3d": 1, "cifar10_resnet20": 1}
SMALL |= {"char_lstm": 2, "char_lstm_512": 1, "transformer": 1}
STEPS = 3


@pytest.fixture(params=WORKLOADS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the workloads are not compared with it")
    torch.set_num_threads(1)
    return torch


def peer(torch, name, params, x, y, **settings):
    from peer_torch import Torch

    return Torch(WORKLOADS[name], params, x, y, **settings)


def minnet_net(name, dtype):
    """minnet's net with weights that float32 holds exactly."""
    net = WORKLOADS[name].net(dtype)
    net.params = WORKLOADS[name].net(np.float32).params
    return net


def loss_and_gradients(net, x, y):
    """Without the penalty, as PyTorch's loss has none; the gradients with it."""
    net.loss_and_grads(x, y)
    return net.objective.data, net.named_gradients()


def total_norm(gradients):
    return np.sqrt(sum(np.square(g).sum() for g in gradients.values()))


def assert_same_in_double(name, found, expected):
    """To the round-off of sums in float64, relative to the whole gradient: some parameters' own gradient is 0."""
    assert found[0] == pytest.approx(expected[0], rel=100 * np.finfo(float).eps)
    assert found[1].keys() == expected[1].keys()
    whole = total_norm(expected[1])
    for key, gradient in found[1].items():
        assert np.linalg.norm(gradient - expected[1][key]) < 100 * np.finfo(float).eps * whole, key


@pytest.mark.torch
def test_a_workload_equals_pytorchs_in_float64_before_and_after_steps(name, torch):
    x, y = WORKLOADS[name].data(SMALL.get(name, BATCH))
    net = minnet_net(name, np.float64)
    optimizer = mn.Optimizer(net, WORKLOADS[name].rule)
    other = peer(torch, name, net.params.copy(), x, y, dtype=torch.float64)
    assert_same_in_double(name, loss_and_gradients(net, x, y), other.loss_and_gradients())
    before = net.objective.data
    for _ in range(STEPS):
        net.loss_and_grads(x, y)
        optimizer.step(LEARNING_RATE)
        other.step()
    loss, _ = loss_and_gradients(net, x, y)
    assert abs(loss - before) > 1e-6, "the steps changed nothing, so nothing was compared"
    assert loss - before == pytest.approx(other.loss_and_gradients()[0] - before, rel=1e-9)


def test_a_workload_equals_plain_numpys_in_float64(name):
    x, y = WORKLOADS[name].data(SMALL.get(name, BATCH))
    net = minnet_net(name, np.float64)
    other = NumPy(WORKLOADS[name], net.params.copy(), x.astype(net.input_dtype), y)
    assert_same_in_double(name, loss_and_gradients(net, x, y), other.loss_and_gradients())


def distance_to_kinks(torch, model, x):
    """How far the nearest ReLU's input is from 0, and the nearest pooling window from a tie above 0."""
    found = []

    def of_relu(module, inputs, output):
        found.append(inputs[0].abs().min().item())

    def of_pool(module, inputs, output):
        # What is pooled comes from a ReLU, so -1 never wins, and a tie at 0 does no harm: no gradient passes the ReLU.
        values = module.padding, module.kernel_size, module.stride
        (top, left), (high, wide), (down, across) = (v if isinstance(v, tuple) else (v, v) for v in values)
        image = torch.nn.functional.pad(inputs[0], (left, left, top, top), value=-1.0)
        windows = image.unfold(2, high, down).unfold(3, wide, across)
        first, second = windows.flatten(4).topk(2).values.unbind(-1)
        found.append((first - second)[first > 0].min().item())

    kinds = {torch.nn.ReLU: of_relu, torch.nn.MaxPool2d: of_pool}
    hooks = [m.register_forward_hook(kinds[type(m)]) for m in model.modules() if type(m) in kinds]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return min(found, default=np.inf)


@pytest.mark.torch
def test_the_error_of_float32_is_a_small_multiple_of_pytorchs(name, torch):
    params = WORKLOADS[name].net(np.float32).params.copy()
    # Data on which no input is so near a kink that rounding puts it on the other side, which is no error.
    for seed in range(100):
        x, y = WORKLOADS[name].data(SMALL.get(name, BATCH), seed)
        exact = peer(torch, name, params, x, y, dtype=torch.float64)
        if distance_to_kinks(torch, exact.model, exact.x) > 1e-5:
            break
    else:
        pytest.fail("no seed of 100 keeps away from the kinks")
    loss, gradients = exact.loss_and_gradients()
    found_loss, found = loss_and_gradients(minnet_net(name, np.float32), x, y)
    layouts = ["first", "last"] if WORKLOADS[name].has_images else ["first"]
    others = [peer(torch, name, params, x, y, channels=channels).loss_and_gradients() for channels in layouts]
    eps, whole = np.finfo(np.float32).eps, total_norm(gradients)
    # Of two good ways to add numbers up, either may come closer by chance, by a few eps; minnet adds in order, PyTorch
    # in blocks. Biases in front of a batch norm have gradient 0, hence a floor from the whole gradient.
    other_error = max(abs(other_loss - loss) for other_loss, _ in others)
    assert abs(found_loss - loss) < 8 * other_error + 8 * eps * abs(loss)
    for key, gradient in gradients.items():
        other_error = max(np.linalg.norm(other[key] - gradient) for _, other in others)
        bound = 8 * other_error + 4 * eps * np.linalg.norm(gradient) + 0.1 * eps * whole
        assert np.linalg.norm(found[key] - gradient) < bound, key


def test_layouts_there_and_back_again(name):
    work = WORKLOADS[name]
    values = work.net().named_parameters()
    back = channels_last(work, channels_first(work, values))
    assert all(np.array_equal(back[key], value) for key, value in values.items())


# Multiply-adds of one sample's forward pass, by hand: weights times output pixels, layer by layer.
BY_HAND = {
    "iris_mlp": 4 * 4 + 4 * 6 + 6 * 3,
    "mnist_mlp": 784 * 1000 + 1000 * 500 + 500 * 100 + 100 * 10,
    "mnist_2c2d": 25 * 32 * 28 * 28 + 25 * 32 * 64 * 14 * 14 + 3136 * 1024 + 1024 * 10,
    # The convolutions of 16, 32 and 64 channels, the two projections, the dense layer.
    "cifar10_resnet20": 9 * (3 * 16 + 6 * 16 * 16) * 32 * 32
    + (9 * (16 * 32 + 5 * 32 * 32) + 16 * 32) * 16 * 16
    + (9 * (32 * 64 + 5 * 64 * 64) + 32 * 64) * 8 * 8
    + 640,
    "char_lstm": 100 * ((65 + 128) * 4 * 128 + 128 * 65),
    "adding_lstm": 100 * (2 + 64) * 4 * 64 + 64,
    # Four blocks of three, one, four and four matrices of 128 x 128, and two products of queries, keys and values.
    "transformer": 4 * 128 * (12 * 128 * 128 + 2 * 128 * 128) + 128 * 128 * 65,
}
FIRST = {"iris_mlp": 16, "mnist_mlp": 784000, "mnist_2c2d": 25 * 32 * 28 * 28, "cifar10_resnet20": 27 * 16 * 32 * 32}
FIRST["adding_lstm"] = 100 * 2 * 4 * 64
FIRST["char_lstm"] = FIRST["transformer"] = 0  # the first layer embeds, so the LSTM has a gradient of its input


@pytest.mark.parametrize("known", BY_HAND)
def test_multiply_adds_are_those_counted_by_hand(known):
    # Forward, weights' gradient, inputs' gradient; the last not for the first layer.
    assert WORKLOADS[known].multiply_adds() == WORKLOADS[known].batch * (3 * BY_HAND[known] - FIRST[known])


def test_resnet20_has_the_published_number_of_parameters():
    # He et al. 2016, table 6: 0.27 million for 20 layers.
    net = WORKLOADS["cifar10_resnet20"].net()
    assert round(net.params.size / 1e6, 2) == 0.27
    assert sum(p.ndim == 4 for p in net.named_parameters().values()) == 19 + 2  # and the two projections
