"""Checks of networks: modes, parts of the objective, burn-in, precisions, the result object."""

import json

import numpy as np
import pytest

import minnet as mn

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((5, 6)), RNG.integers(0, 3, 5)


class Doubled(mn.Dense):
    """Its gradient is twice too large."""

    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        m.dW *= 2


def make(first=mn.Dense, **options):
    layers = [mn.Dense(20), mn.Tanh(), first(20), mn.Tanh(), mn.Dense(3)]
    return mn.Net(layers, 6, mn.SoftmaxCrossEntropy(), dtype=np.float64, **options)


def test_directions_cost_a_few_evaluations_for_any_number_of_parameters():
    net = mn.Net([mn.Dense(300), mn.ReLU(), mn.Dense(300), mn.ReLU(), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy())
    result = mn.check_net(net, X, Y, mode="directions", directions=2)
    result.assert_passed()
    assert net.params.size > 90_000
    assert result.evaluations < 20


@pytest.mark.parametrize("mode", ["sample", "directions"])
def test_the_guilty_tensor_is_found(mode):
    result = mn.check_net(make(Doubled), X, Y, mode=mode)
    assert (result.worst.name, result.verdict) == ("2.W", "wrong")
    assert result.worst.analytic == pytest.approx(2 * result.worst.numeric, rel=1e-4)
    assert [t.name for t in result.tensors if not t.passed] == ["2.W"]


def test_a_sample_skips_no_tensor_and_spreads_over_each():
    result = mn.check_net(make(), X, Y, mode="sample", samples=4)
    counted = {t.name: (t.checked, t.size) for t in result.tensors}
    assert counted["0.W"] == (4, 120)
    assert counted["4.b"] == (3, 3)
    assert len(counted) == 7
    assert result.to_dict() == mn.check_net(make(), X, Y, mode="sample", samples=4).to_dict()


class BadRow(mn.Dense):
    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        m.dW[5:10] = 0


def test_a_stratified_sample_sees_every_quarter_of_a_tensor():
    for seed in range(5):
        assert mn.check_net(make(BadRow), X, Y, mode="sample", samples=4, seed=seed).worst.name == "2.W"


def test_a_wrong_data_gradient_behind_a_large_penalty_is_found():
    class Slightly(mn.Dense):
        def backward(self, m, x, y, dy, dx):
            super().backward(m, x, y, dy, dx)
            m.dW *= 1.05

    net = make(Slightly, l2=1e4)
    assert mn.check_net(net, X, Y)["2.W"].error < 1e-3
    result = mn.check_net(net, X, Y, part="each")
    assert result["data: 2.W"].verdict == "wrong"
    assert result["penalties: 2.W"].passed
    assert result["data: 0.W"].passed
    assert mn.check_net(net, X, Y, part="penalties").passed
    assert mn.check_net(net, X, Y, part="data").worst.name == "2.W"
    with pytest.raises(ValueError, match="expected part of together, data, penalties, each; got 'both'"):
        mn.check_net(net, X, Y, part="both")


def test_a_net_without_parameters_is_checked_for_its_input_alone():
    net = mn.Net([mn.Tanh()], X.shape[1], mn.SquaredError())
    mn.check_net(net, X, X).assert_passed()
    with pytest.raises(ValueError, match=r"check_net: expected a net with parameters, or inputs=True; got Net\("):
        mn.check_net(net, X, X, inputs=False)


def test_burn_in_trains_the_twin_alone():
    net = make()
    before = net.params.copy()
    plain, burnt = mn.check_net(net, X, Y), mn.check_net(net, X, Y, burn_in=5)
    burnt.assert_passed()
    np.testing.assert_array_equal(net.params, before)
    assert net.step == 0
    assert plain["0.W"].analytic != burnt["0.W"].analytic


def test_single_precision_follows_double_precision():
    net = mn.Net([mn.Dense(20), mn.BatchNorm(), mn.ReLU(), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy(), l2=0.1)
    result = mn.compare_precisions(net, X, Y)
    result.assert_passed()
    assert 0 < result.error < 1e-5

    class Rough(mn.Dense):
        def backward(self, m, x, y, dy, dx):
            super().backward(m, x, y, dy, dx)
            if m.dW.dtype == np.float32:
                m.dW[...] = m.dW.astype(np.float16)

    assert mn.compare_precisions(make(Rough), X, Y).worst.name == "2.W"


def test_a_result_prints_as_an_aligned_table_with_the_worst_first():
    result = mn.check_net(make(Doubled), X, Y)
    header, *rows, last = str(result).splitlines()
    assert header.split()[:2] == ["tensor", "verdict"]
    assert rows[0].split()[:2] == ["2.W", "wrong"]
    assert len({row.index(row.split()[1]) for row in rows}) == 1
    assert last == f"wrong: all coordinates, {result.evaluations} evaluations"
    with pytest.raises(AssertionError) as caught:
        result.assert_passed()
    text = str(caught.value)
    assert text.startswith("gradient check: 2.W: wrong, relative error 5.00e-01")
    assert str(result) in text


def test_a_result_is_written_as_json(tmp_path):
    result = mn.check_net(make(Doubled), X, Y, sweep=True)
    result.save(tmp_path / "check.json")
    read = json.loads((tmp_path / "check.json").read_text())
    assert read["verdict"] == "wrong"
    assert read["tensors"][2]["name"] == result.tensors[2].name
    assert read["tensors"][2]["worst"] == list(result.tensors[2].worst)
    assert len(read["sweep"]["curves"]) == 7
    unwritten = mn.check_gradient(lambda x: float(x.sum()), np.ones(2), np.array([1.0, np.nan]))
    assert json.loads(unwritten.to_json())["tensors"][0]["error"] is None


def test_a_result_gives_a_tensor_by_name():
    result = mn.check_net(make(), X, Y)
    assert result["input"].size == 30
    with pytest.raises(KeyError, match="expected one of"):
        result["9.W"]


def test_a_table_of_layers_is_checked_case_by_case():
    cases = mn.layer_cases([(mn.Dense(3), (4,)), (Doubled(3), (4,))], batches=(2,))
    assert len(cases) == 4
    assert [case.check().passed for case in cases] == [True, True, False, False]
    assert len({str(case) for case in cases}) == 4
    assert "training" in str(cases[0])


@pytest.mark.parametrize(
    ("error", "words"), [(1.0, "wrong"), (1e-3, "doubtful"), (1e-5, "fine with kinks"), (1e-8, "happy")]
)
def test_the_words_of_the_notes_go_by_the_error_alone(error, words):
    assert mn.cs231n(error) == words
    assert mn.cs231n(float("nan")) == "wrong"


# The sweep ---------------------------------------------------------------------------------------------------


def curve(f, x, analytic):
    return mn.check_gradient(f, x, analytic, sweep=True).sweep.curves[0]


def test_the_error_of_a_right_gradient_falls_and_rises_with_the_step():
    x = np.array([0.3, 1.2])
    found = curve(lambda x: np.exp(3 * x).sum(), x, 3 * np.exp(3 * x))
    assert found.verdict == "correct"
    assert found.labels[0] == "truncation"
    assert found.labels[-1] == "round-off"
    assert found.errors[0] / found.errors[1] == pytest.approx(100, rel=0.2)  # h^2
    assert "correct" in found.labels
    assert 1e-7 < found.best < 1e-2


def test_what_is_wrong_stays_wrong_at_every_step():
    x = np.array([0.3, 1.2])
    found = curve(lambda x: np.exp(3 * x).sum(), x, 3.3 * np.exp(3 * x))
    assert found.verdict == "wrong"
    assert set(found.labels[3:8]) == {"wrong"}


@pytest.mark.parametrize("told", [True, False], ids=["winners told", "winners unknown"])
def test_a_kink_ends_at_the_step_that_does_not_reach_it(told):
    x = np.array([[3e-4]])
    if told:
        net = mn.Net([mn.ReLU(), mn.Dense(1, bias=False)], 1, mn.SquaredError(), dtype=np.float64)
        found = mn.check_net(net, x, np.array([[2.0]]), sweep=True).sweep.curves[-1]
    else:
        found = curve(lambda x: float(np.maximum(x, 0).sum() + x.sum()), x, np.full((1, 1), 2.0))
    assert found.labels[:3] == ("kink", "kink", "kink")  # 0.1, 0.01, 0.001
    assert "correct" in found.labels[3:6]
    assert found.verdict == "correct"
    assert found.crossed[:4] == ((1, 1, 1, 0) if told else (0, 0, 0, 0))


def test_the_figure_of_error_against_the_step_has_its_data_beside_it(tmp_path):
    result = mn.check_net(make(Doubled), X, Y, sweep=True)
    result.sweep.plot(tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 10_000
    rows = (tmp_path / "sweep.csv").read_text().splitlines()
    assert len(rows) == 1 + 7 * len(result.sweep.steps)
    assert "2.W: wrong" not in str(result.sweep)
    assert "surest step" in str(result.sweep)


def test_each_part_has_its_own_sweep():
    sweep = mn.check_net(make(l2=0.1), X, Y, part="each", sweep=True, samples=1, mode="sample").sweep
    for part, count in (("together", 7), ("data", 7), ("penalties", 6)):
        assert sum(curve.name.startswith(f"{part}: ") for curve in sweep.curves) == count


def test_a_loss_whose_gradient_differs_from_call_to_call_is_reported():
    class Drifting(mn.SquaredError):
        def value_and_gradient(self, scores, targets, dscores, sample_weight=None):
            value = super().value_and_gradient(scores, targets, dscores, sample_weight)
            dscores += 1e-13 * np.random.default_rng().standard_normal(dscores.shape)
            return value

    result = mn.check_loss(Drifting(), X, np.zeros_like(X))
    assert result.nondeterminism > 0
    assert not result.passed


@pytest.mark.parametrize(
    "layers",
    [
        [mn.SelfAttention(1, padding=0)],
        [mn.SelfAttention(1, causal=True, padding=1)],
        [mn.Residual(mn.SelfAttention(1, padding=1)), mn.SelfAttention(2, causal=True, padding=2)],
        [mn.GRU(2, padding=0), mn.SelfAttention(1, padding=0)],
        [mn.RNN(2, padding=1)],
    ],
    ids=str,
)
def test_the_words_that_check_layer_draws_are_never_refused(layers):
    """With three words, one in nine of the samples of two words would be nothing but padding."""
    layer = mn.Chain([mn.Embedding(3, 2), *layers])
    for seed in range(25):
        mn.check_layer(layer, (2,), batch=4, seed=seed, samples=4).assert_passed()


def test_a_vocabulary_of_nothing_but_padding_is_refused_by_the_net():
    layer = mn.Chain([mn.Embedding(1, 2), mn.SelfAttention(1, padding=0)])
    with pytest.raises(ValueError, match="Net: expected another word than padding=0 somewhere in each sample"):
        mn.check_layer(layer, (3,))
