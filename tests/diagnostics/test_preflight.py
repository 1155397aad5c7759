"""Preflight: every fault that it is for, seeded and seen, and nothing to say against a sound net."""

import importlib
import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

import minnet as mn
from minnet.diagnostics import Preflight, rewire
from minnet.diagnostics.chance import chance
from minnet.gradcheck.result import VERDICTS
from minnet.layers.initializers import Constant, GlorotUniform, Normal

# With 0.01 the first update of the last layer is at the very bound of what is too large.
SMALL, HIDDEN = Normal(0.015), mn.Dense(30)


@pytest.fixture(scope="module")
def digits():
    x, y = mn.datasets.digits()
    return mn.data.Standardizer.fit(x)(x).reshape(len(x), -1)[:600], y[:600]


def build(*, hidden=HIDDEN, between=(), outputs=10, last=SMALL, loss=None, **options):
    layers = [hidden, mn.ReLU(), *between, mn.Dense(outputs, init=last)]
    return mn.Net(layers, 64, loss or mn.SoftmaxCrossEntropy(), **options)


ROOM = importlib.import_module("minnet.diagnostics.preflight.look")
CHECKS = ROOM._CHECKS


def look(net, data, *only, **options):
    """The report; with names, of these checks alone, beside those of the samples and the labels."""
    with pytest.MonkeyPatch.context() as patch:
        if only:
            patch.setattr(ROOM, "_CHECKS", {name: CHECKS[name] for name in only if name in CHECKS})
        return mn.preflight(net, data, progress=False, **options)


def verdicts(report):
    return {finding.name: finding.verdict for finding in report.findings}


@pytest.fixture(scope="module")
def sound(digits):
    return look(build(l2=1e-3, last=GlorotUniform(0.5)), digits)


def test_a_sound_net_passes_every_check(sound):
    assert set(verdicts(sound).values()) == {"passed"}, sound
    assert sound.passed
    sound.assert_passed()
    assert len(sound.findings) == 11


def test_the_report_is_a_table_and_a_file(sound, tmp_path):
    lines = str(sound).splitlines()
    assert lines[0].startswith("Preflight of Net(3 layers")
    assert [line.split("  ")[0] for line in lines[2:13]] == [finding.name for finding in sound.findings]
    assert lines[-1] == "all checks passed"
    sound.save(tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["passed"] is True
    assert document == json.loads(json.dumps(sound.to_dict()))
    assert {f["name"]: f["verdict"] for f in document["findings"]} == verdicts(sound)


def test_the_net_is_left_as_it_was_to_the_last_bit(digits):
    net = build(between=(mn.BatchNorm(), mn.Dropout(0.2)), l2=1e-3)
    net.loss_and_grads(*digits)
    before = [net.params.tobytes(), net.grads.tobytes(), net.buffers.tobytes(), net.step, net.objective, net.l2]
    scores = net.activations()["2"].tobytes()
    rule = mn.Momentum(0.9)
    look(net, digits, rule=rule, lr=0.01)
    assert before == [net.params.tobytes(), net.grads.tobytes(), net.buffers.tobytes(), net.step, net.objective, net.l2]
    assert scores == net.activations()["2"].tobytes()


def test_one_seed_gives_one_report(digits):
    assert look(build(), digits, seed=3).to_dict() == look(build(), digits, seed=3).to_dict()


# Faults in the data ------------------------------------------------------------------------------------------


def test_input_that_is_not_standardised_is_seen(digits):
    x, y = digits
    report = look(build(), (200 * x + 100, y), "input")
    assert report["input"].verdict == "failed"
    assert report["input"].values["std"] == pytest.approx(200 * x.std(), rel=1e-3)
    assert look(build(), (x / 4 + 0.5, y), "input")["input"].verdict == "warning"
    assert not report.passed
    with pytest.raises(AssertionError, match="standardise"):
        report.assert_passed()


def test_bytes_are_judged_as_they_are_read(digits):
    x = np.random.default_rng(0).integers(0, 256, (100, 64), np.uint8)
    finding = look(build(), (x, digits[1][:100]), "input")["input"]
    assert finding.verdict == "warning"
    assert finding.values["mean"] == pytest.approx(x.mean() / 255)


def test_constant_features_and_wide_ones_are_counted(digits):
    x, y = digits[0].copy(), digits[1]
    already = int((x.min(axis=0) == x.max(axis=0)).sum())
    x[:, 20:25] = 0.5
    assert look(build(), (x, y), "input")["input"].values["constant"] == already + 5
    x[:, 30] = 60 * np.random.default_rng(0).standard_normal(len(x))
    assert look(build(), (x, y), "input")["input"].verdict == "warning"
    x[:, :40] = 0.5
    assert "most features say nothing" in look(build(), (x, y), "input")["input"].advice


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_a_finding(digits, value):
    x, y = digits[0].copy(), digits[1]
    x[[7, 9], 3] = value
    report = look(build(), (x, y))
    assert report["input"].verdict == "failed"
    assert report["input"].measured == "NaN or infinity in 2 samples, the first 7"
    assert report["overfitting"].verdict == "skipped"


def test_numbers_that_the_net_takes_for_infinite_are_a_finding(digits):
    x = digits[0].astype(float)
    x[3, 5] = 1e39
    assert look(build(), (x, digits[1]))["input"].measured == "numbers too large for float32 in 1 samples, the first 3"


def test_integers_are_no_input(digits):
    assert look(build(), (digits[0].astype(int), digits[1]))["input"].measured == "dtype int64"


def test_labels_off_by_one_are_seen(digits):
    x, y = digits
    for shift in (1, -1):
        report = look(build(), (x, y + shift))
        assert report["labels"].verdict == "failed"
        assert report["labels"].measured == f"{shift} to {9 + shift}"
        assert report["first loss"].verdict == "skipped"
    finding = look(build(outputs=11), (x, y + 1), "labels")["labels"]
    assert (finding.verdict, finding.values["missing"]) == ("warning", [0])
    assert "begin at 1" in finding.advice


def test_one_hot_labels_get_the_loss_s_own_words(digits):
    report = look(build(), (digits[0], np.eye(10, dtype=int)[digits[1]]))
    assert "argmax" in report["labels"].advice


@pytest.mark.parametrize(
    ("change", "hint"),
    [(lambda y: y.astype(float), "use y.astype(int)"), (lambda y: y + 1, "do the labels begin at 1? Then use y - 1")],
    ids=["floats", "from 1"],
)
def test_labels_that_are_refused_get_a_hint(digits, change, hint):
    assert look(build(), (digits[0], change(digits[1])))["labels"].advice.endswith(hint)
    assert "begin at 1" not in look(build(), (digits[0], digits[1] - 1))["labels"].advice


def test_classes_out_of_balance_are_seen(digits):
    x, y = digits
    rare = np.flatnonzero(y == 3)[1:]
    kept = np.setdiff1d(np.arange(len(y)), rare)
    finding = look(build(), (x[kept], y[kept]), "class balance")["class balance"]
    assert finding.verdict == "warning"
    assert finding.values["counts"][3] == 1
    finding = look(build(), (x[y == 3], y[y == 3]), "class balance")["class balance"]
    assert finding.verdict == "failed"


def test_labels_that_have_nothing_to_do_with_the_samples_are_seen(digits):
    x, y = digits
    report = look(build(), (x, np.random.default_rng(0).permutation(y)), "overfitting", "shuffled labels")
    assert report["shuffled labels"].verdict == "failed"
    assert verdicts(report)["overfitting"] == "passed"  # which is why the control is needed


# Faults in the net -------------------------------------------------------------------------------------------


def test_weights_too_large_are_seen(digits):
    checks = "first loss", "variance by layer"
    report = look(build(hidden=mn.Dense(30, init=Normal(1.0)), last=Normal(1.0)), digits, *checks)
    assert report["first loss"].verdict == "failed"
    assert report["variance by layer"].verdict == "warning"
    deep = [layer for _ in range(5) for layer in (mn.Dense(60, init=Normal(1.0)), mn.Tanh(), mn.Dense(60), mn.ReLU())]
    assert look(build(between=deep, last=Normal(1.0)), digits, *checks)["first loss"].verdict == "failed"


def test_weights_too_small_are_seen(digits):
    deep = [layer for _ in range(5) for layer in (mn.Dense(20, init=SMALL), mn.ReLU())]
    assert look(build(between=deep), digits, "variance by layer")["variance by layer"].verdict == "failed"


def test_a_net_that_is_better_than_chance_before_training_is_seen(digits):
    net = build(last=GlorotUniform())
    mn.fit(net, digits, rule=mn.Adam(), lr=1e-2, steps=200, progress=False)
    finding = look(net, digits, "first loss")["first loss"]
    assert finding.verdict == "failed"
    assert "labels among the features" in finding.advice


def test_a_dead_net_is_seen(digits):
    net = build()
    net.named_parameters()["0.b"][...] = -100
    found = verdicts(look(net, digits, "variance by layer", "overfitting", "shuffled labels"))
    assert found["variance by layer"] == found["overfitting"] == found["shuffled labels"] == "failed"


@dataclass(frozen=True)
class HalfGradient(mn.Dense):
    """Forgets half of its weights' gradient."""

    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        m.dW *= 0.5


@dataclass(frozen=True)
class NoInputGradient(mn.Dense):
    """Passes nothing on."""

    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        if dx is not None:
            dx.fill(0)


@dataclass(frozen=True)
class WrongSign(mn.Dense):
    """Climbs."""

    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        m.dW *= -1
        m.db *= -1


@pytest.mark.parametrize("units", [30, 400])  # coordinate by coordinate, and along directions
def test_a_wrong_backward_pass_is_seen(digits, units):
    report = look(build(hidden=HalfGradient(units)), digits, "gradients")
    assert report["gradients"].verdict == "failed"
    assert report["gradients"].values["worst"] == "0.W"
    assert look(build(hidden=mn.Dense(units)), digits, "gradients")["gradients"].verdict == "passed"


@pytest.mark.parametrize("seed", [2, 10])
def test_kinks_are_no_fault_of_a_sound_net(seed):
    """A direction through all filters of a convolution before ReLU and pooling crosses kinks at any step."""
    x, y = (part[:400] for part in mn.datasets.digits())
    images = np.zeros((400, 16, 16, 1), np.float32)
    images[:, 4:12, 4:12] = x
    layers = [mn.Conv2D(8, 3), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(64), mn.ReLU(), mn.Dense(10)]
    net = mn.Net(layers, (16, 16, 1), mn.SoftmaxCrossEntropy(), seed=seed)
    assert net.params.size > 20_000
    assert look(net, (images, y), "gradients", rule=mn.SGD(), seed=seed)["gradients"].verdict == "passed"


@pytest.mark.parametrize("verdict", ["kink", "round-off", "truncation", "suspicious"])
def test_what_a_check_cannot_judge_is_a_warning_with_what_to_do(digits, monkeypatch, verdict):
    room = importlib.import_module("minnet.diagnostics.preflight.training")

    def uncertain(*arguments, **options):
        checked = mn.check_net(*arguments, **options)
        return replace(checked, tensors=tuple(replace(tensor, verdict=verdict) for tensor in checked.tensors))

    monkeypatch.setattr(room, "check_net", uncertain)
    finding = look(build(hidden=mn.Dense(6)), digits, "gradients")["gradients"]
    assert finding.verdict == "warning"
    assert VERDICTS[verdict] in finding.advice


def test_a_layer_that_passes_no_gradient_on_is_seen(digits):
    report = look(build(between=(NoInputGradient(30),)), digits, "gradients", "variance by layer")
    assert report["gradients"].verdict == "failed"
    assert report["variance by layer"].verdict == "failed"
    assert "layer 0" in report["variance by layer"].measured


def test_a_net_that_cannot_learn_fails_to_overfit(digits):
    layers = [mn.Flatten(), WrongSign(10)]
    net = mn.Net(layers, 64, mn.SoftmaxCrossEntropy())
    assert look(net, digits, "overfitting")["overfitting"].verdict == "failed"


def test_equal_samples_with_different_labels_cannot_be_overfitted(digits):
    x, y = digits[0][:40].copy(), digits[1][:40]
    x[:] = x[0]
    assert look(build(), (x, y), "overfitting")["overfitting"].verdict == "failed"


def test_overfitting_is_without_penalties_noise_and_smoothing(digits):
    loss = mn.SoftmaxCrossEntropy(label_smoothing=0.3)
    net = build(between=(mn.Residual([mn.Dropout(0.9)]),), loss=loss, l2=10.0)
    found = verdicts(look(net, digits, "overfitting", "regularisation"))
    assert found["overfitting"] == "passed"
    assert found["regularisation"] == "warning"  # it outweighs the data


@dataclass(frozen=True)
class Untagged(mn.Dense):
    """A Dense whose weights no penalty applies to."""

    def plan(self, in_shape):
        plan = super().plan(in_shape)
        return replace(plan, params=tuple(replace(param, decay=False) for param in plan.params))


def test_a_penalty_that_reaches_no_weight_is_seen(digits):
    net = mn.Net([Untagged(10, init=SMALL)], 64, mn.SoftmaxCrossEntropy(), l2=0.1)
    assert look(net, digits, "regularisation")["regularisation"].verdict == "warning"


def test_a_penalty_that_the_objective_forgets_is_seen(digits, monkeypatch):
    monkeypatch.setattr(mn.Net, "penalties", lambda self: (0.0, 0.0))
    assert look(build(l2=0.1), digits, "regularisation")["regularisation"].verdict == "failed"
    monkeypatch.setattr(mn.Net, "penalties", lambda self: (1e-3 * self.l2, 0.0))
    assert look(build(l2=0.1), digits, "regularisation")["regularisation"].verdict == "failed"


@pytest.mark.parametrize(("lr", "verdict"), [(1e-3, "passed"), (1e-7, "failed"), (1.0, "failed")])
def test_the_first_update_is_set_against_the_weights(digits, lr, verdict):
    finding = look(build(last=GlorotUniform()), digits, "first update ratio", lr=lr)["first update ratio"]
    assert finding.verdict == verdict
    # Adam's first step has the size lr in every coordinate with a gradient, as far as float32 can add it.
    W = build(last=GlorotUniform()).named_parameters()["2.W"]
    assert finding.values["ratios"]["2.W"] == pytest.approx(lr * math.sqrt(W.size) / np.linalg.norm(W), rel=0.05)


def test_a_rate_that_diverges_is_a_finding_not_an_error(digits):
    report = look(build(last=GlorotUniform(), loss=mn.SquaredHinge()), digits, rule=mn.SGD(), lr=1e4)
    assert report["first update ratio"].verdict == "failed"
    assert json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("lr", [1e-9, 1e4])
def test_what_follows_from_the_rate_is_not_held_against_anything_else(digits, lr):
    report = look(build(last=GlorotUniform()), digits, rule=mn.SGD(), lr=lr)
    assert [name for name, verdict in verdicts(report).items() if verdict == "failed"] == ["first update ratio"], report
    assert report["shuffled labels"].verdict == "skipped"
    assert "see first update ratio" in report["shuffled labels"].advice


def test_a_wrong_backward_pass_is_seen_at_any_rate(digits):
    assert look(build(hidden=HalfGradient(30)), digits, "gradients", lr=1e-9)["gradients"].verdict == "failed"


def test_one_class_is_one_failure(digits):
    x, y = digits
    report = look(build(last=GlorotUniform(0.5)), (x[y == 3], y[y == 3]))
    assert [name for name, verdict in verdicts(report).items() if verdict == "failed"] == ["class balance"], report
    assert report["shuffled labels"].measured == "all targets are the same"


def test_no_gradient_is_not_put_down_to_the_rate(digits):
    net = build()
    net.named_parameters()["0.b"][...] = -100
    finding = look(net, digits, "first update ratio")["first update ratio"]
    assert (finding.verdict, finding.measured) == ("warning", "no gradient for 0.W, 2.W")


# The value of chance -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "outputs", "expected"),
    [
        (mn.SoftmaxCrossEntropy(), 10, math.log(10)),
        (mn.SoftmaxCrossEntropy(label_smoothing=0.2), 10, math.log(10)),
        (mn.SoftmaxCrossEntropy(class_weights=tuple(range(1, 11))), 10, math.log(10)),
        (mn.MulticlassHinge(), 10, 9.0),
        (mn.MulticlassHinge(margin=2.0), 10, 18.0),
        (mn.SquaredHinge(margin=2.0), 10, 36.0),
        (mn.Logistic(), 1, math.log(2)),
        (mn.Logistic(), 3, 3 * math.log(2)),
    ],
)
def test_chance_is_the_loss_of_a_net_that_says_nothing(digits, loss, outputs, expected):
    x, y = digits
    if isinstance(loss, mn.Logistic):
        y = (x[:, 20 : 20 + outputs] > 0).astype(np.float32)
    silent = mn.Net([mn.Dense(outputs, init=Constant(0.0))], 64, loss)
    assert chance(silent, y)[0] == pytest.approx(expected)
    finding = look(silent, (x, y), "first loss")["first loss"]
    assert finding.verdict == "passed"
    assert finding.values["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_loss_without_chance_says_so(digits):
    x = digits[0]
    net = mn.Net([mn.Dense(20), mn.ReLU(), mn.Dense(2)], 64, mn.SquaredError())
    targets = x[:, 20:22] + x[:, 30:32]
    report = look(net, (x, targets), "first loss", "class balance", "shuffled labels")
    assert report["first loss"].verdict == "skipped"
    assert report["first loss"].values["zero"] == pytest.approx(np.square(targets).sum(axis=1).mean(), rel=1e-5)
    assert report["class balance"].verdict == "skipped"
    assert report["shuffled labels"].verdict == "passed"
    noise = np.random.default_rng(0).permutation(targets)
    assert look(net, (x, noise), "shuffled labels")["shuffled labels"].verdict == "failed"


# Arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"net": "net"}, TypeError, "preflight: expected a Net with a loss; got 'net'"),
        ({"net": mn.Net([mn.ReLU()], 64)}, TypeError, "expected a Net with a loss"),
        ({"net": mn.Net([mn.ReLU()], 64, mn.SquaredError())}, ValueError, "expected a net with parameters to train"),
        ({"data": 3}, TypeError, "expected data as a pair"),
        ({"data": (np.zeros((5, 3), np.float32), np.zeros(5, int))}, ValueError, "samples of shape \\(64,\\)"),
        ({"data": (np.zeros((5, 64), np.float32), np.zeros(4, int))}, ValueError, "as many targets"),
        ({"rule": "Adam"}, TypeError, "expected rule to be a Rule"),
        ({"rule": mn.LBFGS()}, ValueError, "takes batches"),
        ({"lr": 0.0}, ValueError, "expected lr above 0"),
        ({"few": 1}, ValueError, "expected few of at least 2"),
        ({"seed": -1}, ValueError, "expected seed of at least 0"),
    ],
)
def test_bad_arguments_are_named(digits, change, error, words):
    arguments = {"net": build(), "data": digits} | change
    with pytest.raises(error, match=words):
        look(arguments.pop("net"), arguments.pop("data"), **arguments)


def test_an_unknown_check_is_named(sound):
    with pytest.raises(KeyError, match="expected one of"):
        sound["colour"]
    assert isinstance(sound, Preflight)


def test_rewiring_reaches_every_layer_by_the_name_of_its_parameters():
    net = mn.Net([mn.Dense(4), mn.Residual([mn.Dense(4), mn.ReLU()], shortcut=mn.Dense(4)), mn.Chain([mn.PReLU()])], 3)
    names = []
    rewire.rewire(net.layers, lambda name, layer: names.append(name) or layer)
    assert names == ["0", "1.layers.0", "1.layers.1", "1.layers", "1.shortcut", "1", "2.0", "2"]
    assert {name.rpartition(".")[0] for name in net.named_parameters()} <= set(names)
