"""minnet against PyTorch: equal weights, data and hyper-parameters give equal numbers, in float64, to round-off.

PyTorch was written by others and differentiates by itself, so agreement in the gradients is evidence for every formula.
Where conventions differ, the docstrings of minnet say how, and the conversion stands here.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

import minnet as mn

pytestmark = pytest.mark.torch

# Values and gradients of order one, each a sum of at most some hundred terms in float64.
CLOSE = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    torch.set_num_threads(1)
    return torch


# Layers ------------------------------------------------------------------------------------------------------


def maxout(torch, x, pieces):
    return x.reshape(*x.shape[:-1], -1, pieces).amax(dim=-1)


FUNCTIONS = [
    (mn.ReLU(), lambda torch, f, x: f.relu(x)),
    (mn.LeakyReLU(0.2), lambda torch, f, x: f.leaky_relu(x, 0.2)),
    (mn.ELU(0.7), lambda torch, f, x: f.elu(x, 0.7)),
    (mn.SELU(), lambda torch, f, x: f.selu(x)),
    (mn.GELU(), lambda torch, f, x: f.gelu(x)),
    (mn.GELUTanh(), lambda torch, f, x: f.gelu(x, approximate="tanh")),
    (mn.SiLU(), lambda torch, f, x: f.silu(x)),
    (mn.Sigmoid(), lambda torch, f, x: torch.sigmoid(x)),
    (mn.Tanh(), lambda torch, f, x: torch.tanh(x)),
    (mn.Softplus(), lambda torch, f, x: f.softplus(x, threshold=100.0)),  # PyTorch calls it linear beyond 20
    (mn.Maxout(3), lambda torch, f, x: maxout(torch, x, 3)),
    (mn.Flatten(), lambda torch, f, x: x.flatten(1)),
    (mn.Reshape((9, 2)), lambda torch, f, x: x.reshape(-1, 9, 2)),
    (mn.Residual([mn.Tanh()]), lambda torch, f, x: x + torch.tanh(x)),
]


def backward_of(torch, build, x, cotangent, **parameters):
    """Output of ``build(x, **parameters)``, and the gradients for x and each parameter, by PyTorch."""
    inputs = {name: torch.tensor(value, requires_grad=True) for name, value in {"x": x, **parameters}.items()}
    y = build(**inputs)
    y.backward(torch.tensor(cotangent))
    return y.detach().numpy(), {name: value.grad.numpy() for name, value in inputs.items()}


def assert_parity(net, torch, build, x, training=False):
    """Forward and backward pass of a net of one layer against PyTorch's ``build``; parameters go by name."""
    rng = np.random.default_rng(1)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    parameters = {name.removeprefix("0."): view.copy() for name, view in net.named_parameters().items()}
    y = net.forward(x, training).copy()
    cotangent, dx = rng.standard_normal(y.shape), np.empty_like(x)
    net.backward(cotangent, dx)
    expected, gradients = backward_of(torch, build, x, cotangent, **parameters)
    np.testing.assert_allclose(y, expected, **CLOSE)
    np.testing.assert_allclose(dx, gradients["x"], **CLOSE)
    for name, gradient in net.named_gradients().items():
        np.testing.assert_allclose(gradient, gradients[name.removeprefix("0.")], err_msg=name, **CLOSE)


def some_input(shape, scale=3.0):
    return scale * np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize(("layer", "function"), FUNCTIONS, ids=lambda v: str(v) if isinstance(v, mn.Layer) else "")
def test_a_layer_without_parameters_equals_pytorchs(layer, function, torch):
    net = mn.Net([layer], (3, 6), dtype=np.float64)
    assert_parity(net, torch, lambda x: function(torch, torch.nn.functional, x), some_input((7, 3, 6)))


def test_dense_equals_pytorchs_linear(torch):
    # PyTorch keeps the weights as (out, in).
    net = mn.Net([mn.Dense(4)], 6, dtype=np.float64)
    assert_parity(net, torch, lambda x, W, b: torch.nn.functional.linear(x, W.T, b), some_input((7, 6)))


def test_dense_on_sequences_equals_pytorchs_linear(torch):
    net = mn.Net([mn.Dense(4)], (5, 6), dtype=np.float64)
    assert_parity(net, torch, lambda x, W, b: torch.nn.functional.linear(x, W.T, b), some_input((7, 5, 6)))


@pytest.mark.parametrize("padding", [None, 2])
def test_embedding_equals_pytorchs(padding, torch):
    net = mn.Net([mn.Embedding(5, 3, padding=padding)], 6, dtype=np.float64)
    rng = np.random.default_rng(1)
    words, cotangent = rng.integers(0, 5, (7, 6)), rng.standard_normal((7, 6, 3))
    y = net.forward(words).copy()
    net.backward(cotangent)
    W = torch.tensor(net.params.reshape(5, 3).copy(), requires_grad=True)
    expected = torch.nn.functional.embedding(torch.tensor(words), W, padding_idx=padding)
    expected.backward(torch.tensor(cotangent))
    np.testing.assert_array_equal(y, expected.detach().numpy())
    np.testing.assert_allclose(net.grads.reshape(5, 3), W.grad.numpy(), **CLOSE)


def give(torch, module, p, suffix=""):
    """Carry weights over: PyTorch's are transposed; b is its first bias, and c the last third of its second."""
    b = p["b"]
    of_state = np.zeros_like(b)
    if "c" in p:
        of_state[-len(p["c"]) :] = p["c"]
    with torch.no_grad():
        for name, value in (("weight_ih", p["W"].T), ("weight_hh", p["U"].T), ("bias_ih", b), ("bias_hh", of_state)):
            getattr(module, f"{name}_l0{suffix}").copy_(torch.tensor(value))


def assert_gradients_equal(module, gradients, suffix=""):
    names = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih"}
    for name, word in names.items():
        expected = getattr(module, f"{word}_l0{suffix}").grad.numpy()
        np.testing.assert_allclose(gradients[name], expected.T, err_msg=name, rtol=0, atol=1e-11)
    if "c" in gradients:
        expected = getattr(module, f"bias_hh_l0{suffix}").grad.numpy()[-gradients["c"].size :]
        np.testing.assert_allclose(gradients["c"], expected, rtol=0, atol=1e-11)


RECURRENT = [
    (mn.RNN(4), lambda nn: nn.RNN),
    (mn.RNN(4, relu=True), lambda nn: lambda *sizes, **more: nn.RNN(*sizes, nonlinearity="relu", **more)),
    (mn.LSTM(4), lambda nn: nn.LSTM),
    (mn.GRU(4), lambda nn: nn.GRU),
]


@pytest.mark.parametrize("time", [1, 7])
@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both"])
@pytest.mark.parametrize(("layer", "kind"), RECURRENT, ids=lambda v: str(v) if isinstance(v, mn.Layer) else "")
def test_a_recurrent_layer_equals_pytorchs(layer, kind, both, time, torch):
    net = mn.Net([mn.Bidirectional(layer) if both else layer], (time, 3), dtype=np.float64)
    rng = np.random.default_rng(1)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    x = some_input((5, time, 3))
    y = net.forward(x).copy()
    cotangent, dx = rng.standard_normal(y.shape), np.empty_like(x)
    net.backward(cotangent, dx)

    places = {"ahead.": "", "back.": "_reverse"} if both else {"": ""}
    module = kind(torch.nn)(3, 4, batch_first=True, bidirectional=both, dtype=torch.float64)
    for place, suffix in places.items():
        start = f"0.{place}"
        give(
            torch,
            module,
            {k.removeprefix(start): v for k, v in net.named_parameters().items() if k.startswith(start)},
            suffix,
        )
    given = torch.tensor(x, requires_grad=True)
    expected, _ = module(given)
    expected.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(dx, given.grad.numpy(), rtol=0, atol=1e-11)
    for place, suffix in places.items():
        start = f"0.{place}"
        gradients = {k.removeprefix(start): v for k, v in net.named_gradients().items() if k.startswith(start)}
        assert_gradients_equal(module, gradients, suffix)


@pytest.mark.parametrize(("layer", "kind"), RECURRENT[2:], ids=lambda v: str(v) if isinstance(v, mn.Layer) else "")
def test_a_first_state_equals_pytorchs_h_0(layer, kind, torch):
    both = mn.InitialState(layer, state=[mn.Slice(0, 4)], inputs=[mn.Slice(4, 19), mn.Reshape((5, 3))])
    net = mn.Net([both], 19, dtype=np.float64)
    rng = np.random.default_rng(1)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    x = some_input((7, 19), 1.0)
    y = net.forward(x).copy()
    cotangent, dx = rng.standard_normal(y.shape), np.empty_like(x)
    net.backward(cotangent, dx)

    module = kind(torch.nn)(3, 4, batch_first=True, dtype=torch.float64)
    give(torch, module, {k.removeprefix("0.layer."): v for k, v in net.named_parameters().items()})
    given = torch.tensor(x, requires_grad=True)
    h, steps = given[:, :4][None], given[:, 4:].reshape(7, 5, 3)
    expected, _ = module(steps, (h, torch.zeros_like(h)) if isinstance(layer, mn.LSTM) else h)
    expected.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(dx, given.grad.numpy(), rtol=0, atol=1e-11)
    assert_gradients_equal(module, {k.removeprefix("0.layer."): v for k, v in net.named_gradients().items()})


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both"])
@pytest.mark.parametrize(("layer", "kind"), RECURRENT, ids=lambda v: str(v) if isinstance(v, mn.Layer) else "")
def test_sequences_of_different_lengths_equal_pytorchs_packed_ones(layer, kind, both, last, torch):
    layer, lengths = replace(layer, padding=0, last=last), [4, 1, 3]
    net = mn.Net([mn.Embedding(5, 3), mn.Bidirectional(layer) if both else layer], 4, dtype=np.float64)
    rng = np.random.default_rng(1)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    words = np.array([[1, 2, 3, 4], [2, 0, 0, 0], [4, 1, 1, 0]])
    y = net.forward(words).copy()
    cotangent = rng.standard_normal(y.shape)
    if not last:  # PyTorch's outputs at padding are 0, and have no gradient
        y[words == 0] = cotangent[words == 0] = 0
    net.backward(cotangent)

    places = {"ahead.": "", "back.": "_reverse"} if both else {"": ""}
    module = kind(torch.nn)(3, 4, batch_first=True, bidirectional=both, dtype=torch.float64)
    for place, suffix in places.items():
        start = f"1.{place}"
        own = {k.removeprefix(start): v for k, v in net.named_parameters().items() if k.startswith(start)}
        give(torch, module, own, suffix)
    W = torch.tensor(net.named_parameters()["0.W"], requires_grad=True)
    x = torch.nn.functional.embedding(torch.tensor(words), W)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    states, ends = module(packed)
    ends = ends[0] if isinstance(layer, mn.LSTM) else ends
    expected = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)[0]
    expected = ends.transpose(0, 1).flatten(1) if last else expected
    expected.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(net.named_gradients()["0.W"], W.grad.numpy(), rtol=0, atol=1e-11)
    for place, suffix in places.items():
        start = f"1.{place}"
        gradients = {k.removeprefix(start): v for k, v in net.named_gradients().items() if k.startswith(start)}
        assert_gradients_equal(module, gradients, suffix)


@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_equals_pytorchs(causal, torch):
    net = mn.Net([mn.SelfAttention(2, causal=causal)], (5, 6), dtype=np.float64)
    module = torch.nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None

    def build(x, W_in, W_out, b_in, b_out):
        given = {"in_proj_weight": W_in.T, "in_proj_bias": b_in, "out_proj.weight": W_out.T, "out_proj.bias": b_out}
        options = {"attn_mask": hidden, "need_weights": False}
        return torch.func.functional_call(module, given, (x, x, x), options)[0]

    assert_parity(net, torch, build, some_input((7, 5, 6), 1.0))


def of_torchs(W_q, W_kv, W_out, b_q, b_kv, b_out, torch):
    """What PyTorch's MultiheadAttention calls the parameters of a CrossAttention."""
    width = len(b_q)
    names = {"in_proj_bias": torch.cat([b_q, b_kv]), "out_proj.weight": W_out.T, "out_proj.bias": b_out}
    k, v = W_kv.T[:width], W_kv.T[width:]
    if W_kv.shape[0] == width:
        return names | {"in_proj_weight": torch.cat([W_q.T, k, v])}
    return names | {"q_proj_weight": W_q.T, "k_proj_weight": k, "v_proj_weight": v}


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(("time", "others", "features"), [(4, 3, 6), (1, 7, 5), (33, 1, 3), (3, 70, 6)])
def test_cross_attention_equals_pytorchs(time, others, features, heads, torch):
    memory = [mn.Slice(0, 6 * others), mn.Reshape((others, 6))] + ([mn.Dense(features)] if features != 6 else [])
    queries = [mn.Slice(6 * others, 6 * (others + time)), mn.Reshape((time, 6))]
    net = mn.Net([mn.CrossAttention(heads, memory, queries)], 6 * (others + time), dtype=np.float64)
    rng = np.random.default_rng(1)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    x = some_input((3, 6 * (others + time)), 1.0)
    y = net.forward(x).copy()
    cotangent, dx = rng.standard_normal(y.shape), np.empty_like(x)
    net.backward(cotangent, dx)
    module = torch.nn.MultiheadAttention(6, heads, kdim=features, vdim=features, batch_first=True, dtype=torch.float64)

    def build(x, W=None, b=None, **given):
        keys, asking = x[:, : 6 * others].reshape(3, others, 6), x[:, 6 * others :].reshape(3, time, 6)
        keys = keys if W is None else keys @ W + b
        given = of_torchs(**given, torch=torch)
        return torch.func.functional_call(module, given, (asking, keys, keys), {"need_weights": False})[0]

    parameters = {name.rpartition(".")[2]: view for name, view in net.named_parameters().items()}
    expected, gradients = backward_of(torch, build, x, cotangent, **parameters)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(dx, gradients["x"], rtol=0, atol=1e-11)
    for name, gradient in net.named_gradients().items():
        np.testing.assert_allclose(gradient, gradients[name.rpartition(".")[2]], err_msg=name, rtol=0, atol=1e-11)


def test_cross_attention_that_leaves_padding_out_equals_pytorchs(torch):
    layer = mn.CrossAttention(2, memory=mn.Slice(1, 5), queries=mn.Slice(5, 8), padding=0, first=1)
    net = mn.Net([mn.Embedding(5, 6), layer], 8, dtype=np.float64)
    words = np.array([[0, 1, 2, 3, 4, 0, 1, 2], [1, 0, 2, 2, 0, 1, 0, 0], [0, 4, 0, 0, 0, 3, 3, 3]])
    module = torch.nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)

    def build(x, W, **given):
        options = {"key_padding_mask": torch.tensor(words[:, 1:5] == 0), "need_weights": False}
        x = torch.nn.functional.embedding(torch.tensor(words), W) + x
        inputs = x[:, 5:], x[:, 1:5], x[:, 1:5]
        return torch.func.functional_call(module, of_torchs(**given, torch=torch), inputs, options)[0]

    rng = np.random.default_rng(1)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    y = net.forward(words).copy()
    cotangent = rng.standard_normal(y.shape)
    net.backward(cotangent)
    parameters = {name.partition(".")[2]: view for name, view in net.named_parameters().items()}
    expected, gradients = backward_of(torch, build, np.zeros((3, 8, 6)), cotangent, **parameters)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)
    for name, gradient in net.named_gradients().items():
        np.testing.assert_allclose(gradient, gradients[name.partition(".")[2]], err_msg=name, rtol=0, atol=1e-11)


def test_attention_that_leaves_padding_out_equals_pytorchs(torch):
    layer = mn.SelfAttention(2, padding=0)
    net = mn.Net([mn.Embedding(5, 6), layer], 4, dtype=np.float64)
    words = np.array([[1, 2, 3, 4], [0, 2, 2, 0], [4, 0, 0, 0]])
    module = torch.nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)

    def build(x, W, W_in, W_out, b_in, b_out):
        given = {"in_proj_weight": W_in.T, "in_proj_bias": b_in, "out_proj.weight": W_out.T, "out_proj.bias": b_out}
        options = {"key_padding_mask": torch.tensor(words == 0), "need_weights": False}
        x = torch.nn.functional.embedding(torch.tensor(words), W) + x
        return torch.func.functional_call(module, given, (x, x, x), options)[0]

    rng = np.random.default_rng(1)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    y = net.forward(words).copy()
    cotangent = rng.standard_normal(y.shape)
    net.backward(cotangent)
    parameters = {name.partition(".")[2]: view for name, view in net.named_parameters().items()}
    expected, gradients = backward_of(torch, build, np.zeros(y.shape), cotangent, **parameters)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)
    for name, gradient in net.named_gradients().items():
        np.testing.assert_allclose(gradient, gradients[name.partition(".")[2]], err_msg=name, rtol=0, atol=1e-11)


def test_tied_embeddings_equal_pytorchs(torch):
    net = mn.Net([mn.TiedEmbedding(mn.Embedding(5, 6), mn.Dense(6))], 4, dtype=np.float64)
    rng = np.random.default_rng(1)
    words, cotangent = rng.integers(0, 5, (3, 4)), rng.standard_normal((3, 4, 5))
    y = net.forward(words).copy()
    net.backward(cotangent)
    names = {"W": "0.embedding.W", "V": "0.layers.W", "b": "0.layers.b"}

    def build(x, W, V, b):
        h = torch.nn.functional.embedding(torch.tensor(words), W) + x
        return torch.nn.functional.linear(h @ V + b, W)

    parameters = {name: net.named_parameters()[own] for name, own in names.items()}
    expected, gradients = backward_of(torch, build, np.zeros((3, 4, 6)), cotangent, **parameters)
    np.testing.assert_allclose(y, expected, **CLOSE)
    for name, own in names.items():
        np.testing.assert_allclose(net.named_gradients()[own], gradients[name], err_msg=name, **CLOSE)


def test_patch_embedding_equals_pytorchs_convolution(torch):
    net = mn.Net([mn.PatchEmbedding(5, (2, 3))], (4, 9, 3), dtype=np.float64)

    def build(x, W, b):
        filters = W.reshape(2, 3, 3, 5).permute(3, 2, 0, 1)
        y = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), filters, b, stride=(2, 3))
        return y.flatten(2).transpose(1, 2)

    assert_parity(net, torch, build, some_input((7, 4, 9, 3)))


def torchs_block(torch, width, heads, hidden, norm_first):
    options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": norm_first}
    return torch.nn.TransformerEncoderLayer(width, heads, hidden, dtype=torch.float64, **options)


def block(heads, hidden, width, norm_first):
    """Layers of one transformer block, and for each tensor of PyTorch's the name here. Weights are transposes."""
    attention, mlp = mn.SelfAttention(heads), [mn.Dense(hidden), mn.GELU(), mn.Dense(width)]
    if norm_first:
        layers = [mn.Residual([mn.LayerNorm(), attention]), mn.Residual([mn.LayerNorm(), *mlp])]
        at, up, down = "0.layers.1.", "1.layers.1.", "1.layers.3."
        norms = "0.layers.0.", "1.layers.0."
    else:
        layers = [mn.Residual(attention), mn.LayerNorm(), mn.Residual(mlp), mn.LayerNorm()]
        at, up, down = "0.layers.", "2.layers.0.", "2.layers.2."
        norms = "1.", "3."
    names = {"self_attn.in_proj_weight": f"{at}W_in", "self_attn.out_proj.weight": f"{at}W_out"}
    names |= {"self_attn.in_proj_bias": f"{at}b_in", "self_attn.out_proj.bias": f"{at}b_out"}
    for linear, place in (("linear1", up), ("linear2", down)):
        names |= {f"{linear}.weight": f"{place}W", f"{linear}.bias": f"{place}b"}
    for norm, place in zip(("norm1", "norm2"), norms, strict=True):
        names |= {f"{norm}.weight": f"{place}gamma", f"{norm}.bias": f"{place}beta"}
    return layers, names


@pytest.mark.parametrize("norm_first", [True, False], ids=["pre-norm", "post-norm"])
def test_a_transformer_block_equals_pytorchs(norm_first, torch):
    layers, names = block(2, 10, 6, norm_first)
    net, theirs = mn.Net(layers, (5, 6), dtype=np.float64), torchs_block(torch, 6, 2, 10, norm_first)
    rng = np.random.default_rng(1)
    net.params += 0.1 * rng.standard_normal(net.params.size)
    x = some_input((7, 5, 6), 1.0)
    y = net.forward(x).copy()
    cotangent, dx = rng.standard_normal(y.shape), np.empty_like(x)
    net.backward(cotangent, dx)

    ours = net.named_parameters()
    theirs.load_state_dict({name: torch.tensor(ours[own].T) for name, own in names.items()})
    given = torch.tensor(x, requires_grad=True)
    expected = theirs(given)
    expected.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(dx, given.grad.numpy(), rtol=0, atol=1e-11)
    gradients = net.named_gradients()
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(gradients[names[name]], parameter.grad.numpy().T, err_msg=name, rtol=0, atol=1e-11)


def test_prelu_equals_pytorchs(torch):
    # PyTorch has the channels on axis 1, minnet on the last.
    net = mn.Net([mn.PReLU()], (3, 6), dtype=np.float64)

    def build(x, a):
        return torch.nn.functional.prelu(x.transpose(1, 2), a).transpose(1, 2)

    assert_parity(net, torch, build, some_input((7, 3, 6)))


def test_layer_norm_equals_pytorchs(torch):
    net = mn.Net([mn.LayerNorm(eps=1e-3)], (3, 6), dtype=np.float64)

    def build(x, gamma, beta):
        return torch.nn.functional.layer_norm(x, (6,), gamma, beta, eps=1e-3)

    assert_parity(net, torch, build, some_input((7, 3, 6)))


def with_channels_second(function, x):
    """``function`` of x with its last axis second, and its result with the axis last again."""
    return function(x.movedim(-1, 1)).movedim(1, -1)


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((6,), 3), ((1, 1, 4), 2), ((5, 3, 1), 1), ((4, 6, 17), 1), ((4, 6, 17), 17), ((8, 8, 12), 4)],
    ids=str,
)
def test_group_norm_equals_pytorchs(shape, groups, torch):
    net = mn.Net([mn.GroupNorm(groups, eps=1e-3)], shape, dtype=np.float64)

    def build(x, gamma, beta):
        group_norm = torch.nn.functional.group_norm
        return with_channels_second(lambda x: group_norm(x, groups, gamma, beta, eps=1e-3), x)

    assert_parity(net, torch, build, some_input((7, *shape)), training=True)


@pytest.mark.parametrize("shape", [(5, 3, 1), (4, 6, 17), (16, 16, 4)], ids=str)
def test_instance_norm_equals_pytorchs_instance_norm_2d(shape, torch):
    net = mn.Net([mn.InstanceNorm(eps=1e-3)], shape, dtype=np.float64)

    def build(x, gamma, beta):
        module = torch.nn.InstanceNorm2d(shape[-1], eps=1e-3, affine=True, dtype=torch.float64)
        return with_channels_second(
            lambda x: torch.func.functional_call(module, {"weight": gamma, "bias": beta}, (x,)), x
        )

    assert_parity(net, torch, build, some_input((7, *shape)), training=True)


def batch_norm(torch, x, mean, var, gamma, beta, training, momentum=0.1):
    """PyTorch's batch norm of (..., features)."""
    rows = x.reshape(-1, x.shape[-1])
    y = torch.nn.functional.batch_norm(rows, mean, var, gamma, beta, training=training, momentum=momentum, eps=1e-3)
    return y.reshape(x.shape)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("shape", [(6,), (5, 6), (8, 8, 6)], ids=str)
def test_batch_norm_equals_pytorchs(shape, training, torch):
    net = mn.Net([mn.BatchNorm(eps=1e-3)], shape, dtype=np.float64)
    rng = np.random.default_rng(2)
    net.named_buffers()["0.running_mean"][:] = rng.standard_normal(6)
    net.named_buffers()["0.running_var"][:] = rng.uniform(0.5, 2.0, 6)
    mean, var = (torch.tensor(view.copy()) for view in net.named_buffers().values())

    def build(x, gamma, beta):
        return batch_norm(torch, x, mean, var, gamma, beta, training)

    assert_parity(net, torch, build, some_input((7, *shape)), training)


def test_batch_norms_running_statistics_equal_pytorchs(torch):
    # PyTorch's momentum is 1 - minnet's, and its running variance takes the batch's unbiased one: times n / (n - 1).
    net = mn.Net([mn.BatchNorm(momentum=0.8, eps=1e-3)], 6, dtype=np.float64)
    mean, var = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    steps, n = 5, 7
    for step in range(steps):
        x = some_input((n, 6)) + step
        net.forward(x, training=True)
        batch_norm(torch, torch.tensor(x), mean, var, None, None, training=True, momentum=0.2)
    running = net.named_buffers()
    np.testing.assert_allclose(running["0.running_mean"], mean.numpy(), **CLOSE)
    of_start = 0.8**steps  # what is left of the first variance, 1, which is no batch's
    np.testing.assert_allclose(
        (running["0.running_var"] - of_start) * n / (n - 1), var.numpy() - of_start, rtol=1e-13, atol=0
    )


# Losses ------------------------------------------------------------------------------------------------------

N, CLASSES = 7, 5


def labels():
    return np.array([0, 4, 2, 2, 1, 3, 0])


def numbers():
    return np.random.default_rng(5).standard_normal((N, CLASSES))


def probabilities():
    return np.random.default_rng(5).uniform(0, 1, (N, CLASSES))


def distributions():
    rows = np.random.default_rng(5).uniform(0, 1, (N, CLASSES)) ** 3
    return rows / rows.sum(axis=1, keepdims=True)


CLASS_WEIGHTS = (0.5, 2.0, 1.0, 0.0, 3.0)

# (loss, targets, PyTorch's). minnet sums over the outputs and takes the mean over the samples.
LOSSES = [
    (mn.SoftmaxCrossEntropy(), labels, lambda torch, f, s, t: f.cross_entropy(s, t)),
    (
        mn.SoftmaxCrossEntropy(label_smoothing=0.1),
        labels,
        lambda torch, f, s, t: f.cross_entropy(s, t, label_smoothing=0.1),
    ),
    (
        mn.SoftmaxCrossEntropy(class_weights=CLASS_WEIGHTS),
        labels,
        lambda torch, f, s, t: f.cross_entropy(s, t, weight=torch.tensor(CLASS_WEIGHTS, dtype=torch.float64)),
    ),
    *(
        (
            mn.SoftmaxCrossEntropy(label_smoothing=smoothing, class_weights=weights, ignored=ignored),
            targets,
            lambda torch, f, s, t, e=smoothing, w=weights, i=ignored: f.cross_entropy(
                s,
                t,
                weight=None if w is None else torch.tensor(w, dtype=torch.float64),
                label_smoothing=e,
                ignore_index=-100 if i is None else i,
            ),
        )
        for smoothing, weights, ignored, targets in [
            (0.1, CLASS_WEIGHTS, None, labels),
            (0.6, CLASS_WEIGHTS, 2, labels),
            (0.0, None, 2, labels),
            (0.3, None, 0, labels),
            (0.0, CLASS_WEIGHTS, 1, labels),
            (0.0, None, None, distributions),
            (0.3, None, None, distributions),
            (0.0, CLASS_WEIGHTS, None, distributions),
            (0.3, CLASS_WEIGHTS, None, distributions),
        ]
    ),
    # PyTorch divides by the number of classes.
    (mn.MulticlassHinge(), labels, lambda torch, f, s, t: CLASSES * f.multi_margin_loss(s, t)),
    (mn.MulticlassHinge(margin=0.3), labels, lambda torch, f, s, t: CLASSES * f.multi_margin_loss(s, t, margin=0.3)),
    (mn.SquaredHinge(), labels, lambda torch, f, s, t: CLASSES * f.multi_margin_loss(s, t, p=2)),
    (
        mn.Logistic(),
        probabilities,
        lambda torch, f, s, t: f.binary_cross_entropy_with_logits(s, t, reduction="sum") / N,
    ),
    (mn.SquaredError(), numbers, lambda torch, f, s, t: f.mse_loss(s, t, reduction="sum") / N),
    (mn.AbsoluteError(), numbers, lambda torch, f, s, t: f.l1_loss(s, t, reduction="sum") / N),
    (mn.Huber(0.6), numbers, lambda torch, f, s, t: f.huber_loss(s, t, reduction="sum", delta=0.6) / N),
]


@pytest.mark.parametrize(
    ("loss", "targets", "function"), LOSSES, ids=lambda v: str(v) if isinstance(v, mn.Loss) else ""
)
def test_a_loss_equals_pytorchs(loss, targets, function, torch):
    s, t = some_input((N, CLASSES), 2.0), targets()
    gradient = np.full_like(s, np.nan)
    value = loss.value_and_gradient(s, t, gradient)
    scores = torch.tensor(s, requires_grad=True)
    expected = function(torch, torch.nn.functional, scores, torch.tensor(t))
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient, scores.grad.numpy(), **CLOSE)


@pytest.mark.parametrize("weights", [None, CLASS_WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("shape", [(3,), (2, 3)], ids=["time", "image"])
def test_the_loss_at_positions_equals_pytorchs(shape, weights, torch):
    # PyTorch has the classes on axis 1.
    loss = mn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=weights, ignored=-100)
    s = some_input((N, *shape, CLASSES), 2.0)
    t = np.random.default_rng(1).integers(0, CLASSES, (N, *shape))
    t[np.random.default_rng(2).random(t.shape) < 0.3] = -100
    gradient, scores = np.full_like(s, np.nan), torch.tensor(s, requires_grad=True)
    value = loss.value_and_gradient(s, t, gradient)
    given = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    of = torch.nn.functional.cross_entropy
    expected = of(scores.movedim(-1, 1), torch.tensor(t), weight=given, label_smoothing=0.1, ignore_index=-100)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient, scores.grad.numpy(), **CLOSE)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, CLASS_WEIGHTS], ids=["alike", "weighted"])
def test_masked_scores_cost_what_they_cost_in_pytorch(weights, smoothing, torch):
    loss = mn.SoftmaxCrossEntropy(label_smoothing=smoothing, class_weights=weights)
    s, t = some_input((4, CLASSES), 2.0), np.array([0, 1, 2, 4])
    s[0, 1] = s[1, 3:] = s[2, 3] = -np.inf
    given = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(s), torch.tensor(t), weight=given, label_smoothing=smoothing
    )
    if weights is not None and smoothing > 0:
        assert math.isnan(expected.item())  # PyTorch has 0 * infinity at a class that weighs nothing
        assert loss(s, t) == np.inf
    else:
        assert loss(s, t) == pytest.approx(expected.item(), rel=1e-13)


# Whole networks over 50 steps --------------------------------------------------------------------------------

INPUTS, HIDDEN, STEPS, BATCH = 20, (32, 16), 50, 16


def three_layers():
    return [mn.Dense(HIDDEN[0]), mn.ReLU(), mn.Dense(HIDDEN[1]), mn.Tanh(), mn.Dense(CLASSES)]


def batches():
    """Fifty batches, the last of each five a short one, from a problem with something to learn."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((STEPS * BATCH, INPUTS))
    y = (x @ rng.standard_normal((INPUTS, CLASSES))).argmax(axis=1)
    for step in range(STEPS):
        size = 5 if step % 5 == 4 else BATCH
        part = slice(step * BATCH, step * BATCH + size)
        yield x[part], y[part]


def twin_of_three_layers(torch, net):
    """PyTorch's network with the same weights; returns it and its weights and biases under minnet's names."""
    nn = torch.nn
    model = nn.Sequential(
        nn.Linear(INPUTS, HIDDEN[0]),
        nn.ReLU(),
        nn.Linear(HIDDEN[0], HIDDEN[1]),
        nn.Tanh(),
        nn.Linear(HIDDEN[1], CLASSES),
    ).double()
    names = {
        f"{i}.{kind}": getattr(model[i], word) for i in (0, 2, 4) for kind, word in (("W", "weight"), ("b", "bias"))
    }
    model.load_state_dict(mn.to_torch(net))
    return model, names


# (name, minnet's rule and decoupled decay, PyTorch's optimizer, lr)
RULES = [
    ("SGD", mn.SGD(), 0.0, lambda optim, p, lr: optim.SGD(p, lr), 0.3),
    (
        "Momentum",
        mn.Momentum(0.9, lr_in_velocity=False),
        0.0,
        lambda optim, p, lr: optim.SGD(p, lr, momentum=0.9),
        0.05,
    ),
    (
        "Nesterov",
        mn.Nesterov(0.9, lr_in_velocity=False),
        0.0,
        lambda optim, p, lr: optim.SGD(p, lr, momentum=0.9, nesterov=True),
        0.05,
    ),
    ("Adagrad", mn.Adagrad(eps=1e-10), 0.0, lambda optim, p, lr: optim.Adagrad(p, lr), 0.05),
    (
        "Adagrad from 0.1",
        mn.Adagrad(eps=1e-10, initial=0.1),
        0.0,
        lambda optim, p, lr: optim.Adagrad(p, lr, initial_accumulator_value=0.1),
        0.05,
    ),
    ("RMSprop", mn.RMSprop(), 0.0, lambda optim, p, lr: optim.RMSprop(p, lr), 0.01),
    ("Adadelta", mn.Adadelta(rho=0.9), 0.0, lambda optim, p, lr: optim.Adadelta(p, lr), 1.0),
    ("Adam", mn.Adam(), 0.0, lambda optim, p, lr: optim.Adam(p, lr), 0.01),
    (
        "Adam with other constants",
        mn.Adam(beta1=0.8, beta2=0.95, eps=1e-3),
        0.0,
        lambda optim, p, lr: optim.Adam(p, lr, betas=(0.8, 0.95), eps=1e-3),
        0.01,
    ),
    ("AdamW", mn.Adam(), 0.1, lambda optim, p, lr: optim.AdamW(p, lr), 0.01),
    (
        "AMSGrad",
        mn.AMSGrad(bias_correction=True),
        0.1,
        lambda optim, p, lr: optim.AdamW(p, lr, amsgrad=True),
        0.01,
    ),
    ("AdaMax", mn.AdaMax(), 0.0, lambda optim, p, lr: optim.Adamax(p, lr), 0.01),
    (
        "RAdam",
        mn.RAdam(threshold=5.0),
        0.1,
        lambda optim, p, lr: optim.RAdam(p, lr, decoupled_weight_decay=True),
        0.05,
    ),
]


def train_both(torch, rule, decay, make_optimizer, lr, l2=0.0, clip_norm=None):
    """Train both for 50 steps, comparing every loss; returns minnet's net and PyTorch's parameters by name."""
    rates = [lr(step) if callable(lr) else lr for step in range(STEPS)]
    net = mn.Net(three_layers(), INPUTS, mn.SoftmaxCrossEntropy(), l2=l2, dtype=np.float64, seed=7)
    optimizer = mn.Optimizer(net, rule, weight_decay=decay, clip_norm=clip_norm)
    model, names = twin_of_three_layers(torch, net)
    # Decay and penalty are for weights; l2 / 2 * sum(w^2) adds l2 * w to the gradient, PyTorch's coupled decay.
    groups = [
        {"params": [p for name, p in names.items() if name.endswith(kind)], "weight_decay": strength}
        for kind, strength in (("W", decay or l2), ("b", 0.0))
    ]
    other = make_optimizer(torch.optim, groups, rates[0])
    losses = []
    for (x, y), rate in zip(batches(), rates, strict=True):
        net.loss_and_grads(x, y)
        optimizer.step(rate)
        other.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        if clip_norm is not None:
            # PyTorch's own clipping adds 1e-6 to the norm.
            norm = float(torch.cat([p.grad.reshape(-1) for p in model.parameters()]).norm())
            for p in model.parameters():
                p.grad *= min(1.0, clip_norm / norm)
        for group in other.param_groups:
            group["lr"] = rate
        other.step()
        assert net.objective.data == pytest.approx(loss.item(), abs=1e-10)
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10]), "nothing was learned, so little was compared"
    return net, {name: (p.T if p.ndim == 2 else p).detach().numpy() for name, p in names.items()}


def assert_equal_parameters(net, expected):
    for name, view in net.named_parameters().items():
        np.testing.assert_allclose(view, expected[name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize(("rule", "decay", "other", "lr"), [r[1:] for r in RULES], ids=[r[0] for r in RULES])
def test_fifty_steps_of_a_three_layer_net_equal_pytorchs(rule, decay, other, lr, torch):
    assert_equal_parameters(*train_both(torch, rule, decay, other, lr))


@pytest.mark.parametrize("rule", [mn.Momentum(0.9), mn.Nesterov(0.9), mn.NesterovLookAhead(0.9)], ids=str)
def test_at_a_constant_rate_the_place_of_lr_in_the_velocity_does_not_matter(rule, torch):
    nesterov = not isinstance(rule, mn.Momentum)

    def make(optim, p, lr):
        return optim.SGD(p, lr, momentum=0.9, nesterov=nesterov)

    assert_equal_parameters(*train_both(torch, rule, 0.0, make, 0.05))


def test_the_rate_of_a_schedule_acts_as_pytorchs_does(torch):
    lr = mn.schedules.Cosine(0.1, steps=STEPS)
    rule = mn.Momentum(0.9, lr_in_velocity=False)
    assert_equal_parameters(*train_both(torch, rule, 0.0, lambda optim, p, r: optim.SGD(p, r, momentum=0.9), lr))


def test_the_l2_penalty_equals_pytorchs_coupled_decay(torch):
    assert_equal_parameters(*train_both(torch, mn.Adam(), 0.0, lambda optim, p, lr: optim.Adam(p, lr), 0.01, l2=0.05))


def test_clipping_by_the_global_norm_equals_pytorchs(torch):
    def make(optim, p, lr):
        return optim.SGD(p, lr)

    clipped = train_both(torch, mn.SGD(), 0.0, make, 0.3, clip_norm=0.5)
    assert_equal_parameters(*clipped)
    free, _ = train_both(torch, mn.SGD(), 0.0, make, 0.3)
    assert np.abs(free.params - clipped[0].params).max() > 0.01, "the bound was never met"


def test_a_deep_mixed_net_equals_pytorchs_over_fifty_steps(torch):
    """Normalisation over the batch and over features, a residual block, gelu and prelu, trained with AdamW."""
    layers = [
        mn.Dense(24),
        mn.BatchNorm(momentum=0.9),
        mn.PReLU(),
        mn.Residual([mn.LayerNorm(), mn.Dense(24), mn.GELU(), mn.Dense(24)]),
        mn.Residual([mn.Dense(12), mn.SiLU()], shortcut=[mn.Dense(12, bias=False)]),
        mn.Dense(CLASSES),
    ]
    net = mn.Net(layers, INPUTS, mn.SoftmaxCrossEntropy(label_smoothing=0.1), dtype=np.float64, seed=1)
    weights = {name: torch.tensor(view.copy(), requires_grad=True) for name, view in net.named_parameters().items()}
    mean, var = torch.zeros(24, dtype=torch.float64), torch.ones(24, dtype=torch.float64)
    f = torch.nn.functional

    def dense(x, place, bias=True):
        return x @ weights[f"{place}.W"] + (weights[f"{place}.b"] if bias else 0)

    def forward(x):
        x = dense(x, "0")
        x = f.batch_norm(x, mean, var, weights["1.gamma"], weights["1.beta"], training=True, momentum=0.1)
        x = f.prelu(x, weights["2.a"])
        inner = f.layer_norm(x, (24,), weights["3.layers.0.gamma"], weights["3.layers.0.beta"])
        x = x + dense(f.gelu(dense(inner, "3.layers.1")), "3.layers.3")
        x = f.silu(dense(x, "4.layers.0")) + dense(x, "4.shortcut.0", bias=False)
        return dense(x, "5")

    optimizer = mn.Optimizer(net, mn.Adam(), weight_decay=0.1)
    groups = [
        {"params": [p for name, p in weights.items() if name.endswith(".W") == heavy], "weight_decay": 0.1 * heavy}
        for heavy in (True, False)
    ]
    other = torch.optim.AdamW(groups, lr=0.003)
    for x, y in batches():
        value = net.loss_and_grads(x, y)
        optimizer.step(0.003)
        other.zero_grad()
        loss = f.cross_entropy(forward(torch.tensor(x)), torch.tensor(y), label_smoothing=0.1)
        loss.backward()
        other.step()
        assert value == pytest.approx(loss.item(), abs=1e-10)
    for name, view in net.named_parameters().items():
        # The gradient of a bias in front of a batch norm is 0. What is computed is round-off, which Adam divides by
        # its own size, so either side walks at random; the normalisation takes the walk out again.
        if name != "0.b":
            np.testing.assert_allclose(view, weights[name].detach().numpy(), rtol=0, atol=1e-10, err_msg=name)


def channels_first(images):
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def other_way(W, groups=1):
    """The weights (F, C / groups, kh, kw) of a convolution as PyTorch's transposed one has them, (C, F / groups, ...).

    There they are those of the convolution that goes the other way: turned, with channels and filters exchanged.
    """
    split = W.flip(2, 3).unflatten(0, (groups, -1))
    return split.transpose(1, 2).flatten(0, 1)


IMAGE_LAYERS = {
    "conv same": (
        mn.Conv2D(5, 3),
        lambda F, x, p: F.conv2d(x, p["W"], p["b"], padding=1),
    ),
    "conv strided": (
        mn.Conv2D(34, 3, stride=2, padding=2, bias=False),
        lambda F, x, p: F.conv2d(x, p["W"], stride=2, padding=2),
    ),
    "conv dilated": (
        mn.Conv2D(4, (3, 2), padding="valid", dilation=2),
        lambda F, x, p: F.conv2d(x, p["W"], p["b"], dilation=2),
    ),
    "conv grouped": (
        mn.Conv2D(6, 3, groups=3, padding=1),
        lambda F, x, p: F.conv2d(x, p["W"], p["b"], padding=1, groups=3),
    ),
    "depthwise": (
        mn.Conv2D(6, 3, groups=6, padding=1, stride=2),
        lambda F, x, p: F.conv2d(x, p["W"], p["b"], padding=1, groups=6, stride=2),
    ),
    "transposed": (
        mn.ConvTranspose2D(5, 3, padding=1),
        lambda F, x, p: F.conv_transpose2d(x, other_way(p["W"]), p["b"], padding=1),
    ),
    "transposed, strided": (
        mn.ConvTranspose2D(34, (3, 2), stride=2, padding=1, output_padding=1, bias=False),
        lambda F, x, p: F.conv_transpose2d(x, other_way(p["W"]), stride=2, padding=1, output_padding=1),
    ),
    "transposed, valid": (
        mn.ConvTranspose2D(4, 3, stride=2, padding="valid"),
        lambda F, x, p: F.conv_transpose2d(x, other_way(p["W"]), p["b"], stride=2),
    ),
    "transposed, stride beyond the window": (
        mn.ConvTranspose2D(4, 2, stride=3, padding="valid"),
        lambda F, x, p: F.conv_transpose2d(x, other_way(p["W"]), p["b"], stride=3, output_padding=1),
    ),
    "transposed, same": (
        mn.ConvTranspose2D(4, 5, stride=2),  # 3 to cut off: 1 at the top and left, 2 at the bottom and right
        lambda F, x, p: F.conv_transpose2d(x, other_way(p["W"]), p["b"], stride=2)[:, :, 1:-2, 1:-2],
    ),
    "transposed, dilated": (
        mn.ConvTranspose2D(4, (3, 2), stride=3, padding=2, output_padding=2, dilation=2),
        lambda F, x, p: F.conv_transpose2d(
            x, other_way(p["W"]), p["b"], stride=3, padding=2, output_padding=2, dilation=2
        ),
    ),
    "transposed, grouped": (
        mn.ConvTranspose2D(9, 3, groups=3, stride=2, padding=1),
        lambda F, x, p: F.conv_transpose2d(x, other_way(p["W"], 3), p["b"], stride=2, padding=1, groups=3),
    ),
    "transposed, depthwise": (
        mn.ConvTranspose2D(6, 2, groups=6, stride=2, padding=0),
        lambda F, x, p: F.conv_transpose2d(x, other_way(p["W"], 6), p["b"], stride=2, groups=6),
    ),
    "max pool": (mn.MaxPool2D(3, 2, 1), lambda F, x, p: F.max_pool2d(x, 3, 2, 1)),
    "mean pool": (mn.AvgPool2D(3, 2, 1), lambda F, x, p: F.avg_pool2d(x, 3, 2, 1)),
    "mean pool, uncounted": (
        mn.AvgPool2D(3, 2, 1, count_padding=False),
        lambda F, x, p: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    "conv by axis": (
        mn.Conv2D(4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3)),
        lambda F, x, p: F.conv2d(x, p["W"], p["b"], stride=(2, 1), padding=(1, 2), dilation=(1, 3)),
    ),
    "conv by axis, grouped": (
        mn.Conv2D(6, 3, stride=(1, 3), padding=(2, 0), dilation=(2, 1), groups=3),
        lambda F, x, p: F.conv2d(x, p["W"], p["b"], stride=(1, 3), padding=(2, 0), dilation=(2, 1), groups=3),
    ),
    "transposed by axis": (
        mn.ConvTranspose2D(4, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), dilation=(1, 2)),
        lambda F, x, p: F.conv_transpose2d(
            x, other_way(p["W"]), p["b"], stride=(2, 3), padding=(1, 0), output_padding=(1, 2), dilation=(1, 2)
        ),
    ),
    "max pool by axis": (
        mn.MaxPool2D((3, 2), (2, 1), (1, 0)),
        lambda F, x, p: F.max_pool2d(x, (3, 2), (2, 1), (1, 0)),
    ),
    "max pool, ceil": (mn.MaxPool2D(2, ceil_mode=True), lambda F, x, p: F.max_pool2d(x, 2, ceil_mode=True)),
    "max pool, ceil, padded": (
        mn.MaxPool2D((2, 4), (3, 3), (1, 2), ceil_mode=True),
        lambda F, x, p: F.max_pool2d(x, (2, 4), (3, 3), (1, 2), ceil_mode=True),
    ),
    "mean pool by axis": (
        mn.AvgPool2D((3, 2), (2, 1), (1, 0)),
        lambda F, x, p: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0)),
    ),
    "mean pool, ceil": (mn.AvgPool2D(2, ceil_mode=True), lambda F, x, p: F.avg_pool2d(x, 2, ceil_mode=True)),
    "mean pool, ceil, padded": (
        mn.AvgPool2D((4, 3), (3, 2), (2, 1), ceil_mode=True),
        lambda F, x, p: F.avg_pool2d(x, (4, 3), (3, 2), (2, 1), ceil_mode=True),
    ),
    "mean pool, ceil, uncounted": (
        mn.AvgPool2D((4, 3), (3, 2), (2, 1), count_padding=False, ceil_mode=True),
        lambda F, x, p: F.avg_pool2d(x, (4, 3), (3, 2), (2, 1), ceil_mode=True, count_include_pad=False),
    ),
    "upsample": (mn.Upsample(2), lambda F, x, p: F.interpolate(x, scale_factor=2, mode="nearest")),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", IMAGE_LAYERS)
def test_a_layer_of_images_equals_pytorchs(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    layer, function = IMAGE_LAYERS[name]
    rng = np.random.default_rng(0)
    net = mn.Net([layer], (9, 8, 6), dtype=np.float64)
    net.params = rng.standard_normal(net.params.size)
    x = rng.standard_normal((3, 9, 8, 6))
    y = net.forward(x, training=True).copy()
    dy, dx = rng.standard_normal(y.shape), np.empty_like(x)
    net.backward(dy, dx)

    given = torch.tensor(channels_first(x), requires_grad=True)
    # W (kh, kw, C, F) is (F, C, kh, kw) there.
    values = {key.removeprefix("0."): value for key, value in net.named_parameters().items()}
    axes = {"W": (3, 2, 0, 1), "b": (0,)}
    params = {key: torch.tensor(value.transpose(axes[key]).copy(), requires_grad=True) for key, value in values.items()}
    out = function(torch.nn.functional, given, params)
    out.backward(torch.tensor(channels_first(dy)))
    np.testing.assert_allclose(channels_first(y), out.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(channels_first(dx), given.grad.numpy(), atol=1e-12)
    for key, gradient in net.named_gradients().items():
        key = key.removeprefix("0.")
        np.testing.assert_allclose(gradient.transpose(axes[key]), params[key].grad.numpy(), atol=1e-11)
