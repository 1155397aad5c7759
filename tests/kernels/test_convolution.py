"""Conv2D and ConvTranspose2D with random options on random images, both passes, against twins in double precision.

The twins go through the window tap by tap, as the definitions do, and know nothing of borders that are copied, of
panels and blocks. PyTorch has the last word on them.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest

import minnet as mn

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@dataclass(frozen=True)
class Case:
    """A layer, the images that it gets, and from the definitions of its padding: y's size and the corner cut off."""

    layer: mn.Conv2D | mn.ConvTranspose2D
    images: tuple[int, int, int, int]
    out: tuple[int, int]
    corner: tuple[int, int]

    @property
    def transposed(self):
        return isinstance(self.layer, mn.ConvTranspose2D)

    @property
    def reach(self):
        return tuple((k - 1) * d + 1 for k, d in zip(self.layer.kernel, self.layer.dilation, strict=True))

    def __str__(self):
        return f"{self.layer} on {self.images}".replace(f", init={self.layer.init}", "")


def conv_size(size, reach, stride, padding):
    """(outputs, zeros in front) along one axis; padding: "same", "valid" or a pair."""
    if padding == "same":
        out = math.ceil(size / stride)
        return out, max((out - 1) * stride + reach - size, 0) // 2
    before, after = (0, 0) if padding == "valid" else padding
    return (size + before + after - reach) // stride + 1, before


def transposed_size(size, reach, stride, padding, output_padding):
    """(outputs, how many are cut off in front) along one axis."""
    if padding == "same":
        return stride * size, max(reach - stride, 0) // 2
    if padding == "valid":
        return stride * size + max(reach - stride, 0), 0
    return (size - 1) * stride + reach - sum(padding) + output_padding, padding[0]


def draw_case(kind, index):
    """A random layer of the kind, with images that it can take; from index 100 on, other options down than across."""
    rng = np.random.default_rng((index, kind is mn.Conv2D))
    groups = int(rng.choice([1, 1, 1, 2, 3, rng.integers(1, 41)]))
    most = int(rng.choice([40, 80])) // groups
    channels, filters = (groups * int(rng.choice([1, *rng.integers(1, most + 1, 3)])) for _ in range(2))
    kernel = tuple(int(rng.integers(1, end)) for end in rng.choice([2, 4, 6], 2))
    stride, dilation = int(rng.choice([1, 1, 2, 2, 3, 4])), int(rng.choice([1, 1, 2, 3]))
    strides, dilations = (stride, stride), (dilation, dilation)
    if index >= 100:
        strides, dilations = (stride, int(rng.integers(1, 4))), (int(rng.integers(1, 4)), dilation)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    uneven = tuple(tuple(int(n) for n in rng.integers(0, 4, 2)) for _ in range(2))
    padding = ("same", "valid", int(rng.integers(0, 4)), uneven)[rng.integers(4)]
    pairs = {str: (padding, padding), int: ((padding, padding),) * 2, tuple: padding}[type(padding)]
    options = {"stride": stride, "padding": padding, "bias": bool(rng.integers(2)), "dilation": dilation}
    more = (0, 0)
    if kind is mn.ConvTranspose2D and not isinstance(padding, str):
        options["output_padding"] = int(rng.integers(stride))
        more = (options["output_padding"],) * 2
    if index >= 100:
        options |= {"stride": strides, "dilation": dilations}
        if isinstance(padding, int):
            options["padding"] = padding, padding + 1
            pairs = (padding, padding), (padding + 1, padding + 1)
        if "output_padding" in options:
            options["output_padding"] = more = tuple(int(rng.integers(step)) for step in strides)
    size, places = [], []
    for r, pair, stride, extra in zip(reach, pairs, strides, more, strict=True):
        for length in range(int(rng.choice([1, *rng.integers(1, 10, 3), 17])), 100):
            if kind is mn.Conv2D:
                place = conv_size(length, r, stride, pair)
            else:
                place = transposed_size(length, r, stride, pair, extra)
            if place[0] > 0:
                break
        size.append(length)
        places.append(place)
    n = int(rng.choice([1, 2, 3, 9, 17]))  # gradients are summed in 8 parts
    (rows, top), (columns, left) = places
    return Case(kind(filters, kernel, groups=groups, **options), (n, *size, channels), (rows, columns), (top, left))


CASES = [draw_case(kind, index) for kind in (mn.Conv2D, mn.ConvTranspose2D) for index in range(130)]


def down(case, name):
    """An option along the rows, where it is the same along the columns; else 0."""
    rows, columns = getattr(case.layer, name)
    return rows if rows == columns else 0


def test_the_cases_reach_every_corner():
    corners = {
        "one pixel": lambda c: c.images[1:3] == (1, 1),
        "one channel": lambda c: c.images[3] == 1,
        "one filter": lambda c: c.layer.filters == 1,
        "an odd vector of channels and filters": lambda c: c.images[3] % 8 and c.layer.filters % 8 > 1,
        "a stride beyond the window": lambda c: down(c, "stride") > max(c.reach),
        "rows that no window sees": lambda c: not c.transposed and (c.images[1] - c.reach[0]) % c.layer.stride[0],
        "few filters of long rows": lambda c: (
            c.layer.filters <= 4 and c.layer.groups == c.layer.dilation[1] == 1 and c.layer.kernel[1] * c.images[3] > 40
        ),
        "gradients of few channels": lambda c: (
            c.images[3] <= 4
            and {c.layer.groups, *c.layer.stride, c.layer.dilation[1]} == {1}
            and c.layer.kernel[1] * c.layer.filters > 40
        ),
        "groups": lambda c: 1 < c.layer.groups < min(c.images[3], c.layer.filters),
        "a filter a channel": lambda c: 1 < c.layer.groups == c.images[3] == c.layer.filters,
        "dilated groups": lambda c: down(c, "dilation") > 1 and c.layer.groups > 1,
        "dilated and strided": lambda c: down(c, "dilation") > 1 and down(c, "stride") > 1,
        "dilated by a part of the stride": lambda c: (
            c.reach[0] > 4 and (down(c, "dilation"), down(c, "stride")) == (2, 4)
        ),
        "dilated by the stride": lambda c: down(c, "dilation") == down(c, "stride") > 1 < max(c.layer.kernel),
        "strided groups": lambda c: down(c, "stride") > 1 < c.layer.groups < min(c.images[3], c.layer.filters),
        "strided down only": lambda c: c.layer.stride[0] > 1 == c.layer.stride[1],
        "strided across only": lambda c: c.layer.stride[1] > 1 == c.layer.stride[0],
        "dilated down only": lambda c: c.layer.dilation[0] > 1 == c.layer.dilation[1] and c.layer.groups == 1,
        "dilated across only": lambda c: c.layer.dilation[1] > 1 == c.layer.dilation[0],
        "strided down, dilated across": lambda c: c.layer.stride[0] > c.layer.stride[1] < c.layer.dilation[1],
        "other padding down than across": lambda c: c.layer.padding == (1, 2),
        "more than two panels of filters in float32": lambda c: c.layer.filters // c.layer.groups > 64,
        "more than two panels of channels in float32": lambda c: c.images[3] // c.layer.groups > 64,
        "several panels in groups": lambda c: c.layer.groups > 1 and c.layer.filters // c.layer.groups > 32,
        "many blocks of pixels": lambda c: c.images[1] * c.images[2] > 200,
        "more images than parts": lambda c: c.images[0] > 8,
        "more padding than the window": lambda c: min(c.corner) >= max(c.reach),
        "uneven padding": lambda c: isinstance(c.layer.padding, tuple) and isinstance(c.layer.padding[0], tuple),
        "output padding": lambda c: c.transposed and min(c.layer.output_padding) > 0,
        "other output padding": lambda c: c.transposed and c.layer.output_padding[0] != c.layer.output_padding[1],
        "same, strided": lambda c: c.layer.padding == "same" and down(c, "stride") > 1,
        "same, strided otherwise": lambda c: c.layer.padding == "same" and down(c, "stride") == 0,
        "valid, strided": lambda c: c.layer.padding == "valid" and down(c, "stride") > 1,
        "no bias": lambda c: not c.layer.bias,
    }
    for kind in (mn.Conv2D, mn.ConvTranspose2D):
        cases = [case for case in CASES if type(case.layer) is kind]
        missing = {name for name, holds in corners.items() if not any(holds(case) for case in cases)}
        of_one_kind = {
            mn.Conv2D: {"output padding", "other output padding"},
            mn.ConvTranspose2D: {"rows that no window sees"},
        }
        assert missing == of_one_kind[kind]


# Twins -------------------------------------------------------------------------------------------------------


def cut(array, groups):
    """(..., C) as (groups, rows, C / groups), for products group by group."""
    return array.reshape(-1, groups, array.shape[-1] // groups).swapaxes(0, 1)


def joined(array, shape):
    return array.swapaxes(0, 1).reshape(shape)


def windows(case, steps):
    """(tap, the elements of an image (n, H, W, C) that it meets at each of rows x columns steps)."""
    options = case.layer.stride, case.layer.dilation
    for a, b in np.ndindex(case.layer.kernel):
        rows, columns = (
            slice(tap * dilation, tap * dilation + stride * (n - 1) + 1, stride)
            for tap, n, stride, dilation in zip((a, b), steps, *options, strict=True)
        )
        yield (a, b), np.s_[:, rows, columns]


def with_borders(case, image, steps):
    """A copy of the image behind its corner, with zeros as far as any window goes, and where it lies in that."""
    ends = [c + n for c, n in zip(case.corner, image.shape[1:3], strict=True)]
    seen = [s * (n - 1) + r for s, n, r in zip(case.layer.stride, steps, case.reach, strict=True)]
    large = np.zeros((len(image), *map(max, ends, seen), image.shape[3]))
    inside = np.s_[:, case.corner[0] : ends[0], case.corner[1] : ends[1]]
    large[inside] = image
    return large, inside


def conv_twin(case, x, W, b, dy):
    """Output and gradients by name: the image is gathered at every tap."""
    groups, steps = case.layer.groups, dy.shape[1:3]
    image, inside = with_borders(case, x, steps)
    y, d_image, dW = b + np.zeros(dy.shape), np.zeros(image.shape), np.empty(W.shape)
    for tap, window in windows(case, steps):
        patch, weight = cut(image[window], groups), cut(W[tap], groups)
        y += joined(patch @ weight, y.shape)
        d_image[window] += joined(cut(dy, groups) @ weight.swapaxes(1, 2), image[window].shape)
        dW[tap] = joined(patch.swapaxes(1, 2) @ cut(dy, groups), W[tap].shape)
    return {"y": y, "dx": d_image[inside], "W": dW, "b": dy.sum(axis=(0, 1, 2))}


def transposed_twin(case, x, W, b, dy):
    """Output and gradients by name: each pixel of x is scattered over its window, which starts at W's last tap."""
    groups, steps = case.layer.groups, x.shape[1:3]
    d_image, inside = with_borders(case, dy, steps)
    image, dx, dW = np.zeros(d_image.shape), np.zeros(x.shape), np.empty(W.shape)
    for tap, window in windows(case, steps):
        tap = tuple(k - 1 - t for k, t in zip(case.layer.kernel, tap, strict=True))
        weight, d_patch = cut(W[tap], groups), cut(d_image[window], groups)
        image[window] += joined(cut(x, groups) @ weight, image[window].shape)
        dx += joined(d_patch @ weight.swapaxes(1, 2), x.shape)
        dW[tap] = joined(cut(x, groups).swapaxes(1, 2) @ d_patch, W[tap].shape)
    return {"y": b + image[inside], "dx": dx, "W": dW, "b": dy.sum(axis=(0, 1, 2))}


def draw_arrays(case, dtype=np.float64):
    """x, W, b (0 where the layer has none) and dy."""
    rng = np.random.default_rng(7)
    kh, kw = case.layer.kernel
    shapes = [
        case.images,
        (kh, kw, case.images[3] // case.layer.groups, case.layer.filters),
        (case.layer.filters,),
        (case.images[0], *case.out, case.layer.filters),
    ]
    x, W, b, dy = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return x, W, b * case.layer.bias, dy


def twin(case, arrays):
    return (transposed_twin if case.transposed else conv_twin)(case, *(a.astype(np.float64) for a in arrays))


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_twins_equal_pytorchs(case):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    arrays = draw_arrays(case)
    x, W, b, dy = (torch.tensor(a, requires_grad=True) for a in arrays)
    layer, (top, left), image = case.layer, case.corner, x.permute(0, 3, 1, 2)
    options = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    if case.transposed:
        # (kh, kw, C / groups, F) there: (C, F / groups, kh, kw), turned.
        weights = W.flip(0, 1).unflatten(3, (layer.groups, -1)).permute(3, 2, 4, 0, 1).flatten(0, 1).contiguous()
        full = torch.nn.functional.conv_transpose2d(image, weights, **options)
        ends = [n + c - f for n, c, f in zip(case.out, case.corner, full.shape[2:], strict=True)]
        y = torch.nn.functional.pad(full, (-left, ends[1], -top, ends[0]))
    else:
        # As much on the right and at the bottom as the last window needs, or less than the image has.
        seen = [(n - 1) * s + r for n, s, r in zip(case.out, layer.stride, case.reach, strict=True)]
        ends = [max(0, n - c - length) for n, c, length in zip(seen, case.corner, case.images[1:3], strict=True)]
        padded = torch.nn.functional.pad(image, (left, ends[1], top, ends[0]))[:, :, : seen[0], : seen[1]]
        y = torch.nn.functional.conv2d(padded, W.permute(3, 2, 0, 1).contiguous(), **options)
    y = y.permute(0, 2, 3, 1) + b
    (y * dy).sum().backward()
    expected = {"y": y.detach(), "dx": x.grad, "W": W.grad, "b": b.grad}
    for name, value in twin(case, arrays).items():
        np.testing.assert_allclose(value, expected[name].numpy(), rtol=0, atol=1e-11, err_msg=name)


# The layers --------------------------------------------------------------------------------------------------


def run(case, arrays):
    """The layer's output and gradients by name, from memory that was made for more images and is full of NaN."""
    x, W, b, dy = (array.copy() for array in arrays)
    net = mn.Net([case.layer], case.images[1:], dtype=x.dtype)
    net.named_parameters()["0.W"][:] = W
    if case.layer.bias:
        net.named_parameters()["0.b"][:] = b
    net.forward(np.concatenate([x, x[:2]]), training=True)
    net.forward(x, training=True)
    net.poison()
    y = net.forward(x, training=True).copy()
    guarded = np.full(x.size + 128, np.nan, x.dtype)
    dx = guarded[64:-64].reshape(x.shape)
    net.backward(dy, dx)
    assert np.isnan(guarded[:64]).all(), "something was written in front of dx"
    assert np.isnan(guarded[-64:]).all(), "something was written behind dx"
    gradients = {name.removeprefix("0."): value.copy() for name, value in net.named_gradients().items()}
    net.forward(x, training=True)
    net.backward(dy)
    for name, value in net.named_gradients().items():
        np.testing.assert_array_equal(value, gradients[name.removeprefix("0.")], err_msg=f"{name} without dx")
    np.testing.assert_array_equal(x, arrays[0], err_msg="x was changed")
    np.testing.assert_array_equal(dy, arrays[3], err_msg="dy was changed")
    return {"y": y, "dx": dx, **gradients}


def twins(case, arrays):
    """What a layer must give, and the sums of the absolute values of its terms."""
    return twin(case, arrays), twin(case, [np.abs(array) for array in arrays])


def assert_close(case, arrays, actual, twins_of_case=None):
    """Each element within sqrt(terms) roundings, relative to the sum of the absolute values of its terms.

    In float32 that is less than one of the terms as long as there are fewer than 40000.
    """
    expected, sizes = twins_of_case or twins(case, arrays)
    x, W, _, dy = arrays
    pixels = dy[..., 0].size
    terms = {"y": W[..., 0].size, "dx": W[..., 0].size // W.shape[2] * W.shape[3] // case.layer.groups}
    for name, value in actual.items():
        bound = np.finfo(x.dtype).eps * (2 + math.sqrt(terms.get(name, pixels))) * sizes[name]
        assert value.shape == expected[name].shape, name
        error = np.abs(value - expected[name])
        worst = np.unravel_index(np.argmax(np.where(error <= bound, 0, error / (bound + 1e-300))), error.shape)
        assert (error <= bound).all(), (
            f"{name}{list(map(int, worst))}: {value[worst]}, expected {expected[name][worst]} +- {bound[worst]:.1e}; "
            f"{np.count_nonzero(~(error <= bound))} of {error.size} are off"
        )


@DTYPES
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.filterwarnings("ignore:.*looks like channels first")  # as some random shapes do
def test_a_layer_equals_its_twin(case, dtype):
    arrays = draw_arrays(case, dtype)
    assert_close(case, arrays, run(case, arrays))


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_fan_in_of_the_transposed_layer_counts_an_outputs_inputs(stride):
    layer = mn.ConvTranspose2D(6, 4, stride, groups=3, bias=False, init=mn.initializers.Constant(1.0))
    net = mn.Net([layer], (9, 9, 12), dtype=np.float64)
    y = net.forward(np.ones((1, 9, 9, 12)))
    # With nothing but ones an output is the number of its inputs: over one period of the stride, far from the borders.
    inside = y[:, 4 * stride : 5 * stride, 4 * stride : 5 * stride]
    fan_in, _ = mn.initializers.fans(net.named_parameters()["0.W"].shape)
    assert inside.mean() == fan_in / stride**2 == 4 * 4 * 4 / stride**2


def test_the_number_of_threads_changes_no_bit():
    if mn.get_num_threads() < 2:
        pytest.skip("one core: there is no second thread to compare with")
    before, ends = mn.get_num_threads(), []
    for threads in (1, 2):
        mn.set_num_threads(threads)
        try:
            ends.append([run(case, draw_arrays(case, np.float32)) for case in CASES[::4]])
        finally:
            mn.set_num_threads(before)
    for case, *results in zip(CASES[::4], *ends, strict=True):
        for name in results[0]:
            np.testing.assert_array_equal(results[0][name], results[1][name], err_msg=f"{name} of {case}")


# What a mistake in a kernel may leave: something off in one place, by a tenth of one product, or not written at all.
SLIPS = {
    "first output": ("y", (0, 0, 0, 0), 0.1),
    "last output": ("y", (-1, -1, -1, -1), 0.1),
    "last filter's output": ("y", (0, 0, 0, -1), 0.1),
    "last row of outputs unwritten": ("y", np.s_[:, -1], np.nan),
    "first element of dx": ("dx", (0, 0, 0, 0), 0.1),
    "last element of dx": ("dx", (-1, -1, -1, -1), 0.1),
    "last row of dx unwritten": ("dx", np.s_[:, -1], np.nan),
    "first weight": ("W", (0, 0, 0, 0), 0.1),
    "last weight": ("W", (-1, -1, -1, -1), 0.1),
    "last channel's weights unwritten": ("W", np.s_[:, :, -1], np.nan),
    "last bias": ("b", -1, 0.1),
}
SLIPPERY = [case for case in CASES if case.layer.filters > 20 and case.layer.bias and min(case.images[:3]) > 2]
SLIPPERY = SLIPPERY[:3] + SLIPPERY[-3:]


@pytest.fixture(scope="module")
def slippery():
    """(case, arrays, what the layer gives, what its twin gives)."""
    drawn = [(case, draw_arrays(case, np.float32)) for case in SLIPPERY]
    return [(case, arrays, run(case, arrays), twins(case, arrays)) for case, arrays in drawn]


@pytest.mark.parametrize(("name", "place", "change"), SLIPS.values(), ids=SLIPS)
def test_a_slip_in_one_place_is_seen_in_float32(slippery, name, place, change):
    assert {case.transposed for case in SLIPPERY} == {True, False}
    for case, arrays, right, twins_of_case in slippery:
        results = {each: values.copy() for each, values in right.items()}
        results[name][place] += change
        with pytest.raises(AssertionError, match=rf"^{name}\["):
            assert_close(case, arrays, results, twins_of_case)
