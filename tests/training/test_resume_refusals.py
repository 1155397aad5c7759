"""A run is resumed only as it was saved: another run, state or history is refused, and nothing changes."""

from dataclasses import dataclass

import numpy as np
import pytest
import stress_resume as stress
from resuming import resume, save_at, whole, wider
from stress_resume import CASES, result

import minnet as mn
from minnet.storage import archive

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")


# What is refused ---------------------------------------------------------------------------------------------


OTHERS = {
    "rule": (lambda: {"rule": mn.Adam(beta1=0.8)}, r"rule is Adam\(beta1=0.9.* in the file, Adam\(beta1=0.8.* here"),
    "lr": (lambda: {"lr": 0.1}, r"lr is Warmup\(.* in the file, 0.1 here"),
    "no lr": (lambda: {"without": ["lr"]}, r"expected lr=Warmup\(steps=5"),
    "clip_norm": (lambda: {"clip_norm": 2.0}, "clip_norm is 1.0 in the file, 2.0 here"),
    "weight_decay": (lambda: {"weight_decay": 0.1}, "weight_decay is 0.0 in the file, 0.1 here"),
    "validation": (lambda: {"validation": stress.flat_data(20, seed=2)}, "validation x crc32 is"),
    "no validation": (lambda: {"validation": None, "callbacks": []}, "validation is .*'shape': .* none here"),
    "patience": (
        lambda: {"callbacks": [mn.EarlyStopping(patience=3), *CASES["mlp"].given()["callbacks"][1:]]},
        r"callbacks 0 is EarlyStopping\(monitor='val_loss', patience=4.*patience=3",
    ),
    "callbacks": (lambda: {"callbacks": []}, r"callbacks is \[.EarlyStopping\(.* \[\] here"),
    "data": (lambda: {"data": stress.flat_data(seed=9)}, "data x crc32 is .*; data y crc32"),
    "length": (lambda: {"data": stress.flat_data(40)}, r"data x shape is \[44, 6\] in the file, \[40, 6\] here"),
    "architecture": (lambda: {"net": wider()}, r"net layers 0 is Dense\(units=12.*net parameters 0.W is \[6, 12\]"),
    "dtype": (lambda: {"net": stress.mlp().twin(dtype=np.float64)}, "net dtype is float32 in the file, float64 here"),
    "seed": (lambda: {"net": stress.mlp().twin(seed=4)}, "net seed is 3 in the file, 4 here"),
    "groups": (lambda: {"groups": [mn.Group(lambda t: t.decay)]}, r"groups is \[\] in the file, \['Group\("),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused_with_what_differs_and_nothing_changes(other, saved):
    make, message = OTHERS[other]
    given = make()
    net = given.pop("net", None) or stress.mlp()
    before = net.params.copy(), net.buffers.copy(), net.step
    with pytest.raises(mn.CheckpointError, match=message):
        resume(saved, net, **given)
    assert np.array_equal(net.params, before[0])
    assert np.array_equal(net.buffers, before[1])
    assert net.step == before[2]


def scaled(decay):
    """A net of a layer that prints the same whatever its parameter's tag, which tells where that lies in the vector."""

    @dataclass(frozen=True)
    class Scale(mn.Layer):
        def plan(self, in_shape):
            return mn.Plan(in_shape, (mn.Param("g", in_shape, mn.initializers.Constant(1.0), decay=decay),))

        def forward(self, m, x, y):
            np.multiply(x, m.g, out=y)

        def backward(self, m, x, y, dy, dx):
            np.einsum("ni,ni->i", x, dy, out=m.dg)

    return mn.Net([Scale(), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy())


def test_a_net_whose_tensors_lie_elsewhere_in_the_vector_is_refused(tmp_path):
    """State of the rule, and an ensemble's rows, are vectors: their elements would go to other weights."""
    moved = r"net start of 0\.g is 0 in the file, 18 here; net start of 1\.W is 6 in the file, 0 here$"
    given = {"rule": mn.Adam(), "lr": 0.01}
    trainer = mn.Trainer(scaled(True), stress.flat_data(), batch_size=8, steps=5, **given)
    trainer.save(tmp_path / "0.ckpt")
    mn.Trainer.resume(tmp_path / "0.ckpt", scaled(True), stress.flat_data(), **given)
    with pytest.raises(mn.CheckpointError, match=moved):
        mn.Trainer.resume(tmp_path / "0.ckpt", scaled(False), stress.flat_data(), **given)
    mn.Ensemble(trainer.net, [trainer.net]).save(tmp_path / "ensemble")
    mn.Ensemble.load(tmp_path / "ensemble", scaled(True))
    with pytest.raises(mn.CheckpointError, match=moved):
        mn.Ensemble.load(tmp_path / "ensemble", scaled(False))


def test_numbers_need_not_be_given_again(tmp_path):
    case = CASES["convolutional"]
    expected = whole(case)
    save_at(case, tmp_path, 9)
    validation = stress.images(12, seed=1)
    trainer = mn.Trainer.resume(
        tmp_path / "9.ckpt", stress.convolutional(), stress.images(), rule=mn.Nesterov(), validation=validation
    )
    trainer.run(progress=False)
    assert result(trainer) == result(expected)


def test_saving_amid_a_step_is_refused(tmp_path):
    class TooEarly(mn.Callback):
        def on_epoch(self, trainer, row):
            trainer.save(tmp_path / "x.ckpt")

    with pytest.raises(RuntimeError, match=r"between steps.*got one amid a step"):
        CASES["SGD"].start(TooEarly()).run(progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_was_broken_off_cannot_be_saved(tmp_path, monkeypatch):
    trainer = CASES["Adam"].start()
    next(trainer)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    trainer.recorded.reason = "the step is broken off in Python"
    monkeypatch.setattr(trainer.optimizer, "step", interrupted)  # after the gradient, before the update
    with pytest.raises(KeyboardInterrupt):
        next(trainer)
    with pytest.raises(RuntimeError, match="amid a step"):
        trainer.save(tmp_path / "x.ckpt")


def test_a_callback_that_refuses_its_state_leaves_the_others_as_they_were(saved):
    class Refuses(stress.AverageOfWeights):
        def restore(self, state):
            if state["mean"] is not None:
                raise ValueError("not mine")

        def __repr__(self):
            return "AverageOfWeights(decay=0.9)"

    stopping, plateau, _ = callbacks = [*CASES["mlp"].given()["callbacks"][:2], Refuses()]
    with pytest.raises(mn.CheckpointError, match=r"expected states of the callbacks.*not mine"):
        resume(saved, callbacks=callbacks)
    assert stopping.best is None
    assert plateau.best is None


@pytest.mark.parametrize("where", ["now", "good"])
def test_a_variance_below_0_is_refused(where, saved):
    document, arrays = archive.read(saved)
    net = stress.mlp()
    place = net.buffer_layout.places["1.running_var"]
    (arrays["1.running_var"] if where == "now" else document["good"]["buffers"][place.start :])[1] = -0.5
    archive.write(saved, document, arrays)
    before = net.params.copy(), net.buffers.copy()
    with pytest.raises(mn.CheckpointError, match=r"expected in .* 1\.running_var of at least 0; got -0\.5"):
        resume(saved, net)
    assert np.array_equal(net.params, before[0])
    assert np.array_equal(net.buffers, before[1])


ONES = np.ones(5, np.int64)
TABLES = {
    "of small numbers": {"step": np.ones(5, np.uint8)},  # whose rows would take 200 times its memory
    "of two axes": {"step": np.ones((5, 2), np.int64)},
    "of different lengths": {"step": ONES, "loss": np.ones(4)},
    "of lists too short": {"step": ONES, "loss": [1, 2, 3, 4]},
    "of texts": {"step": ONES, "loss": "12345"},
    "of lists alone": {"step": [1, 2, 3, 4, 5]},
    "with no whole column": {"step": {"values": ONES, "rows": np.arange(5), "plain": True}},
    "of parts too short": {"step": ONES, "a": {"values": ONES[:4], "rows": None, "plain": True}},
    "of parts without values": {"step": ONES, "a": {"rows": None, "plain": True}},
    "of parts out of range": {"step": ONES, "a": {"values": ONES[:1], "rows": np.array([5]), "plain": True}},
    "of parts before the first": {"step": ONES, "a": {"values": ONES[:1], "rows": np.array([-1]), "plain": True}},
    "of parts out of order": {"step": ONES, "a": {"values": ONES[:2], "rows": np.array([2, 2]), "plain": True}},
    "of parts at no whole numbers": {"step": ONES, "a": {"values": ONES[:1], "rows": np.ones(1), "plain": True}},
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["epochs", "steps"])
def test_a_history_of_other_columns_is_refused(table, kind, saved):
    document, arrays = archive.read(saved)
    document["history"][kind] = TABLES[table]
    archive.write(saved, document, arrays)
    with pytest.raises(mn.CheckpointError, match=f"expected history {kind} in .* as a run has it"):
        resume(saved)
