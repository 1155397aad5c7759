"""Files of ONNX: onnx's checker takes them, and onnxruntime computes what ``predict`` returns."""

from dataclasses import dataclass

import numpy as np
import pytest

import minnet as mn

WORDS, TIME = 7, 5
IMAGE, SEQUENCE = (7, 6, 4), (TIME, 6)

CASES = {
    "Dense": ([mn.Dense(4), mn.Dense(3, bias=False)], 5),
    "Dense on sequences": ([mn.Dense(4)], SEQUENCE),
    **{
        str(layer): ([layer], SEQUENCE)
        for layer in (
            *(mn.ReLU(), mn.LeakyReLU(0.2), mn.ELU(0.7), mn.SELU(), mn.GELU(), mn.GELUTanh(), mn.SiLU()),
            *(mn.Sigmoid(), mn.Tanh(), mn.Softplus(), mn.Maxout(3), mn.PReLU(), mn.Dropout(), mn.SpatialDropout()),
            *(mn.Flatten(), mn.Reshape((3, 10)), mn.Slice(1, 4), mn.PositionalEncoding()),
            *(mn.PositionalEncoding(learned=True), mn.LayerNorm(1e-3), mn.BatchNorm(), mn.GroupNorm(3)),
            *(mn.SelfAttention(2), mn.SelfAttention(3, causal=True, dropout=0.5)),
            *(mn.CrossAttention(2, mn.GRU(4)), mn.CrossAttention(3, [mn.Slice(0, 3), mn.Dense(4)], mn.Slice(3, 5))),
            *(mn.RNN(3), mn.RNN(3, relu=True, reverse=True), mn.LSTM(3), mn.GRU(3), mn.ChoGRU(3)),
            *(mn.LSTM(3, last=True), mn.GRU(3, last=True, reverse=True), mn.LSTM(3, streams=2)),
            *(mn.Bidirectional(mn.LSTM(3)), mn.Bidirectional(mn.GRU(3, last=True)), mn.Bidirectional(mn.RNN(3))),
        )
    },
    **{
        str(layer): ([layer], IMAGE)
        for layer in (
            *(mn.Conv2D(5, 3), mn.Conv2D(6, (3, 2), stride=2, padding=1, dilation=(1, 2), bias=False, groups=2)),
            *(mn.Conv2D(4, 3, groups=4, padding="valid"), mn.Conv2D(3, 4, stride=3)),
            *(mn.ConvTranspose2D(5, 3, stride=2), mn.ConvTranspose2D(4, 2, stride=3, padding="valid")),
            *(mn.ConvTranspose2D(6, (3, 2), stride=2, padding=1, output_padding=1, groups=2),),
            *(mn.MaxPool2D(2), mn.MaxPool2D(3, 2, 1, ceil_mode=True), mn.MaxPool2D(3, 2, "same")),
            *(mn.AvgPool2D(2), mn.AvgPool2D(3, 2, 1, ceil_mode=True)),
            *(mn.AvgPool2D(3, 2, 1, count_padding=False), mn.AvgPool2D((4, 3), (3, 2), (2, 1), ceil_mode=True)),
            *(mn.GlobalAvgPool2D(), mn.Upsample(2), mn.ZeroPad(((1, 2), (0, 3))), mn.PatchEmbedding(5, (7, 2))),
            *(mn.InstanceNorm(), mn.Maxout(2)),
        )
    },
    "layers of images": (
        [mn.Conv2D(4, 3), mn.BatchNorm(), mn.PReLU(), mn.MaxPool2D(2), mn.GroupNorm(2), mn.Upsample(), mn.Conv2D(2, 1),
         mn.SiLU(), mn.Flatten(), mn.Dense(3)], IMAGE),
    "an image as output": ([mn.Conv2D(3, 3), mn.Tanh()], IMAGE),
    "Residual": (
        [mn.Residual([mn.Conv2D(4, 3), mn.ReLU()]), mn.Residual([mn.Conv2D(3, 1)], shortcut=[mn.Conv2D(3, 1)])], IMAGE),
    "words": ([mn.Embedding(WORDS, 6, padding=0), mn.Chain([mn.SelfAttention(2, padding=0), mn.Dense(3)])], TIME),
    "words across": (
        [mn.Embedding(WORDS, 6), mn.CrossAttention(2, mn.Slice(0, 3), mn.Slice(2, 5), padding=0)], TIME),
    "tied words": ([mn.TiedEmbedding(mn.Embedding(WORDS, 6), [mn.Dense(6), mn.Tanh()])], TIME),
    "a first state": (
        [mn.InitialState(mn.LSTM(4), [mn.Slice(0, 4)], [mn.Slice(4, 19), mn.Reshape((5, 3))])], 19),
    "a first state beside all": ([mn.InitialState(mn.GRU(4), [mn.Flatten(), mn.Dense(4)])], SEQUENCE),
}  # fmt: skip


@pytest.fixture(scope="module")
def onnx():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: files of ONNX are not tested")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: files of ONNX are not tested")
    return onnx


def net_of(layers, shape, dtype=np.float32):
    net = mn.Net(layers, shape, dtype=dtype)
    rng = np.random.default_rng(1)
    net.params += (0.1 * rng.standard_normal(net.params.size)).astype(dtype)
    for name, view in net.named_buffers().items():
        view[...] = rng.uniform(0.5, 2.0, view.shape) if name.endswith("var") else 0.1
    return net


def samples(net, n):
    rng = np.random.default_rng(n)
    shape = (n, *net.input_shape)
    if not net.vocabulary:
        return rng.standard_normal(shape).astype(np.float32)
    words = rng.integers(0, net.vocabulary, shape)
    words[:, 0] = 1  # attention must see something
    return words


@pytest.mark.parametrize(("layers", "shape"), CASES.values(), ids=CASES)
def test_onnxruntime_computes_what_the_net_does(layers, shape, onnx, tmp_path):
    import onnxruntime

    net, path = net_of(layers, shape), tmp_path / "net.onnx"
    mn.to_onnx(net, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in (1, 4):
        x = samples(net, n)
        (y,) = session.run(["output"], {"input": x})
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, net.predict(x), rtol=2e-5, atol=2e-5)


def test_every_layer_of_minnet_has_a_case(onnx):
    kinds = {kind for kind in vars(mn).values() if isinstance(kind, type) and issubclass(kind, mn.Layer)}
    seen = {type(node.layer) for case in CASES.values() for node in mn.Net(*case).nodes()}
    assert kinds - seen == {mn.Layer}


@dataclass(frozen=True)
class Doubled(mn.Dense):
    """A layer of a user, which inherits from one that is exported."""


@pytest.mark.parametrize(
    ("layers", "shape", "words"),
    [
        ([mn.Residual([mn.ReLU(), Doubled(5)])], 5, "expected layers of minnet .* got Doubled at 0.layers.1"),
        ([mn.Embedding(3, 2), mn.GRU(2, padding=0)], 4, "recurrent layers without padding.* got GRU 1 with padding=0"),
    ],
)
def test_layers_that_onnx_does_not_have_are_refused_by_name(layers, shape, words, onnx, tmp_path):
    with pytest.raises(ValueError, match=words):
        mn.to_onnx(mn.Net(layers, shape), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_net_of_double_precision_becomes_one_of_single(onnx, tmp_path):
    net = net_of([mn.Dense(3)], 4, np.float64)
    mn.to_onnx(net, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert {array.data_type for array in model.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_without_onnx_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"to_onnx: expected onnx 1\.17 or newer to be installed.*minnet\[onnx\]"):
        mn.to_onnx(mn.Net([mn.Dense(3)], 5), tmp_path / "net.onnx")


def test_a_folder_that_does_not_exist_is_named(onnx, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the folder"):
        mn.to_onnx(mn.Net([mn.Dense(3)], 5), tmp_path / "none" / "net.onnx")
