"""A callback's state of other shapes, dtypes or kinds, under a right checksum, is refused when a run is resumed."""

import numpy as np
import pytest
from stress_resume import flat_data, mlp

import minnet as mn
from minnet import diagnostics
from minnet.storage import archive

VALIDATION = flat_data(20, seed=1)
KINDS = {
    "EMA": lambda: mn.EMA(0.9),
    "SWA": lambda: mn.SWA(1),
    "LAWA": lambda: mn.LAWA(2, at=1),
    "SWAG": lambda: mn.SWAG(1, rank=2),
    "Snapshots": lambda: mn.Snapshots(3),
    "KeepBest": lambda: mn.KeepBest("val_accuracy"),
    "EarlyStopping": lambda: mn.EarlyStopping(),
    "ReduceOnPlateau": lambda: mn.ReduceOnPlateau(patience=0),
    "UpdateRatios": lambda: diagnostics.UpdateRatios(at=2),
    "Statistics": lambda: diagnostics.Statistics(at=3, bins=4),
    "DeadUnits": lambda: diagnostics.DeadUnits(at=3),
    "NoiseScale": lambda: diagnostics.NoiseScale(4, 4, at=3),
    "Sharpness": lambda: diagnostics.Sharpness(samples=20, at=4, iterations=2),
}
ARRAYS = {  # what a spoilt file may have in place of an array; each has to be refused
    "nothing": lambda values: None,
    "a number": lambda values: 3,
    "a list": lambda values: [1, [2]],
    "no axis": lambda values: np.ones((), values.dtype),
    "none": lambda values: values[:0],
    "short": lambda values: values[..., :-1].copy(),
    "long": lambda values: np.concatenate([values, values]),
    "one more axis": lambda values: values[None],  # of the same size
}
OTHERS = (None, -1, "x", [1, [2]], {}, 2**62, float("nan"), 0, np.ones(2))  # in place of a number


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    """(make, path, document, arrays) of a run with one such callback, after 9 steps."""
    make, path = KINDS[request.param], tmp_path_factory.mktemp("states") / "9.ckpt"
    trainer = start(make())
    for record in trainer:
        if record.step == 9:
            break
    trainer.save(path)
    return (make, path, *archive.read(path))


def start(*callbacks):
    given = {"rule": mn.Adam(), "lr": 0.01, "batch_size": 8, "epochs": 3, "validation": VALIDATION}
    return mn.Trainer(mlp(), flat_data(), **given, callbacks=callbacks)


def resumed(saved, name, value):
    """(trainer, callback) resumed from the file with another value in the callback's state, missing if ``...``."""
    make, path, document, arrays = saved
    (entry,) = document["callbacks"]
    state = {key: kept for key, kept in entry["state"].items() if key != name}
    if value is not ...:
        state[name] = value
    archive.write(path, document | {"callbacks": [entry | {"state": state}]}, arrays)
    callback = make()
    return mn.Trainer.resume(
        path, mlp(), flat_data(), rule=mn.Adam(), validation=VALIDATION, callbacks=[callback]
    ), callback


def test_an_array_of_another_shape_or_kind_is_refused(saved):
    state = saved[2]["callbacks"][0]["state"]
    for name, values in state.items():
        if not isinstance(values, np.ndarray):
            continue
        for spoilt, change in ARRAYS.items():
            if spoilt == "short" and values.ndim == 1 and name == "steps":
                continue  # the rows are then too many, which the next name's turn shows
            with pytest.raises(mn.CheckpointError, match="expected states of the callbacks"):
                raise AssertionError(f"{name}: {spoilt} is taken", resumed(saved, name, change(values)))
        with pytest.raises(mn.CheckpointError, match="expected states of the callbacks"):
            raise AssertionError(f"{name}: a missing one is taken", resumed(saved, name, ...))


def test_an_array_of_another_dtype_is_refused_where_kernels_read_it(saved):
    state = saved[2]["callbacks"][0]["state"]
    for name in {"params", "buffers", "variance", "columns"} & set(state):
        for dtype in ("f8", "u1", "f2"):
            with pytest.raises(mn.CheckpointError, match=f"expected {name} of float32"):
                raise AssertionError(f"{name}: {dtype} is taken", resumed(saved, name, state[name].astype(dtype)))


def test_a_variance_below_0_is_refused(saved):
    state = saved[2]["callbacks"][0]["state"]
    place = mlp().buffer_layout.places["1.running_var"]
    for name, part in {"buffers": slice(place.start, place.stop), "variance": slice(None)}.items():
        if name in state:
            values = state[name].copy()
            values[..., part][..., 1] = -0.5
            with pytest.raises(mn.CheckpointError, match=r"at least 0.* -0\.5"):
                raise AssertionError(f"{name} is taken", resumed(saved, name, values))


def test_other_things_in_place_of_a_number_are_refused_or_do_no_harm(saved):
    state = saved[2]["callbacks"][0]["state"]
    for name, value in state.items():
        if isinstance(value, np.ndarray | str):
            continue
        for other in OTHERS:
            try:
                trainer, callback = resumed(saved, name, other)
            except mn.CheckpointError:
                continue
            trainer.run(progress=False)
            callback.state()


def test_what_is_as_it_was_is_taken(saved):
    state = saved[2]["callbacks"][0]["state"]
    trainer, callback = resumed(saved, *next(iter(state.items())))
    trainer.run(progress=False)
    assert trainer.history.stopped is not None
    assert set(callback.state()) == set(state)


X, Y = flat_data(20)
OF_OTHERS = [  # pairs whose runs or records differ
    (lambda: mn.EMA(0.9, start=2), lambda: mn.EMA(0.9, start=20)),
    (lambda: mn.EMA(0.9999991), lambda: mn.EMA(0.9999989)),
    (lambda: mn.SWA(2), lambda: mn.SWA("epoch")),
    (lambda: mn.LAWA(3), lambda: mn.LAWA(3, start=18)),
    (lambda: mn.SWAG(rank=3), lambda: mn.SWAG(rank=5)),
    (lambda: mn.SWAG(rank=3), lambda: mn.SWAG(rank=3, start=5)),
    (lambda: mn.Snapshots("epoch"), lambda: mn.Snapshots(2)),
    (lambda: mn.Snapshots("epoch"), lambda: mn.Snapshots("epoch", start=10)),
    (lambda: mn.Snapshots([2, 5]), lambda: mn.Snapshots([2, 6])),
    (lambda: mn.SWA([2, 5]), lambda: mn.SWA(diagnostics.log_spaced(5))),
    (lambda: diagnostics.UpdateRatios(at=2), lambda: diagnostics.UpdateRatios(at=3)),
    (lambda: diagnostics.UpdateRatios(at=[1, 2]), lambda: diagnostics.UpdateRatios(at=[1, 3])),
    (lambda: diagnostics.UpdateRatios(diagnostics.log_spaced(2)), lambda: diagnostics.UpdateRatios(at=[1, 3])),
    (lambda: diagnostics.UpdateRatios("epoch"), lambda: diagnostics.UpdateRatios("end")),
    (lambda: diagnostics.DeadUnits((X, Y)), lambda: diagnostics.DeadUnits((X + np.float32(1e-3), Y))),
    (lambda: diagnostics.Dashboard("a.html", every=2), lambda: diagnostics.Dashboard("a.html", every=3)),
    (lambda: diagnostics.Dashboard("a.html", monitors=[]), lambda: diagnostics.Dashboard("a.html")),
]


@pytest.mark.parametrize("pair", OF_OTHERS)
def test_a_callback_with_other_arguments_is_refused(pair, tmp_path):
    first, second = pair
    start(first()).save(tmp_path / "0.ckpt")
    given = {"rule": mn.Adam(), "validation": VALIDATION}
    with pytest.raises(mn.CheckpointError, match="callbacks 0 is"):
        mn.Trainer.resume(tmp_path / "0.ckpt", mlp(), flat_data(), **given, callbacks=[second()])
    mn.Trainer.resume(tmp_path / "0.ckpt", mlp(), flat_data(), **given, callbacks=[first()])


@pytest.mark.parametrize("error", [IndexError, TypeError, KeyError, ZeroDivisionError, AssertionError])
def test_a_callback_that_fails_in_any_way_leaves_all_as_they_were(error, tmp_path):
    class Fails(mn.Callback):
        def restore(self, state):
            if state:
                raise error("spoilt")

        def state(self):
            return {}

    trainer = start(mn.EMA(0.9), diagnostics.UpdateRatios(at=2), Fails())
    for record in trainer:
        if record.step == 7:
            break
    trainer.save(tmp_path / "7.ckpt")
    document, arrays = archive.read(tmp_path / "7.ckpt")
    document["callbacks"][-1]["state"] = {"x": 1}
    archive.write(tmp_path / "7.ckpt", document, arrays)
    average, ratios, _ = callbacks = [mn.EMA(0.9), diagnostics.UpdateRatios(at=2), Fails()]
    with pytest.raises(mn.CheckpointError, match=f"{error.__name__}.*spoilt"):
        mn.Trainer.resume(
            tmp_path / "7.ckpt", mlp(), flat_data(), rule=mn.Adam(), validation=VALIDATION, callbacks=callbacks
        )
    assert (average.count, len(ratios)) == (0, 0)


def test_an_average_that_is_restored_by_hand_checks_shapes_before_the_next_point():
    net, average = mlp(), mn.EMA(0.9)
    average.update(net)
    state = average.state()
    average.restore(state | {"buffers": state["buffers"][None]})
    before = net.buffers.copy()
    with pytest.raises(
        ValueError, match=r"the net that it averages.*expected buffers of float32 \(\d+,\); got float32 \(1, "
    ):
        average.update(net)
    assert np.array_equal(net.buffers, before)
