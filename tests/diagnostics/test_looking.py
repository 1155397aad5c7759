"""Saliency, class visualisation, fooling images and amplification, each against something computed another way."""

import numpy as np
import pytest

import minnet as mn
from minnet.diagnostics import Ascent, Fooling, amplify, fooling_images, saliency, visualise_classes
from minnet.diagnostics.looking.ascent import blurred


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


SHAPE = (5, 4, 2)


@pytest.fixture(scope="module")
def net():
    """A net with running statistics, noise and a kink, in float64, trained to say which quarter is brightest."""
    x, y = normal(40, *SHAPE), np.arange(40) % 4
    for image, label in zip(x, y, strict=True):
        row, column = divmod(label, 2)
        image[2 * row : 2 * row + 3, 2 * column : 2 * column + 2] += 2
    layers = [mn.Conv2D(3, 3), mn.BatchNorm(), mn.ReLU(), mn.Flatten(), mn.Dropout(0.4), mn.Dense(4)]
    net = mn.Net(layers, SHAPE, mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=1)
    mn.fit(net, (x, y), rule=mn.Momentum(0.9), lr=0.05, steps=60, batch_size=10, progress=False)
    return net


def linear(inputs=6, classes=3):
    return mn.Net([mn.Dense(classes)], inputs, mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=2)


def everything(net):
    """All that looking at a net must not change."""
    arrays = net.params, net.buffers, net.grads, *net.activations().values()
    return [a.tobytes() for a in arrays], net.step, net.frozen, repr(net.objective), net.generation


# Saliency ----------------------------------------------------------------------------------------------------


def test_saliency_is_the_numerical_gradient_of_the_score(net):
    x, labels, h = normal(3, *SHAPE, seed=3), np.array([2, 0, 2]), 1e-6
    expected = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        sides = []
        for change in (h, -h):
            moved = x.copy()
            moved[place] += change
            sides.append(net.predict(moved)[place[0], labels[place[0]]])
        expected[place] = (sides[0] - sides[1]) / (2 * h)
    found = saliency(net, x, labels, batch_size=2)
    assert found.shape == (3, 5, 4)
    np.testing.assert_allclose(found, np.abs(expected).max(axis=-1), rtol=1e-6, atol=1e-8)


@pytest.mark.torch
def test_saliency_is_that_of_pytorch(net):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: saliency is not compared with it")
    p = {name: torch.tensor(values) for name, values in (net.named_parameters() | net.named_buffers()).items()}
    x, f = torch.tensor(normal(3, *SHAPE, seed=4), requires_grad=True), torch.nn.functional
    y = f.conv2d(x.permute(0, 3, 1, 2), p["0.W"].permute(3, 2, 0, 1), p["0.b"], padding="same")
    y = f.batch_norm(
        y, p["1.running_mean"], p["1.running_var"], p["1.gamma"], p["1.beta"], eps=net.layers.layers[1].eps
    )
    scores = torch.relu(y).permute(0, 2, 3, 1).flatten(1) @ p["5.W"] + p["5.b"]
    scores.max(dim=1).values.sum().backward()
    found = saliency(net, x.detach().numpy())  # for the class that the net predicts
    np.testing.assert_allclose(found, x.grad.abs().amax(dim=-1).numpy(), rtol=0, atol=1e-12)


def test_saliency_of_features_has_their_shape():
    net = linear()
    W = net.named_parameters()["0.W"]
    np.testing.assert_allclose(saliency(net, normal(4, 6), 1), np.tile(np.abs(W[:, 1]), (4, 1)))


# Ascent ------------------------------------------------------------------------------------------------------

PLAIN = {"jitter": 0, "blur": 0.0}


def test_the_score_of_a_linear_net_is_climbed_along_its_weights():
    net, classes, start = linear(), np.array([2, 0]), normal(2, 6, seed=5)
    W = net.named_parameters()["0.W"]
    directions = W.T[classes] / np.sqrt((W.T[classes] ** 2).mean(axis=1, keepdims=True))
    found = visualise_classes(net, classes, start=start, steps=7, rate=0.3, l2=0.0, **PLAIN)
    np.testing.assert_allclose(found.x, start + 7 * 0.3 * directions, rtol=1e-12)
    # With a penalty, the gradient of s - l2 * sum(x^2) is 0 at x = w / (2 l2), around which the ascent ends.
    found = visualise_classes(net, classes, start=start, steps=4000, rate=1e-3, l2=0.5, **PLAIN)
    np.testing.assert_allclose(found.x, W.T[classes], atol=2e-3)
    scores = net.predict(found.x)[[0, 1], classes]
    np.testing.assert_allclose(found.after, scores - 0.5 * (found.x**2).sum(axis=1))


def test_jitter_is_undone_after_the_step():
    """A net that does not see where pixels are climbs the same way wherever the image is rolled."""
    net = mn.Net([mn.Conv2D(4, 1), mn.Tanh(), mn.GlobalAvgPool2D()], (5, 4, 2), dtype=np.float64)
    start = normal(2, 5, 4, 2, seed=6)
    still, moved = (
        visualise_classes(net, [1, 3], start=start, steps=9, jitter=jitter, blur=0.0).x for jitter in (0, 3)
    )
    np.testing.assert_allclose(moved, still, rtol=1e-11)
    assert np.abs(still - start).min() > 0


def test_blur_is_a_sum_over_mirrored_neighbours():
    image, sigma, radius = normal(1, 5, 4, 2, seed=7), 0.7, 3
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()

    def mirrored(i, size):  # 1 0 | 0 1 2 | 2 1
        i %= 2 * size
        return i if i < size else 2 * size - 1 - i

    expected = np.zeros_like(image)
    for r, c, a, b in np.ndindex(5, 4, 7, 7):
        from_row, from_column = mirrored(r + a - radius, 5), mirrored(c + b - radius, 4)
        expected[0, r, c] += weights[a] * weights[b] * image[0, from_row, from_column]
    np.testing.assert_allclose(blurred(image, sigma), expected, rtol=1e-12)


def test_visualised_classes_are_those_that_the_net_sees(net):
    bounds = (np.float64(-1.0), np.array([2.0, 1.5]))  # the second for each channel
    found = visualise_classes(net, [0, 1, 2, 3], bounds=bounds, jitter=1, steps=40)
    assert (found.after > found.before).all()
    assert (net.predict(found.x).argmax(axis=1) == np.arange(4)).all()
    for images in (found.x, found.start):
        assert images.min() >= -1
        assert (images.max(axis=(0, 1, 2)) <= (2.0, 1.5)).all()
    again = visualise_classes(net, [0, 1, 2, 3], bounds=bounds, jitter=1, steps=40)
    assert again.x.tobytes() == found.x.tobytes()
    other = visualise_classes(net, [0, 1, 2, 3], bounds=bounds, jitter=1, steps=40, seed=1)
    assert (other.x != found.x).any()


def test_a_net_without_gradient_is_left_where_it_was():
    net = linear()
    net.params[...] = 0
    found = visualise_classes(net, 1, l2=0.0, **PLAIN)
    assert found.x.tobytes() == found.start.tobytes()


def test_amplification_follows_the_gradient_of_the_activations():
    net, x = mn.Net([mn.Dense(5), mn.Tanh(), mn.Dense(3)], 6, dtype=np.float64, seed=3), normal(4, 6, seed=8)
    W = net.named_parameters()["0.W"]
    gradient = x @ W @ W.T
    found = amplify(net, x, 0, steps=1, rate=0.01, jitter=0)
    np.testing.assert_allclose(found.x, x + 0.01 * gradient / np.sqrt((gradient**2).mean(axis=1, keepdims=True)))
    deeper = amplify(net, x, 1, steps=20, rate=0.01, jitter=0)
    for images, value in ((deeper.start, deeper.before), (deeper.x, deeper.after)):
        np.testing.assert_allclose(value, (np.tanh(images @ W) ** 2).sum(axis=1) / 2)
    assert (deeper.after > deeper.before).all()


def test_amplification_uses_the_statistics_of_the_net(net):
    found = amplify(net, normal(2, *SHAPE, seed=9), 2, steps=3)
    net.forward(found.x)
    outputs = net.activations()["2"]  # after the ReLU, which is computed by the norm before it
    np.testing.assert_allclose(found.after, (outputs**2).sum(axis=(1, 2, 3)) / 2)


# Fooling -----------------------------------------------------------------------------------------------------


def test_a_fooling_image_is_as_near_as_it_says_and_of_the_other_class(net):
    x = normal(6, *SHAPE, seed=10)
    targets = (net.predict(x).argmax(axis=1) + np.arange(6) % 4) % 4  # samples 0 and 4 are of their target's class
    found = fooling_images(net, x, targets, steps=500)
    assert found.fooled.all()
    assert (net.predict(found.x).argmax(axis=1) == targets).all()
    change = found.x - x
    np.testing.assert_allclose(found.distances, np.sqrt((change**2).sum(axis=(1, 2, 3))))
    np.testing.assert_allclose(found.largest, np.abs(change).max(axis=(1, 2, 3)))
    np.testing.assert_allclose(found.relative, found.distances / np.sqrt((x**2).sum(axis=(1, 2, 3))))
    # Each step is as long as the rate says, so the way is at most their sum.
    assert (found.distances <= found.steps * 0.01 * np.sqrt(40) * (1 + 1e-12)).all()
    for i in (0, 4):
        assert found.steps[i] == 0
        assert found.x[i].tobytes() == x[i].tobytes()
    line = str(found).splitlines()[2].split()
    assert line[:4] == [str(n) for n in (found.before[1], targets[1], targets[1], found.steps[1])]


def test_a_linear_net_is_fooled_after_the_steps_that_its_margin_needs():
    net = linear(classes=2)
    W, b = net.named_parameters()["0.W"], net.named_parameters()["0.b"]
    x = normal(1, 6, seed=11)
    scores = x[0] @ W + b
    target = int(scores.argmin())
    away = W[:, target] - W[:, 1 - target]
    gain = 0.001 * away @ W[:, target] / np.sqrt((W[:, target] ** 2).mean())  # of the margin, in a step
    needed = int(np.ceil((scores[1 - target] - scores[target]) / gain))
    assert 1 < needed < 5000
    assert fooling_images(net, x, target, steps=5000, rate=0.001).steps[0] == needed
    short = fooling_images(net, x, target, steps=needed - 1, rate=0.001)
    assert (short.fooled[0], short.after[0], short.steps[0]) == (False, 1 - target, needed - 1)


def test_a_fooling_image_stays_within_bounds(net):
    x = np.clip(normal(3, *SHAPE, seed=12), -1, 1)
    found = fooling_images(net, x, 1, bounds=(-1, 1), steps=20, rate=0.1)
    assert np.abs(found.x).max() == 1


# All of them -------------------------------------------------------------------------------------------------

LOOK = {
    "saliency": lambda net, x: saliency(net, x),
    "visualise_classes": lambda net, x: visualise_classes(net, [0, 1], steps=2),
    "fooling_images": lambda net, x: fooling_images(net, x, 1, steps=2),
    "amplify": lambda net, x: amplify(net, x, 2, steps=2),
}


@pytest.mark.parametrize("name", LOOK)
def test_looking_leaves_the_net_alone(net, name):
    x = normal(3, *SHAPE, seed=13)
    net.forward(x, training=True)
    before, kept = everything(net), x.copy()
    LOOK[name](net, x)
    assert everything(net) == before
    assert x.tobytes() == kept.tobytes()


class OneHot(mn.Layer):
    """A layer of words without parameters, whose output no pass tells ``observe`` about."""

    def plan(self, in_shape):
        return mn.Plan((*in_shape, 5), vocabulary=5)

    def forward(self, m, x, y):
        y[...] = np.eye(5)[x]

    def backward(self, m, x, y, dy, dx):
        pass


EMBEDDED = mn.Embedding(5, 3)
OF_WORDS = {  # the first layer, and what the error says about its gradient
    "Embedding": (EMBEDDED, "backward(..., observe=...) gives the gradient at the output of layer 0, Embedding"),
    "Chain": (mn.Chain([EMBEDDED, mn.Tanh()]), "named_gradients() has 0.0.W, of the Embedding that takes the words"),
    "TiedEmbedding": (mn.TiedEmbedding(EMBEDDED, mn.Tanh()), "named_gradients() has 0.embedding.W, of the Embedding"),
    "no parameters": (OneHot(), None),
}


@pytest.mark.parametrize("kind", OF_WORDS)
@pytest.mark.parametrize("name", LOOK)
def test_words_have_no_gradient_and_the_error_says_which_one_there_is(name, kind):
    first, hint = OF_WORDS[kind]
    net = mn.Net([first, mn.RNN(4, last=True), mn.Dense(2)], 6, mn.SoftmaxCrossEntropy())
    x, seen = np.zeros((2, 6), np.int64), {}
    with pytest.raises(
        ValueError, match=rf"^{name}: expected a net of numbers, .*; got one of words, with a vocab"
    ) as e:
        LOOK[name](net, x)
    scores = net.forward(x)
    with pytest.raises(ValueError, match="backward: expected dx=None, as the input is words") as of_dx:
        net.backward(np.ones_like(scores), np.empty((2, 6), np.float32))
    for error in (e, of_dx):
        assert hint is None or hint in str(error.value)
        assert (hint is None) == ("(" not in str(error.value))
    # What the hint promises is there.
    net.backward(np.ones_like(scores), observe=lambda place, gradient: seen.setdefault(place, gradient.shape))
    assert seen.get("0") == {"Embedding": (2, 6, 3), "Chain": (2, 6, 3), "TiedEmbedding": (2, 6, 5)}.get(kind)
    assert hint is None or "observe" in hint or hint.split()[2].rstrip(",") in net.named_gradients()


@pytest.mark.parametrize("name", LOOK)
def test_what_is_no_net_is_refused(name):
    with pytest.raises(TypeError, match=rf"^{name}: expected a Net; got 3"):
        LOOK[name](3, np.zeros((2, 6)))


def test_saliency_of_words_as_rows_of_the_identity_is_the_gradient_at_each_of_them():
    """A net that starts with an InitialState takes numbers: features, and words as one-hot rows."""
    inputs = [mn.Slice(2, 8), mn.Reshape((2, 3)), mn.Dense(4, bias=False)]
    start = mn.InitialState(mn.GRU(3, last=True), state=[mn.Slice(0, 2), mn.Dense(3)], inputs=inputs)
    net = mn.Net([start, mn.Dense(2)], 8, mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=3)
    x, h = np.concatenate([normal(2), np.eye(3)[[2, 0]].reshape(-1)])[np.newaxis], 1e-6
    moved = x + h * np.concatenate([np.eye(8), -np.eye(8)])
    scores = net.predict(moved)[:, 1]
    np.testing.assert_allclose(saliency(net, x, 1)[0], np.abs(scores[:8] - scores[8:]) / (2 * h), rtol=1e-6)


X = normal(3, *SHAPE)
BAD = {
    "a class too many": (lambda net: saliency(net, X, [0, 1, 4]), "saliency: expected labels from 0 to 3.*; got 4"),
    "a negative class": (lambda net: fooling_images(net, X, -1), "fooling_images: expected targets from 0 to 3"),
    "too few classes": (lambda net: saliency(net, X, [0, 1]), "saliency: expected labels as one class or one for each"),
    "numbers": (lambda net: saliency(net, X, [0.0, 1.0, 2.0]), "saliency: expected labels as class numbers"),
    "no classes": (lambda net: visualise_classes(net, []), "visualise_classes: expected classes"),
    "starts": (lambda net: visualise_classes(net, [0], start=X), "visualise_classes: expected one image to start"),
    "no step": (lambda net: visualise_classes(net, 0, steps=0), "visualise_classes: expected steps of at least 1"),
    "no rate": (lambda net: amplify(net, X, 0, rate=0.0), "amplify: expected rate above 0"),
    "bounds": (lambda net: amplify(net, X, 0, bounds=1.0), r"amplify: expected bounds as \(low, high\)"),
    "equal bounds": (lambda net: visualise_classes(net, 0, bounds=(1, 1)), "visualise_classes: expected bounds with"),
    "bounds of a shape": (lambda net: amplify(net, X, 0, bounds=(np.zeros(3), 1)), "amplify: expected bounds as num"),
    "outside": (lambda net: fooling_images(net, X, 1, bounds=(0, 1)), "fooling_images: expected samples within bounds"),
    "a layer too many": (lambda net: amplify(net, X, 6), "amplify: expected layer from 0 to 5"),
    "NaN": (lambda net: saliency(net, X * np.nan), "Net: expected finite input"),
    "jitter": (lambda net: visualise_classes(linear(), 0), r"visualise_classes: expected images \(H, W, channels\)"),
    "images": (
        lambda net: visualise_classes(mn.Net([mn.Conv2D(2, 1)], SHAPE), 0),
        "visualise_classes: expected a net with one axis of scores",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(net, case):
    call, words = BAD[case]
    before = everything(net)
    with pytest.raises((TypeError, ValueError), match=f"^{words}"):
        call(net)
    assert everything(net) == before


def test_results_are_drawn_with_their_arrays(net, tmp_path):
    images = normal(3, 4, 4, 1)
    ascent = Ascent(images + 1, images, np.zeros(3), np.ones(3))
    ascent.plot(tmp_path / "a.png")
    assert (np.load(tmp_path / "a.npz")["end"] == images + 1).all()
    labels = np.arange(3)
    Fooling(images - 1, images, labels, labels, labels, labels).plot(tmp_path / "f.png")
    assert (np.load(tmp_path / "f.npz")["change"] == (images - 1) - images).all()
    with pytest.raises(ValueError, match=r"^image_rows: expected images \(n, H, W, 1 or 3\)"):
        visualise_classes(net, 0, steps=1).plot(tmp_path / "b.png")  # of two channels
    assert not (tmp_path / "b.png").exists()
