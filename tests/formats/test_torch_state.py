"""Weights as a state dict of PyTorch, both ways, for every layer with parameters: equal outputs, in float64."""

from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pytest

import minnet as mn
from minnet import formats

WORDS, TIME, WIDTH = 7, 5, 6


@dataclass
class Case:
    """A net, PyTorch's twin of it, and how its input and output are turned for the twin."""

    layers: list
    shape: Any
    build: Any  # of torch: the model
    names: Any = None
    seen: int = 2  # axes of the input of which the last becomes the second: 4 for images

    def net(self, seed=0):
        net = mn.Net(self.layers, self.shape, dtype=np.float64, seed=seed)
        rng = np.random.default_rng(seed + 1)
        net.params += 0.1 * rng.standard_normal(net.params.size)
        for name, view in net.named_buffers().items():
            view[...] = rng.uniform(0.5, 2.0, view.shape) if name.endswith("var") else rng.standard_normal(view.shape)
        return net

    def samples(self, net):
        rng = np.random.default_rng(5)
        shape = (4, *net.input_shape)
        return rng.integers(0, net.vocabulary, shape) if net.vocabulary else rng.standard_normal(shape)

    def model(self, torch):
        return self.build(torch).double().eval()

    def output(self, torch, model, x):
        given = torch.from_numpy(np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x)
        with torch.no_grad():
            y = model(given)
        y = (y[0] if isinstance(y, tuple) else y).numpy()
        return np.moveaxis(y, 1, -1) if y.ndim == 4 else y


def sequential(*modules):
    return lambda torch: torch.nn.Sequential(*(module(torch.nn) for module in modules))


def module(init, forward):
    """A function that builds a module: ``init`` returns its parts by name, ``forward(self, x)`` is its pass."""

    def build(torch):
        class Made(torch.nn.Module):
            def __init__(self):
                super().__init__()
                for name, part in init(torch).items():
                    setattr(self, name, part)

            def forward(self, x):
                return forward(torch, self, x)

        return Made()

    return build


def within(init, forward):
    """The same as the first module of a Sequential."""
    return lambda torch: torch.nn.Sequential(module(init, forward)(torch))


def with_features_second(torch, self, x):
    return self.norm(x.movedim(-1, 1)).movedim(1, -1)


def first_of(torch, self, x):
    return self[0](x)[0] if isinstance(self, torch.nn.Sequential) else self.layer(x)[0]


def recurrent(kind, **options):
    return module(
        lambda torch: {"0": getattr(torch.nn, kind)(3, 4, batch_first=True, **options)},
        lambda torch, self, x: getattr(self, "0")(x)[0],
    )


def attention(torch, self, x):
    part = getattr(self, "0")
    return part(x, x, x, need_weights=False)[0]


def across(torch, self, x):
    """The first three positions ask, the others are the memory."""
    part, memory = getattr(self, "0"), x[:, 3:]
    memory = memory if part.kdim == 6 else memory.reshape(len(x), -1, part.kdim)
    return part(x[:, :3], memory, memory, need_weights=False)[0]


def cho_gru(torch, self, x):
    h, steps = x.new_zeros(len(x), 4), []
    for t in range(x.shape[1]):
        a = x[:, t] @ self.W + self.b
        r, z = torch.sigmoid(a[:, :8] + h @ self.U[:, :8]).chunk(2, dim=1)
        n = torch.tanh(a[:, 8:] + (r * h) @ self.U[:, 8:])
        h = (1 - z) * n + z * h
        steps.append(h)
    return torch.stack(steps, dim=1)


def captions(torch, self, x):
    h = self.state(x[:, :4])[None]
    return self.layer(x[:, 4:].reshape(-1, 5, 3), (h, torch.zeros_like(h)))[0]


def tied(torch, self, x):
    return self.layers(self.embedding(x)) @ self.embedding.weight.T


def zeros(torch, *shape):
    return torch.nn.Parameter(torch.zeros(*shape))


CASES = {
    "Dense": Case([mn.Dense(4), mn.ReLU(), mn.Dense(3, bias=False)], 5,
        sequential(lambda nn: nn.Linear(5, 4), lambda nn: nn.ReLU(), lambda nn: nn.Linear(4, 3, bias=False))),
    "Dense on sequences": Case([mn.Dense(4)], (TIME, 3), sequential(lambda nn: nn.Linear(3, 4))),
    "Conv2D": Case([mn.Conv2D(4, (3, 2), padding=1)], (6, 5, 3),
        sequential(lambda nn: nn.Conv2d(3, 4, (3, 2), padding=1))),
    "Conv2D, grouped": Case([mn.Conv2D(6, 3, padding=1, groups=2)], (6, 5, 4),
        sequential(lambda nn: nn.Conv2d(4, 6, 3, padding=1, groups=2))),
    "Conv2D, depthwise": Case([mn.Conv2D(4, 3, padding=1, groups=4)], (6, 5, 4),
        sequential(lambda nn: nn.Conv2d(4, 4, 3, padding=1, groups=4))),
    "ConvTranspose2D": Case([mn.ConvTranspose2D(4, (3, 2), stride=2, padding=0)], (4, 5, 3),
        sequential(lambda nn: nn.ConvTranspose2d(3, 4, (3, 2), stride=2))),
    "ConvTranspose2D, grouped": Case([mn.ConvTranspose2D(6, (3, 2), stride=2, padding=0, groups=2)], (4, 5, 4),
        sequential(lambda nn: nn.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2))),
    "PatchEmbedding": Case([mn.PatchEmbedding(5, (2, 3))], (4, 9, 3),
        lambda torch: torch.nn.Sequential(torch.nn.Conv2d(3, 5, (2, 3), stride=(2, 3)), torch.nn.Flatten(2)),
        ),
    "BatchNorm": Case([mn.BatchNorm()], 6, sequential(lambda nn: nn.BatchNorm1d(6))),
    "BatchNorm of images": Case([mn.BatchNorm()], (4, 3, 6), sequential(lambda nn: nn.BatchNorm2d(6))),
    "LayerNorm": Case([mn.LayerNorm()], (TIME, 6), sequential(lambda nn: nn.LayerNorm(6))),
    "GroupNorm": Case([mn.GroupNorm(2)], (4, 3, 6), sequential(lambda nn: nn.GroupNorm(2, 6))),
    "InstanceNorm": Case([mn.InstanceNorm()], (4, 3, 6), sequential(lambda nn: nn.InstanceNorm2d(6, affine=True))),
    "PReLU": Case([mn.PReLU()], (4, 3, 6), sequential(lambda nn: nn.PReLU(6))),
    "Embedding": Case([mn.Embedding(WORDS, 3)], TIME, sequential(lambda nn: nn.Embedding(WORDS, 3))),
    "RNN": Case([mn.RNN(4)], (TIME, 3), recurrent("RNN")),
    "LSTM": Case([mn.LSTM(4)], (TIME, 3), recurrent("LSTM")),
    "GRU": Case([mn.GRU(4)], (TIME, 3), recurrent("GRU")),
    "Bidirectional RNN": Case([mn.Bidirectional(mn.RNN(4))], (TIME, 3), recurrent("RNN", bidirectional=True)),
    "Bidirectional LSTM": Case([mn.Bidirectional(mn.LSTM(4))], (TIME, 3), recurrent("LSTM", bidirectional=True)),
    "Bidirectional GRU": Case([mn.Bidirectional(mn.GRU(4))], (TIME, 3), recurrent("GRU", bidirectional=True)),
    "ChoGRU": Case([mn.ChoGRU(4)], (TIME, 3),
        within(lambda torch: {"W": zeros(torch, 3, 12), "U": zeros(torch, 4, 12), "b": zeros(torch, 12)}, cho_gru)),
    "SelfAttention": Case([mn.SelfAttention(2)], (TIME, 6),
        module(lambda torch: {"0": torch.nn.MultiheadAttention(6, 2, batch_first=True)}, attention)),
    "CrossAttention": Case([mn.CrossAttention(2, mn.Slice(3, 7), mn.Slice(0, 3))], (7, 6),
        module(lambda torch: {"0": torch.nn.MultiheadAttention(6, 2, batch_first=True)}, across)),
    "CrossAttention, other features": Case(
        [mn.CrossAttention(3, [mn.Slice(3, 7), mn.Reshape((8, 3))], mn.Slice(0, 3))], (7, 6),
        module(lambda torch: {"0": torch.nn.MultiheadAttention(6, 3, kdim=3, vdim=3, batch_first=True)}, across)),
    "PositionalEncoding": Case([mn.PositionalEncoding(learned=True)], (TIME, 6),
        within(lambda torch: {"P": zeros(torch, TIME, 6)}, lambda torch, self, x: x + self.P)),
    "TiedEmbedding": Case([mn.TiedEmbedding(mn.Embedding(WORDS, 3), [mn.Dense(3), mn.Tanh()])], TIME,
        within(lambda torch: {"embedding": torch.nn.Embedding(WORDS, 3),
                              "layers": torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh())}, tied)),
    "InitialState": Case(
        [mn.InitialState(mn.LSTM(4), [mn.Slice(0, 4), mn.Dense(4)], [mn.Slice(4, 19), mn.Reshape((5, 3))])], 19,
        within(lambda torch: {"layer": torch.nn.LSTM(3, 4, batch_first=True),
                              "state": torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(4, 4))}, captions)),
    "Residual": Case(
        [mn.Residual([mn.Dense(4), mn.Chain([mn.LayerNorm(), mn.Tanh()])], shortcut=[mn.Dense(4, bias=False)])], 5,
        within(
            lambda torch: {
                "layers": torch.nn.Sequential(
                    torch.nn.Linear(5, 4), torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.Tanh())),
                "shortcut": torch.nn.Sequential(torch.nn.Linear(5, 4, bias=False))},
            lambda torch, self, x: self.layers(x) + self.shortcut(x))),
    "Dense after Flatten": Case(
        [mn.Conv2D(4, 3), mn.Chain([mn.ReLU(), mn.Flatten()]), mn.BatchNorm(), mn.PReLU(), mn.Dropout(), mn.Dense(5),
         mn.Dense(3)], (3, 2, 2),
        sequential(
            lambda nn: nn.Conv2d(2, 4, 3, padding=1), lambda nn: nn.Sequential(nn.ReLU(), nn.Flatten()),
            lambda nn: nn.BatchNorm1d(24), lambda nn: nn.PReLU(24), lambda nn: nn.Dropout(),
            lambda nn: nn.Linear(24, 5), lambda nn: nn.Linear(5, 3))),
    "Dense before an image": Case(
        [mn.Dense(24), mn.BatchNorm(), mn.ReLU(), mn.Reshape((3, 2, 4)), mn.ConvTranspose2D(2, 2, 2, padding=0)], 5,
        sequential(
            lambda nn: nn.Linear(5, 24), lambda nn: nn.BatchNorm1d(24), lambda nn: nn.ReLU(),
            lambda nn: nn.Unflatten(1, (4, 3, 2)), lambda nn: nn.ConvTranspose2d(4, 2, 2, stride=2))),
    "Flatten and back": Case(
        [mn.Conv2D(4, 3), mn.Flatten(), mn.BatchNorm(), mn.Reshape((3, 2, 4)), mn.Flatten(), mn.Dense(2)], (3, 2, 2),
        sequential(
            lambda nn: nn.Conv2d(2, 4, 3, padding=1), lambda nn: nn.Flatten(), lambda nn: nn.BatchNorm1d(24),
            lambda nn: nn.Unflatten(1, (4, 3, 2)), lambda nn: nn.Flatten(), lambda nn: nn.Linear(24, 2))),
    "a model with names": Case(
        [mn.Conv2D(4, 3), mn.ReLU(), mn.Flatten(), mn.Dense(3)], (3, 2, 2),
        module(lambda torch: {"conv": torch.nn.Conv2d(2, 4, 3, padding=1), "head": torch.nn.Linear(24, 3)},
               lambda torch, self, x: self.head(torch.relu(self.conv(x)).flatten(1))),
        names={"0": "conv", "3": "head"}),
    "a module for a net": Case([mn.Dense(3)], 5, lambda torch: torch.nn.Linear(5, 3), names={"0": ""}),
    "two layers of one LSTM": Case(
        [mn.LSTM(4), mn.LSTM(4)], (TIME, 3),
        module(lambda torch: {"lstm": torch.nn.LSTM(3, 4, num_layers=2, batch_first=True)},
               lambda torch, self, x: self.lstm(x)[0]),
        names={"0": "lstm", **{f"1.{name}_l0": f"lstm.{name}_l1"
                               for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}}),
}  # fmt: skip


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: state dicts are not tested with its modules")
    torch.set_num_threads(1)
    return torch


def agree(case, torch, net, model):
    x = case.samples(net)
    ours, theirs = net.predict(x), case.output(torch, model, x)
    if isinstance(case.layers[0], mn.PatchEmbedding):
        theirs = theirs.transpose(0, 2, 1)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_net_goes_to_pytorch(case, torch):
    net, model = case.net(), case.model(torch)
    model.load_state_dict(mn.to_torch(net, names=case.names))
    agree(case, torch, net, model)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_model_of_pytorch_comes_here(case, torch):
    net, model = case.net(), case.model(torch)
    values = count()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                rng = np.random.default_rng(next(values))
                tensor.copy_(torch.from_numpy(rng.uniform(0.1, 0.9, tuple(tensor.shape))))
    mn.from_torch(net, model.state_dict(), names=case.names)
    agree(case, torch, net, model)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_there_and_back_is_the_same_net(case):
    net, other = case.net(), case.net(seed=1)
    state = mn.to_torch(net, names=case.names, arrays=True)
    assert all(type(array) is np.ndarray and array.flags.c_contiguous for array in state.values())
    mn.from_torch(other, state, names=case.names)
    np.testing.assert_array_equal(other.params, net.params)
    np.testing.assert_array_equal(other.buffers, net.buffers)


def kinds_with_parameters():
    """Layers of minnet that have parameters, or hold a layer that has."""
    kinds = {kind for kind in vars(mn).values() if isinstance(kind, type) and issubclass(kind, mn.Layer)}
    simple = {kind.__name__ for kind in kinds} - {"Layer", "Chain"}
    without = {
        *("ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "GELUTanh", "SiLU", "Sigmoid", "Tanh", "Softplus", "Maxout"),
        *("Dropout", "SpatialDropout", "Flatten", "Reshape", "Slice"),
        *("MaxPool2D", "AvgPool2D", "GlobalAvgPool2D", "Upsample", "ZeroPad"),
    }
    return simple - without


def test_every_layer_with_parameters_has_a_case():
    nodes = [node for case in CASES.values() for node in case.net().nodes()]
    seen = {type(node.layer).__name__ for node in nodes}
    assert kinds_with_parameters() - seen == set()
    without = {type(node.layer).__name__ for node in nodes if not any(n.plan.params for n in node.walk())}
    assert kinds_with_parameters() & without == set()


def test_statistics_of_a_training_pass_and_their_number_go_along():
    net = mn.Net([mn.BatchNorm()], 3, mn.SquaredError())
    net.loss_and_grads(np.arange(12, dtype=np.float32).reshape(4, 3), np.zeros((4, 3)))
    state = mn.to_torch(net, arrays=True)
    np.testing.assert_array_equal(state["0.running_mean"], net.named_buffers()["0.running_mean"])
    assert state["0.num_batches_tracked"] == 1
    assert state["0.num_batches_tracked"].dtype == np.int64
    del state["0.num_batches_tracked"]
    mn.from_torch(net, state)


def test_two_biases_are_added_but_for_the_gate_that_a_gru_resets():
    net = mn.Net([mn.GRU(2)], (TIME, 3), dtype=np.float64)
    state = mn.to_torch(net, arrays=True)
    state["0.bias_ih_l0"][:], state["0.bias_hh_l0"][:] = np.arange(6), 10 * np.arange(6)
    mn.from_torch(net, state)
    assert net.named_parameters()["0.b"].tolist() == [0, 11, 22, 33, 4, 5]
    assert net.named_parameters()["0.c"].tolist() == [40, 50]


def test_states_that_go_on_stay():
    net = mn.Net([mn.LSTM(2, streams=3)], (TIME, 3))
    state = mn.to_torch(net, arrays=True)
    assert list(state) == ["0.weight_ih_l0", "0.weight_hh_l0", "0.bias_ih_l0", "0.bias_hh_l0"]
    net.buffers += 1
    mn.from_torch(net, state)
    assert (net.buffers == 1).all()


def test_the_state_dict_is_a_copy():
    net = mn.Net([mn.Embedding(WORDS, 3)], TIME)
    before = net.params.copy()
    mn.to_torch(net, arrays=True)["0.weight"][:] = 7
    np.testing.assert_array_equal(net.params, before)


def test_modules_are_paired_in_their_order(tmp_path):
    case = CASES["a model with names"]
    state = mn.to_torch(case.net(), names=case.names, arrays=True)
    assert formats.in_order(case.net(), state) == case.names
    attention = CASES["SelfAttention"].net()
    state = mn.to_torch(attention, names={"0": "block.attention"}, arrays=True)
    assert formats.in_order(attention, state) == {"0": "block.attention"}


def test_a_pairing_that_does_not_fit_is_refused():
    net = CASES["Dense"].net()
    state = mn.to_torch(net, arrays=True)
    with pytest.raises(ValueError, match=r"in_order: expected 2 modules .* \(0, 2\); got 1 \(2\)"):
        formats.in_order(net, {name: array for name, array in state.items() if name.startswith("2")})
    del state["0.bias"]
    with pytest.raises(ValueError, match="expected a module with bias, weight for layer 0; got 0 with weight"):
        formats.in_order(net, state)


@pytest.mark.torch
def test_half_precision_comes_here(torch):
    net, model = mn.Net([mn.Dense(3)], 4), torch.nn.Sequential(torch.nn.Linear(4, 3)).bfloat16()
    mn.from_torch(net, model.state_dict())
    np.testing.assert_array_equal(net.named_parameters()["0.W"].T, model[0].weight.detach().float().numpy())


def faulty(state, case):
    changed = dict(state)
    if case == "missing":
        del changed["2.bias"]
    elif case == "unexpected":
        changed["5.weight"] = np.zeros((2, 2))
    elif case == "transposed":
        changed["0.weight"] = changed["0.weight"].T
    elif case == "not finite":
        changed["2.weight"] = np.full_like(changed["2.weight"], np.nan)
    elif case == "too large":
        changed["2.weight"] = np.full(changed["2.weight"].shape, 1e300)
    else:
        changed["2.weight"] = changed["2.weight"] + 0j
    return changed


@pytest.mark.parametrize(
    ("case", "error", "words"),
    [
        ("missing", ValueError, r"missing: 2\.bias \(3,\)"),
        ("unexpected", ValueError, r"unexpected: 5\.weight \(2, 2\)"),
        ("transposed", ValueError, r"expected: 0\.weight of shape \(4, 5\), got \(5, 4\)"),
        ("not finite", ValueError, r"expected 2\.weight to be finite"),
        ("too large", ValueError, r"expected 2\.weight to be finite in float32"),
        ("complex", TypeError, r"expected 2\.weight as a tensor of real numbers"),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(case, error, words):
    net = mn.Net([mn.Dense(4), mn.ReLU(), mn.Dense(3)], 5)
    before = net.params.copy()
    state = faulty({name: array + 1 for name, array in mn.to_torch(net, arrays=True).items()}, case)
    with pytest.raises(error, match=words):
        mn.from_torch(net, state)
    np.testing.assert_array_equal(net.params, before)


IMPOSSIBLE = {  # values that a model cannot have been left with, and what the error says
    "a variance": (
        {"bn.running_var": [1, -0.5, 1]},
        r"expected bn\.running_var of at least 0; got -0\.5\. .*train\(\)",
    ),
    "a variance that is none": ({"bn.running_var": [1, np.nan, 1]}, r"expected bn\.running_var to be finite"),
    "a mean": ({"bn.running_mean": [0, np.inf, 0]}, r"expected bn\.running_mean to be finite"),
    "a number of batches": ({"bn.num_batches_tracked": -1}, r"bn\.num_batches_tracked of at least 0; got -1"),
    "no number of batches": ({"bn.num_batches_tracked": np.nan}, r"bn\.num_batches_tracked to be finite"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_values_that_no_training_leaves_are_refused(case):
    net = mn.Net([mn.Dense(3), mn.BatchNorm()], 5)
    before, (changes, words) = (net.params.copy(), net.buffers.copy()), IMPOSSIBLE[case]
    names = {"1": "bn"}
    state = {name: array + 1 for name, array in mn.to_torch(net, names=names, arrays=True).items()}
    with pytest.raises(ValueError, match=f"^from_torch: .*{words}"):
        mn.from_torch(net, state | {name: np.array(value) for name, value in changes.items()}, names=names)
    np.testing.assert_array_equal(net.params, before[0])
    np.testing.assert_array_equal(net.buffers, before[1])
    mn.from_torch(net, state | {"bn.running_var": np.zeros(3)}, names=names)  # of features that never vary


def test_biases_whose_sum_is_not_finite_are_refused():
    net = mn.Net([mn.LSTM(2)], (TIME, 3))
    state = mn.to_torch(net, arrays=True)
    for name in ("0.bias_ih_l0", "0.bias_hh_l0"):
        state[name] = np.full_like(state[name], 3e38)
    with pytest.raises(ValueError, match=r"^from_torch: expected tensors whose sum 0\.b is finite in float32"):
        mn.from_torch(net, state)


def test_other_names_are_answered_with_what_pairs_them():
    net = mn.Net([mn.Dense(3)], 5)
    state = mn.to_torch(net, names={"0": "fc"}, arrays=True)
    with pytest.raises(ValueError, match=r"missing: 0\.weight .*unexpected: fc\.weight .*in_order"):
        mn.from_torch(net, state)


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        ({"1": "fc"}, ValueError, "expected keys of names as beginnings of 0.weight, 0.bias, 2.weight, 2.bias; got 1"),
        ({"0": "fc", "2": "fc"}, ValueError, "expected names that differ for each tensor; got fc.bias, fc.weight"),
        ("in order", TypeError, "expected names as a dict of texts"),
        ({0: "fc"}, TypeError, "expected names as a dict of texts"),
    ],
)
def test_wrong_names_are_refused(names, error, words):
    net = mn.Net([mn.Dense(4), mn.ReLU(), mn.Dense(3)], 5)
    with pytest.raises(error, match=words):
        mn.to_torch(net, names=names, arrays=True)


def test_a_model_in_place_of_its_state_is_refused():
    class Model:
        def state_dict(self):
            return {}

    with pytest.raises(TypeError, match=r"expected a state dict.*model\.state_dict\(\)"):
        mn.from_torch(mn.Net([mn.Dense(3)], 5), Model())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([mn.Flatten(), mn.Maxout(2), mn.Dense(3)], "Maxout 1: expected features in an order that PyTorch has"),
        ([mn.Flatten(), mn.GroupNorm(2), mn.Dense(3)], "GroupNorm 1: expected features in an order"),
        ([mn.Flatten(), mn.Residual(mn.Dense(24))], "Residual 1: expected features in an order"),
        ([mn.Flatten(), mn.Dense(24), mn.Maxout(2), mn.Reshape((3, 2, 2))], "Maxout 2: expected a Dense before"),
    ],
)
def test_layers_that_mix_features_of_a_flattened_image_are_refused(layers, words):
    with pytest.raises(ValueError, match=words):
        mn.to_torch(mn.Net(layers, (3, 2, 4)), arrays=True)


def test_without_pytorch_the_error_says_that_arrays_need_none(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    net = mn.Net([mn.Dense(3)], 5)
    with pytest.raises(ImportError, match=r"to_torch: expected PyTorch to be installed.*arrays=True"):
        mn.to_torch(net)
    mn.from_torch(net, mn.to_torch(net, arrays=True))


@pytest.mark.parametrize("kind", ["complex64", "bool"])
def test_tensors_that_are_no_real_numbers_are_refused_as_arrays_are(kind):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: state dicts are not tested with its modules")
    net = mn.Net([mn.Dense(3)], 4)
    before = net.params.copy()
    state = {**mn.to_torch(net), "0.bias": torch.zeros(3, dtype=getattr(torch, kind))}
    with pytest.raises(
        TypeError, match=rf"^from_torch: expected 0\.bias as a tensor of real numbers; got dtype {kind}"
    ):
        mn.from_torch(net, state)
    np.testing.assert_array_equal(net.params, before)


UNREADABLE = {  # tensors that NumPy cannot take, and what the error says
    "sparse": (
        lambda t: t.ones(3, 4).to_sparse(),
        r"as a dense tensor .*; got one of layout torch\.sparse_coo .*to_dense",
    ),
    "of a device without values": (
        lambda t: t.ones(3, 4, device="meta"),
        "as a dense tensor .*; got one on the device meta",
    ),
    "quantised": (lambda t: t.quantize_per_tensor(t.ones(3, 4), 0.1, 0, t.qint8), r"got a quantised one .*dequantize"),
    "conjugate": (
        lambda t: t.ones(3, 4, dtype=t.complex64).conj(),
        r"as a dense tensor of real numbers; got Tensor \(Can't",
    ),
    "nested": (lambda t: t.nested.nested_tensor([t.ones(4), t.ones(3)]), "as a tensor with a shape; got Tensor"),
    "lazy": (lambda t: t.nn.LazyLinear(3).weight, "as a tensor with a shape; got UninitializedParameter"),
}


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")  # of PyTorch, of features that are prototypes
@pytest.mark.parametrize("case", UNREADABLE)
def test_tensors_without_numbers_are_refused(case, torch):
    make, words = UNREADABLE[case]
    net = mn.Net([mn.Dense(3)], 4)
    with pytest.raises(TypeError, match=rf"^from_torch: expected 0\.weight {words}" if "as a" in words else words):
        mn.from_torch(net, {**mn.to_torch(net), "0.weight": make(torch)})


def test_a_list_of_uneven_lengths_is_refused():
    net = mn.Net([mn.Dense(3)], 4)
    with pytest.raises(TypeError, match=r"^from_torch: expected 0\.bias as a tensor with a shape; got list"):
        mn.from_torch(net, mn.to_torch(net, arrays=True) | {"0.bias": [[1, 2], [3]]})


@pytest.mark.parametrize("who", ["from_torch", "in_order"])
@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({0: np.zeros(3)}, r"names as keys of the state dict, such as '0\.weight'; got 0"),
        ({"0.weight": np.zeros((3, 4)), ("0", "bias"): np.zeros(3)}, r"names as keys .*; got \('0', 'bias'\)"),
        (["0.weight", "0.bias"], "a state dict, tensors by name; got list"),
        (None, "a state dict, tensors by name; got NoneType"),
    ],
)
def test_what_is_no_state_dict_is_refused(who, state, words):
    with pytest.raises(TypeError, match=f"^{who}: expected {words}"):
        getattr(formats, who)(mn.Net([mn.Dense(3)], 4), state)


def test_masked_elements_are_refused():
    net = mn.Net([mn.Dense(3)], 4)
    state = mn.to_torch(net, arrays=True)
    state["0.bias"] = np.ma.array(state["0.bias"], mask=[False, True, False])
    with pytest.raises(ValueError, match=r"^from_torch: expected 0\.bias without masked elements"):
        mn.from_torch(net, state)


@pytest.mark.parametrize(
    ("who", "call"),
    [
        ("to_torch", lambda: mn.to_torch(None)),
        ("from_torch", lambda: mn.from_torch(None, {})),
        ("in_order", lambda: formats.in_order("net", {})),
        ("to_onnx", lambda: mn.to_onnx("net", "net.onnx")),
        ("precompile", lambda: mn.precompile(3)),
    ],
)
def test_what_is_no_net_is_refused(who, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if who == "to_onnx":
        pytest.importorskip("onnx", reason="onnx is not installed: files of ONNX are not tested")
    with pytest.raises(TypeError, match=f"^{who}: expected a Net; got"):
        call()
    assert not list(tmp_path.iterdir())
