"""Which figures are better: by name or by mode, in everything that keeps, stops or slows down by a figure."""

import math

import numpy as np
import pytest

import minnet as mn
from minnet.training.direction import Direction

NAN, INF = math.nan, math.inf


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((12, 3)).astype(np.float32), rng.integers(0, 2, 12)


class Script(mn.Callback):
    """Writes given figures into the epochs' rows, and keeps the weights of each epoch."""

    def __init__(self, column, values):
        self.column, self.values, self.weights = column, values, []

    def on_epoch(self, trainer, row):
        row[self.column] = self.values[row["epoch"] - 1]
        self.weights.append((trainer.net.params.tobytes(), trainer.net.buffers.tobytes()))


def run(column, figures, *callbacks):
    """(trainer after its run, the weights of each epoch) of a run that measures these figures."""
    net = mn.Net([mn.Dense(4), mn.BatchNorm(), mn.ReLU(), mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=1)
    script = Script(column, figures)
    given = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 4, "epochs": len(figures)}
    trainer = mn.Trainer(net, data(), **given, callbacks=[script, *callbacks])
    trainer.run(progress=False)
    return trainer, script.weights


def weights(trainer):
    return trainer.net.params.tobytes(), trainer.net.buffers.tobytes()


# The direction itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, "min") for name in ("loss", "val_loss", "val_data_loss", "log_loss", "ece")),
        *((name, "max") for name in ("accuracy", "val_accuracy")),
    ],
)
def test_minnets_own_figures_tell_their_direction(name, mode):
    assert Direction.of("someone", name).mode == mode
    assert {Direction.of("someone", name, given).mode for given in ("min", "max")} == {"min", "max"}


# Names that hold a known one, and tell nothing all the same: an accuracy may be of what is to be avoided.
UNKNOWN = ["f1", "val_auc", "score", "inaccuracy", "val_loss_scale", "accuracy_gap", "val_", "Accuracy", ""]
LISTENERS = {
    "EarlyStopping": lambda folder, name, **mode: mn.EarlyStopping(name, patience=2, **mode),
    "KeepBest": lambda folder, name, **mode: mn.KeepBest(name, **mode),
    "ReduceOnPlateau": lambda folder, name, **mode: mn.ReduceOnPlateau(name, 0.5, 1, **mode),
    "HalveOnStall": lambda folder, name, **mode: mn.HalveOnStall(name, 1, **mode),
    "Checkpoint": lambda folder, name, **mode: mn.Checkpoint(folder / "run", best=name, **mode),
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("who", LISTENERS)
def test_another_figure_needs_a_mode(who, name, tmp_path):
    with pytest.raises(
        ValueError,
        match=f"^{who}: expected one of minnet's figures, .* or mode='min' .*; got '{name}'.* without a mode",
    ):
        LISTENERS[who](tmp_path, name)
    assert LISTENERS[who](tmp_path, name, mode="max").mode == "max"


@pytest.mark.parametrize("mode", ["maximum", "MAX", 1, True])
@pytest.mark.parametrize("who", LISTENERS)
def test_a_mode_is_min_or_max(who, mode, tmp_path):
    for name in ("f1", "val_loss"):
        with pytest.raises(ValueError, match=f"^{who}: expected mode to be 'min' or 'max'; got {mode!r}$"):
            LISTENERS[who](tmp_path, name, mode=mode)


@pytest.mark.parametrize("who", sorted(set(LISTENERS) - {"Checkpoint"}))
def test_the_name_of_a_figure_is_text(who, tmp_path):
    with pytest.raises(TypeError, match=f"^{who}: expected the name of a figure as text; got None"):
        LISTENERS[who](tmp_path, None)


def test_a_checkpoint_without_best_has_no_mode(tmp_path):
    with pytest.raises(ValueError, match="Checkpoint: expected mode only with best"):
        mn.Checkpoint(tmp_path / "run", mode="max")


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_never_better_and_all_else_is_better_than_nan(mode):
    direction, (bad, good) = Direction(mode), (1.0, -1.0) if mode == "min" else (-1.0, 1.0)
    assert direction.better(good, bad)
    assert not direction.better(bad, good)
    assert not direction.better(good, good)
    assert not any(direction.better(NAN, best) for best in (None, NAN, bad, INF, -INF))
    assert all(direction.better(value, best) for value in (bad, INF, -INF) for best in (None, NAN))
    assert direction.better(bad, direction.worst)
    assert not direction.better(direction.worst, direction.worst)
    assert not direction.better(good, bad, margin=2.0)
    assert direction.better(good, bad, margin=1.9)
    assert direction.costs([bad, NAN, good, INF]).tolist() == [1.0, INF, -1.0, INF if mode == "min" else -INF]


# What is kept ------------------------------------------------------------------------------------------------

KEPT = {  # figures, mode, the best epoch (from 1)
    "to maximise": ([0.2, 0.9, 0.5, 0.4], "max", 2),
    "to minimise": ([0.2, 0.9, 0.1, 0.4], "min", 3),
    "below 0, to maximise": ([-5.0, -3.0, -4.0, -9.0], "max", 2),
    "below 0, to minimise": ([-5.0, -3.0, -4.0, -9.0], "min", 4),
    "NaN first": ([NAN, 0.5, 0.9, NAN], "max", 3),
    "a tie": ([0.5, 0.9, 0.9, 0.1], "max", 2),
    "infinity": ([INF, 0.5, 0.9, 0.7], "min", 2),
}


@pytest.mark.parametrize("case", KEPT)
def test_the_best_epochs_weights_are_kept(case, tmp_path):
    figures, mode, best = KEPT[case]
    for keeper in (mn.KeepBest("f1", mode=mode), mn.EarlyStopping("f1", patience=9, mode=mode)):
        trainer, of_epochs = run("f1", figures, keeper)
        assert (len(set(of_epochs)), len(trainer.history), trainer.history.stopped) == (4, 4, "finished")
        assert weights(trainer) == of_epochs[best - 1]
        assert (keeper.best, keeper.best_epoch) == (figures[best - 1], best)
    trainer, of_epochs = run("f1", figures, mn.Checkpoint(tmp_path / "run", best="f1", mode=mode))
    mn.load_weights(trainer.net, tmp_path / "run" / "best.ckpt")
    assert weights(trainer) == of_epochs[best - 1]


def test_a_figure_that_is_always_nan_has_no_best(tmp_path):
    keeper = mn.KeepBest("f1", mode="max")
    trainer, of_epochs = run("f1", [NAN] * 3, keeper, mn.Checkpoint(tmp_path / "run", best="f1", mode="max"))
    assert weights(trainer) == of_epochs[-1]
    assert (keeper.best, keeper.best_epoch, keeper.state()) == (None, None, {})
    assert not (tmp_path / "run" / "best.ckpt").exists()


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("figures", "epochs", "kept"),
    [
        ([NAN] * 6, 3, 3),
        ([NAN, NAN, 0.5, 0.5, 0.5, 0.5, 0.5], 6, 3),
        ([0.5, NAN, NAN, NAN, NAN, NAN], 4, 1),
        ([NAN, NAN, NAN, 0.5, 0.5, 0.5], 3, 3),
    ],
)
def test_nan_ends_patience(figures, epochs, kept, mode):
    trainer, of_epochs = run("f1", figures, mn.EarlyStopping("f1", patience=3, mode=mode))
    assert len(trainer.history) == epochs
    assert trainer.history.stopped == "no better f1 in 3 epochs"
    assert weights(trainer) == of_epochs[kept - 1]


def test_nan_in_every_epoch_reduces_rates():
    for controller in (
        mn.ReduceOnPlateau("f1", 0.5, patience=1, mode="max"),
        mn.ReduceOnPlateau("f1", 0.5, patience=2, counting="keras", mode="min"),
        mn.HalveOnStall("f1", patience=2, mode="max"),
    ):
        trainer, _ = run("f1", [NAN] * 5, controller)
        assert trainer.history["lr"] == [0.1, 0.1, 0.05, 0.05, 0.025]
        assert controller.best is None


# Plateaus ----------------------------------------------------------------------------------------------------


def bad_after(figures, **arguments):
    """Bad epochs counted after each figure."""
    plateau = mn.ReduceOnPlateau("f1", 0.5, patience=99, **arguments)
    found = []
    for figure in figures:
        plateau.update(figure)
        found.append(plateau.bad)
    return found


@pytest.mark.parametrize("sign", [1, -1])
def test_a_relative_threshold_is_a_share_of_the_distance_from_0(sign):
    """The same figures, turned around, with the other mode: not a matter of sign."""
    # 10 % of 2 is 0.2: 1.9 is not better, 1.7 is; 10 % of 1.7 is 0.17: 1.6 is not, 1.5 is.
    assert bad_after([sign * f for f in (2, 1.9, 1.7, 1.6, 1.5)], threshold=0.1, mode="min" if sign > 0 else "max") == [
        *(0, 1, 0, 1, 0)
    ]
    # Away from 0: 10 % of 2 is 0.2: 2.1 is not better, 2.3 is, 2.4 is not.
    assert bad_after([sign * f for f in (2, 2.1, 2.3, 2.4)], threshold=0.1, mode="max" if sign > 0 else "min") == [
        *(0, 1, 0, 1)
    ]


def test_worsening_figures_below_0_are_bad_epochs():
    assert bad_after([-1.0, -0.95, -0.92, -1.0], threshold=0.1, mode="min") == [0, 1, 2, 3]
    assert bad_after([-1.0, -1.05, -1.08, -1.0], threshold=0.1, mode="max") == [0, 1, 2, 3]
    assert bad_after([-1.0] * 4, threshold=1e-4, mode="min") == [0, 1, 2, 3]
    assert bad_after([-1.0] * 4, threshold=1e-4, mode="max") == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["rel", "abs"])
def test_zero_and_infinity_are_figures_like_others(kind):
    given = {"threshold": 0.1, "threshold_mode": kind}
    assert bad_after([1.0, 0.0, 0.0, -0.01, -0.2], mode="min", **given) == [0, 0, 1, 0 if kind == "rel" else 2, 0]
    assert bad_after([INF, 3.0, -INF, -INF, 2.0], mode="min", **given) == [1, 0, 0, 1, 2]
    assert bad_after([-INF, 3.0, INF, INF, 2.0], mode="max", **given) == [1, 0, 0, 1, 2]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("counting", ["pytorch", "keras"])
def test_figures_below_0_count_as_their_mirror_image(counting, mode):
    """A rule that is defined by |best| counts the same for -f and the other mode."""
    other = {"min": "max", "max": "min"}[mode]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        figures = np.round(np.cumsum(rng.normal(0, 0.1, 60)), 2)
        given = {"factor": 0.5, "patience": 2, "cooldown": 1, "threshold": 0.05, "counting": counting}
        here, there = (mn.ReduceOnPlateau("f1", mode=m, **given) for m in (mode, other))
        assert [here.update(f) for f in figures] == [there.update(-f) for f in figures]
        assert here.lr_factor < 1


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("kind", ["rel", "abs"])
def test_pytorch_counts_the_same_where_its_threshold_is_right(kind, mode):
    """Figures from 0 up, to either side of the threshold to the last bit; those below 0 with the absolute one."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        figures = np.round(np.cumsum(rng.normal(0, 0.1, 80)), 2)
        figures = abs(figures) if kind == "rel" else figures
        figures[rng.random(80) < 0.05] = NAN
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
            torch.optim.SGD([torch.zeros(1)], lr=1.0), mode, 0.5, 2, 0.05, kind, 1, eps=0.0
        )
        ours = mn.ReduceOnPlateau("f1", 0.5, 2, 1, 0.05, kind, mode=mode)
        for figure in figures.tolist():
            theirs.step(figure)
            assert ours.update(figure) == theirs.optimizer.param_groups[0]["lr"]
            assert (ours.bad, ours.cooling) == (theirs.num_bad_epochs, theirs.cooldown_counter)
        assert ours.lr_factor < 1


# A loop of one's own -----------------------------------------------------------------------------------------


def test_a_plateau_in_a_loop_of_ones_own_is_that_of_a_run():
    figures = [1.0, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8]
    for given in ({"patience": 1}, {"patience": 1, "cooldown": 1}, {"patience": 2, "counting": "keras", "floor": 0.04}):
        in_run, by_hand = (mn.ReduceOnPlateau("f1", 0.5, mode="min", **given) for _ in range(2))
        trainer, _ = run("f1", figures, in_run)
        net = mn.Net([mn.Dense(4), mn.BatchNorm(), mn.ReLU(), mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=1)
        optimizer, batches = mn.Optimizer(net, mn.SGD()), mn.data.Batches(data(), 4, dtype=net.dtype)
        rates = []
        for figure in figures:
            for x, y in batches.epoch():
                net.loss_and_grads(x, y)
                optimizer.step(0.1, lr_factor=by_hand.lr_factor)
            rates.append(0.1 * by_hand.lr_factor)
            assert by_hand.update(figure, lr=rates[-1]) == by_hand.lr_factor
        assert rates == trainer.history["lr"]
        assert (by_hand.lr_factor, by_hand.state()) == (trainer.lr_factor, in_run.state())
        assert net.params.tobytes() == trainer.net.params.tobytes()
        assert by_hand.lr_factor < 1


def test_the_factor_of_a_loop_of_ones_own_is_in_the_state():
    plateau, again = (mn.HalveOnStall("val_loss", 1) for _ in range(2))
    for figure in (1.0, 1.0, 1.0):
        plateau.update(figure)
    again.restore(plateau.state())
    assert again.lr_factor == plateau.lr_factor == 0.25
    with pytest.raises(ValueError, match="lr_factor above 0; got 0"):
        again.restore({"lr_factor": 0})


def test_update_says_what_it_needs():
    with pytest.raises(ValueError, match=r"^ReduceOnPlateau.update: expected lr, .* for floor=0.1; got none"):
        mn.ReduceOnPlateau(floor=0.1).update(1.0)
    for metric in ("x", None, [1.0, 2.0]):
        plateau = mn.ReduceOnPlateau()
        with pytest.raises(TypeError, match=r"^ReduceOnPlateau.update: expected numbers in column 'metric'; got"):
            plateau.update(metric)
        assert plateau.bad == 0
    assert mn.ReduceOnPlateau(patience=0).update(np.float32(NAN)) == 0.1


# What else picks a best --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nets():
    return [mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=seed) for seed in range(4)]


def test_the_best_of_a_search_are_those_of_least_loss_or_largest_score(nets):
    scores = [0.3, NAN, 0.9, 0.1]
    assert mn.Ensemble.best(nets[0], nets, scores, 3, mode="min").names == ("member 3", "member 0", "member 2")
    assert mn.Ensemble.best(nets[0], nets, scores, 4, mode="max").names[0] == "member 2"
    assert mn.Ensemble.best(nets[0], nets, scores, 4, mode="max").names[-1] == "member 1"
    with pytest.raises(ValueError, match=r"^Ensemble.best: expected one of minnet's figures, .*; got 'scores'"):
        mn.Ensemble.best(nets[0], nets, scores, 3)


def hits(mean, y):
    return float((mean.argmax(axis=1) == y).mean())


def test_greedy_selection_knows_which_metrics_to_maximise(nets):
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 20)
    p = rng.dirichlet(np.ones(3), (5, 20)) + 0.3 * np.eye(3)[y]
    p /= p.sum(axis=-1, keepdims=True)
    by_name = mn.select_greedily(p, y, metric="accuracy")
    assert mn.select_greedily(p, y, metric=hits, mode="max").tolist() == by_name.tolist()
    missed = mn.select_greedily(p, y, metric=lambda mean, y: 1 - hits(mean, y), mode="min")
    assert missed.tolist() == by_name.tolist()
    assert mn.select_greedily(p, y, metric=hits, mode="min").tolist() != by_name.tolist()
    with pytest.raises(ValueError, match=r"^select_greedily: expected one of minnet's figures, .*; got .*hits"):
        mn.select_greedily(p, y, metric=hits)
    ensemble = mn.Ensemble(nets[0], nets)
    with pytest.raises(ValueError, match="expected mode only with metric"):
        ensemble.select(*data(), mode="max")
    chosen = ensemble.select(*data(), metric=hits, mode="max")
    assert chosen.weights.tolist() == ensemble.select(*data(), metric="accuracy").weights.tolist()


def test_a_member_whose_metric_is_nan_is_not_chosen():
    y = np.array([0, 1])
    p = np.array([[[NAN, NAN]] * 2, [[0.6, 0.4], [0.4, 0.6]], [[0.5, 0.5]] * 2])

    def squared(mean, y):
        return float(((mean - np.eye(2)[y]) ** 2).mean())

    assert mn.select_greedily(p, y, metric=squared, mode="min", rounds=3)[0] == 0
