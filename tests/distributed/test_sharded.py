"""Batches in shards, in one process: what the shards add up to, and what is refused."""

import copy
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import minnet as mn
from minnet.distributed import MPI, ranks
from minnet.distributed.sharded import Sharded, cut

CLASSES = 3


def images(n=48):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6, 6, 1)).astype(np.float32), rng.integers(0, CLASSES, n)


def noisy(**options):
    """A net with all that a pass may depend on beside its samples: statistics of the batch, and noise."""
    layers = [
        *(mn.Conv2D(4, 3), mn.BatchNorm(), mn.ReLU(), mn.SpatialDropout(0.2), mn.Flatten()),
        *(mn.Dropout(0.3), mn.Dense(5), mn.BatchNorm(0.7), mn.Dense(CLASSES)),
    ]
    return mn.Net(layers, (6, 6, 1), mn.SoftmaxCrossEntropy(), seed=3, **options)


def trained(net, exchange=None, data=None, **given):
    given = {"rule": mn.Momentum(0.9), "lr": 0.05, "batch_size": 16, "epochs": 3} | given
    history = mn.fit(net, data or images(), exchange=exchange, progress=False, **given)
    return net, history


def bits(net):
    return net.params.tobytes(), net.buffers.tobytes(), net.step


# What the shards add up to ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shards", [2, 4])
def test_a_step_is_one_of_accumulate_with_batches_of_a_shard(shards, dtype):
    augment = mn.data.Augment(flip=True, crop=1)
    together, _ = trained(noisy(dtype=dtype), MPI(shards), augment=augment)
    rule = mn.Accumulate(mn.Momentum(0.9), shards)
    one_by_one, _ = trained(noisy(dtype=dtype), rule=rule, batch_size=16 // shards, augment=augment)
    assert bits(together) == bits(one_by_one)


def test_one_shard_has_the_bits_of_a_run_without_an_exchange():
    given = {"batch_size": 20, "validation": images(9), "sample_weight": np.arange(48) % 5, "clip_norm": 0.5}
    (one, shown), (without, expected) = (trained(noisy(l2=0.01, l1=0.001), e, **given) for e in (MPI(1), None))
    assert bits(one) == bits(without)
    assert (shown.steps.rows, shown.epochs.rows) == (expected.steps.rows, expected.epochs.rows)


def scores(*shape):
    return np.random.default_rng(1).standard_normal(shape)


def labels(*shape, least=0):
    return np.random.default_rng(2).integers(least, CLASSES, shape)


def words(outputs, time=4):
    """A net with an output for each position of a sequence."""
    return [mn.Reshape((time, 2)), mn.Dense(outputs)]


WEIGHTS = (0.5, 2.0, 0.0)
# Layers after a Dense(8), the loss, and targets of n samples.
LOSSES = {
    "labels": ([mn.Dense(CLASSES)], mn.SoftmaxCrossEntropy(label_smoothing=0.1), lambda n: labels(n)),
    "class weights": ([mn.Dense(CLASSES)], mn.SoftmaxCrossEntropy(class_weights=WEIGHTS), lambda n: labels(n)),
    "ignored labels": ([mn.Dense(CLASSES)], mn.SoftmaxCrossEntropy(ignored=-1), lambda n: labels(n, least=-1)),
    "probabilities": ([mn.Dense(CLASSES)], mn.SoftmaxCrossEntropy(), lambda n: np.eye(CLASSES)[labels(n)]),
    "positions": (words(CLASSES), mn.SoftmaxCrossEntropy(ignored=-1), lambda n: labels(n, 4, least=-1)),
    "sums": (words(CLASSES), mn.SoftmaxCrossEntropy(ignored=-1, summed=True), lambda n: labels(n, 4, least=-1)),
    "hinge": ([mn.Dense(CLASSES)], mn.MulticlassHinge(), lambda n: labels(n)),
    "regression": ([mn.Dense(2)], mn.SquaredError(), lambda n: scores(n, 2)),
    "answers": ([mn.Dense(2)], mn.Logistic(), lambda n: (scores(n, 2) > 0).astype(float)),
}


@pytest.mark.parametrize("n", [12, 7, 3], ids=["equal shards", "shards of two sizes", "empty shards"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
def test_loss_gradient_and_hits_are_those_of_the_whole_batch(kind, weighted, n):
    layers, loss, targets = LOSSES[kind]
    net = mn.Net([mn.Dense(8), mn.Tanh(), *layers], 5, loss, l2=0.1, l1=0.01, dtype=np.float64)
    x, y = scores(n, 5), targets(n)
    weights = np.linspace(0.0, 2.0, n) if weighted else None
    whole, sharded = net.twin(), Sharded(net, MPI(4))
    expected = whole.loss_and_grads(x, y, sample_weight=weights)
    # Every number is a sum of a few dozen terms of the size of 1, so a few hundred roundings are more than enough.
    assert sharded.loss_and_grads(x, y, sample_weight=weights) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(net.grads, whole.grads, rtol=1e-12, atol=1e-14)
    assert net.objective == pytest.approx(whole.objective, rel=1e-13)
    for ask in ("correct", "counted"):
        expected = getattr(whole, ask)(y, sample_weight=weights)
        assert getattr(sharded, ask)(y, sample_weight=weights) == (expected and pytest.approx(expected, rel=1e-13))


@pytest.mark.parametrize(("n", "sizes"), [(8, [2, 2, 2, 2]), (6, [2, 2, 1, 1]), (3, [1, 1, 1, 0]), (1, [1, 0, 0, 0])])
def test_a_batch_is_cut_into_consecutive_shards_the_first_of_which_is_never_empty(n, sizes):
    parts = cut(n, 4)
    assert [part.stop - part.start for part in parts] == sizes
    assert [i for part in parts for i in range(n)[part]] == list(range(n))


def test_clipping_gets_the_sum_of_the_shards():
    _, history = trained(noisy(), MPI(4), clip_norm=1e-3, epochs=1)
    net = noisy()
    trainer = mn.Trainer(net, images(), rule=mn.SGD(), lr=1.0, batch_size=16, steps=1, exchange=MPI(4))
    before = net.params.copy()
    next(trainer)
    assert history.steps.rows[0]["grad_norm"] == pytest.approx(np.linalg.norm(before - net.params), rel=1e-5)


def test_a_frozen_norm_keeps_its_statistics():
    net = noisy()
    groups = [mn.Group(lambda tensor: tensor.name.startswith("1."), frozen=True)]
    trained(net, MPI(4), groups=groups)
    kept = net.named_buffers()
    assert (kept["1.running_mean"] == 0).all()
    assert (kept["7.running_mean"] != 0).all()


def test_a_line_search_passes_the_same_shards_again():
    x, y = images(24)
    given = {"rule": mn.LBFGS(), "lr": 1.0, "batch_size": 24, "epochs": 4, "data": (x, y)}
    layers = [mn.Flatten(), mn.Dense(CLASSES)]
    nets = [mn.Net(layers, (6, 6, 1), mn.SoftmaxCrossEntropy(), l2=0.1, dtype=np.float64) for _ in range(2)]
    trained(nets[0], MPI(4), **given)
    trained(nets[1], None, **given)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-6)
    assert nets[0].step == 4 * nets[1].step


def test_the_net_holds_the_pass_of_the_first_shard_for_callbacks():
    class Watch(mn.Callback):
        def before_update(self, trainer, record):
            _, _, x, _ = next(trainer.net.layer_passes())
            seen.append((len(x), np.array_equal(x, trainer.batches.places(16)[0][:4])))

    seen = []
    trained(noisy(), MPI(4), epochs=1, callbacks=[Watch()])
    assert seen == [(4, True)] * 3


# A run ------------------------------------------------------------------------------------------------------


def test_summary_and_reason_say_that_an_exchange_is_at_work():
    trainer = mn.Trainer(noisy(), images(), rule=mn.SGD(), lr=0.1, batch_size=16, epochs=1, exchange=MPI(4))
    assert trainer.recorded.reason == "MPI(shards=4) adds the gradients of shards within each step"
    assert trainer.recorded.reason in trainer.summary()
    assert "4 shards a batch, on 1 ranks; this is 0" in trainer.summary()
    assert trainer.writes


def test_a_resumed_run_has_the_same_bits_and_needs_the_same_shards(tmp_path):
    whole, _ = trained(noisy(), MPI(4), epochs=4)
    trained(noisy(), MPI(4), epochs=4, callbacks=[mn.Checkpoint(tmp_path, at=5, keep=9)])
    path, given = tmp_path / "step-00000005.ckpt", {"rule": mn.Momentum(0.9)}
    for exchange in (MPI(2), None):
        with pytest.raises(mn.CheckpointError, match=r"exchange is MPI\(shards=4\) in the file, .* here"):
            mn.Trainer.resume(path, noisy(), images(), exchange=exchange, **given)
    net = noisy()
    mn.Trainer.resume(path, net, images(), exchange=MPI(4), **given).run(progress=False)
    assert bits(net) == bits(whole)
    branch = noisy()
    mn.Trainer.branch(path, branch, images(), lr=0.05, exchange=MPI(4), **given).run(progress=False)
    assert bits(branch) == bits(whole)


def test_a_divergence_names_where_the_first_shard_at_fault_began():
    net = mn.Net([mn.Dense(2), mn.Dense(CLASSES)], 4, mn.SoftmaxCrossEntropy())
    x = np.ones((8, 4), np.float32)
    x[5] = 3e38
    with pytest.raises(mn.DivergenceError, match=r"loss nan at step 1.*output of layer 0"):
        trained(net, MPI(4), data=(x, np.zeros(8, int)), batch_size=8)
    assert net.step == 0


def test_an_exchange_can_be_copied_and_says_what_it_is():
    exchange = MPI(shards=4)
    assert pickle.loads(pickle.dumps(exchange)) == copy.deepcopy(exchange) == exchange
    assert repr(exchange) == "MPI(shards=4)"
    assert (exchange.rank, exchange.ranks) == (0, 1)


# What is refused --------------------------------------------------------------------------------------------


class Mean(mn.Layer):
    """A layer with a buffer that does not say what it measures."""

    def plan(self, in_shape):
        return mn.Plan(in_shape, buffers=(mn.Buffer("mean", in_shape),))

    def forward(self, m, x, y):
        y[...] = x


def start(layers, **given):
    net = mn.Net([*layers, mn.Dense(CLASSES)], 4, mn.SoftmaxCrossEntropy())
    data = np.ones((10, 4), np.float32), np.arange(10) % CLASSES
    given = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 10, "epochs": 1, "exchange": MPI(4)} | given
    return mn.Trainer(net, data, **given)


def test_shards_that_are_too_small_for_statistics_are_refused():
    with pytest.raises(
        ValueError, match=r"shards of at least 2 samples, which layer 0 BatchNorm .* one of 1, in a batch"
    ):
        start([mn.BatchNorm()], batch_size=8)
    start([mn.BatchNorm()], batch_size=8, drop_last=True)
    with pytest.raises(ValueError, match="one of 1, in a batch of 3 samples"):
        start([mn.BatchNorm()], batch_size=3, drop_last=True)


def test_a_layer_that_does_not_say_what_it_measures_is_refused():
    with pytest.raises(ValueError, match=r"MPI: expected layers with buffers to define statistics and keep.* Mean 0"):
        start([Mean()])


def test_states_that_go_on_are_refused():
    net = mn.Net([mn.RNN(3, streams=4, last=True), mn.Dense(CLASSES)], (5, 2), mn.SoftmaxCrossEntropy())
    data = np.ones((4, 5, 2), np.float32), np.zeros(4, int)
    with pytest.raises(ValueError, match=r"MPI: expected a net whose samples do not depend .* streams=4"):
        mn.Trainer(net, data, rule=mn.SGD(), lr=0.1, batch_size=4, epochs=1, exchange=MPI(2))


@pytest.mark.parametrize("exchange", ["MPI", 4, MPI])
def test_an_exchange_of_another_kind_is_refused(exchange):
    with pytest.raises(TypeError, match=r"Trainer: expected exchange to be a distributed.MPI or None; got"):
        start([], exchange=exchange)


@pytest.mark.parametrize(("shards", "error"), [(0, ValueError), (2.5, TypeError)])
def test_shards_are_a_whole_number_of_at_least_1(shards, error):
    with pytest.raises(error, match="MPI: expected shards"):
        MPI(shards)


@pytest.fixture
def other_ranks(monkeypatch):
    """Within the test, ranks are counted anew; afterwards this is again the one process that it is."""
    ranks.connect.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    ranks.connect.cache_clear()


def test_ranks_have_to_divide_the_shards(other_ranks):
    other_ranks.setattr(ranks.Ranks, "count", 3)
    other_ranks.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ValueError, match="number of ranks that divides shards=4; got 3 ranks"):
        start([])


@pytest.mark.parametrize("variable", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_several_processes_without_mpi4py_are_refused(other_ranks, variable):
    other_ranks.setitem(sys.modules, "mpi4py", None)
    assert MPI(4).ranks == 1
    ranks.connect.cache_clear()
    other_ranks.setenv(variable, "2")
    with pytest.raises(ImportError, match=r"MPI: expected mpi4py 4.1 to be installed.*minnet\[mpi\]"):
        start([])


def test_a_launcher_of_another_mpi_is_refused(other_ranks):
    library = SimpleNamespace(COMM_WORLD=SimpleNamespace(size=1), Get_library_version=lambda: "MPICH 4\nof some day")
    package = type(sys)("mpi4py")
    package.MPI = library
    other_ranks.setitem(sys.modules, "mpi4py", package)
    other_ranks.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"see the 2 processes .* sees one. It uses MPICH 4: start the program with"):
        start([])
