"""What minnet returns and raises can be copied, and sent to another process."""

import copy
import functools
import importlib
import inspect
import pickle
import pkgutil
import re
import sys
import typing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from diverging_run import data, diverge, net

import minnet as mn
from minnet import diagnostics, schedules
from minnet.experiments import EngineError, StoreError
from minnet.gradcheck.numeric import StepError
from minnet.kernels.replay import NotRecordableError
from minnet.storage.tensorfile import TooManyPartsError

for _module in pkgutil.walk_packages(mn.__path__, "minnet."):
    if not _module.name.startswith("minnet.sklearn."):  # whose estimators scikit-learn's own checks copy
        importlib.import_module(_module.name)


def history():
    return mn.fit(net(), data(), rule=mn.SGD(), lr=0.1, epochs=2, batch_size=4, validation=data())


def divergence():
    with pytest.raises(mn.DivergenceError) as raised:
        diverge()
    raised.value.add_note("trial 7")
    return raised.value


def dead_unit():
    first = mn.Net([mn.Dense(2), mn.ReLU(), mn.Dense(2)], 3, mn.SoftmaxCrossEntropy())
    first.named_parameters()["0.b"][...] = -100
    dead = diagnostics.DeadUnits(at=1)
    mn.fit(first, data(), rule=mn.SGD(), lr=0.01, steps=2, callbacks=[dead])
    return dead.events()[0]


def gradient_check():
    return mn.check_gradient(lambda x: float((x**3).sum()), np.arange(1.0, 4.0), 3 * np.arange(1.0, 4.0) ** 2)


def sweep():
    return mn.check_gradient(np.sum, np.ones(2), np.ones(2), sweep=True).sweep


# For each class that a public function returns, or an attribute of such holds: one of its kind.
RESULTS = {
    "Ascent": lambda: diagnostics.amplify(net(), data()[0], 0, steps=1, jitter=0),
    "Fooling": lambda: diagnostics.fooling_images(net(), data()[0], 1, steps=1),
    "GradientsThroughTime": lambda: diagnostics.gradients_through_time(
        mn.Net([mn.RNN(2, last=True)], (3, 1)), np.ones((2, 3, 1), np.float32)
    ),
    "Batches": lambda: mn.data.Batches(data(), 4),
    "Text": lambda: mn.data.Text("abc"),
    "Comparison": lambda: mn.Ensemble(net(), [net(), net()]).compare(*data()),
    "Confusion": lambda: diagnostics.confusion_matrix(net(), *data()),
    "Ensemble": lambda: mn.Ensemble(net(), [net(), net()]),
    "Event": lambda: schedules.Step(0.1, every=2).events(8)[0],
    "Finding": lambda: mn.preflight(net(), data()).findings[0],
    "GradientCheck": gradient_check,
    "History": history,
    "LayerCase": lambda: mn.layer_cases([(mn.Dense(2), (3,))])[0],
    "LayerVariance": lambda: diagnostics.variance_by_layer(net(), data()[0]).layers[0],
    "LossSurface": lambda: diagnostics.loss_line(net(), *data(), points=3),
    "Mistake": lambda: diagnostics.worst_mistakes(net(), *data(), count=1)[0],
    "Net": net,
    "Objective": lambda: net().objective,
    "Plan": lambda: mn.Dense(2).plan((3,)),
    "Preflight": lambda: mn.preflight(net(), data()),
    "RangeTest": lambda: mn.lr_range_test(net(), data(), rule=mn.SGD(), steps=20),
    "Record": lambda: next(iter(mn.Trainer(net(), data(), rule=mn.SGD(), lr=0.1, steps=1, batch_size=4))),
    "Rows": lambda: history().steps,
    "Standardizer": lambda: mn.data.Standardizer.fit(data()[0]),
    "ShownText": lambda: net().summary(),
    "StepCurve": lambda: sweep().curves[0],
    "StepSweep": sweep,
    "TensorCheck": lambda: gradient_check().worst,
    "UnitEvent": dead_unit,
    "VarianceByLayer": lambda: diagnostics.variance_by_layer(net(), data()[0]),
    "Verdict": lambda: diagnostics.verdicts(history())[0],
}
ERRORS = {
    "DivergenceError": divergence,
    "CheckpointError": lambda: mn.CheckpointError("expected a whole file"),
    "StepError": lambda: StepError("expected a longer step"),
    "NotRecordableError": lambda: NotRecordableError("its updates have another form at every step"),
    "StoreError": lambda: StoreError("expected a whole file"),
    "EngineError": lambda: EngineError("expected an engine that takes units"),
    "TooManyPartsError": lambda: TooManyPartsError("expected fewer parts"),
}

# What people build themselves; the tests of each family copy all of it.
BUILT = {mn.Callback, mn.Layer, mn.Loss, mn.Rule, schedules.Schedule, mn.Optimizer, mn.Trainer}
# Parts of a plan and of the memory that is made of it, which are copied with them.
PLANNED = {"Param", "Buffer", "Scratch", "Child", "Hidden", "Tensor", "Node"}


def public_classes_and_functions():
    """All that the package and the rooms with many names offer."""
    for room in (mn, diagnostics, mn.data, mn.datasets, mn.landscapes, mn.losses, mn.rules, mn.schedules):
        for name in getattr(room, "__all__", vars(room)):
            value = getattr(room, name)
            if not name.startswith("_") and getattr(value, "__module__", "").startswith("minnet"):
                yield value


def annotations(value):
    """Of what a function returns, of what a class's methods and properties do, and of its attributes."""
    if not inspect.isclass(value):
        return [value.__annotations__.get("return")]
    found = list(getattr(value, "__annotations__", {}).values())
    for _, member in inspect.getmembers(value):
        member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(member) and not member.__name__.startswith("_"):
            found.append(member.__annotations__.get("return"))
    return found


def words(annotation):
    """Names in an annotation, whether it is a type, one with arguments, or text."""
    if isinstance(annotation, str):
        return set(re.findall(r"\w+", annotation))
    inner = {word for part in typing.get_args(annotation) for word in words(part)}
    return inner | {getattr(annotation, "__name__", "")}


def own_classes():
    """All classes that minnet's modules define, by name, without protocols, which have no objects of their own."""
    values = [
        value for name, module in sys.modules.items() if name.startswith("minnet") for value in vars(module).values()
    ]
    classes = [v for v in values if inspect.isclass(v) and v.__module__.startswith("minnet")]
    return {kind.__name__: kind for kind in classes if not getattr(kind, "_is_protocol", False)}


def returned():
    """Names of minnet's classes in what public functions return."""
    ours = own_classes()
    found = {word for value in public_classes_and_functions() for form in annotations(value) for word in words(form)}
    return {name for name in found & set(ours) if not issubclass(ours[name], tuple(BUILT))}


def test_the_table_has_every_class_that_a_public_function_returns():
    assert returned() - PLANNED <= set(RESULTS)
    assert len(returned()) > 20


def test_the_table_has_every_error_of_minnet():
    assert {name for name, kind in own_classes().items() if issubclass(kind, BaseException)} == set(ERRORS)


def plain(value, seen=()):
    """All that an object holds, as lists and text that can be compared, NaN too."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, value.tobytes()]
    if isinstance(value, mn.Net):
        return [repr(value), value.step, *map(plain, (value.params, value.buffers))]
    if isinstance(value, dict):
        return [[repr(key), plain(inner, seen)] for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *(plain(inner, seen) for inner in value)]
    if isinstance(value, BaseException) or (hasattr(value, "__dict__") and type(value).__module__.startswith("minnet")):
        assert id(value) not in seen
        return [type(value).__name__, getattr(value, "args", None), plain(vars(value), (*seen, id(value)))]
    return [type(value).__name__, repr(value)]


@functools.cache
def made(name):
    return (RESULTS | ERRORS)[name]()


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [through_pickle, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("name", [*RESULTS, *ERRORS])
def test_a_result_or_an_error_can_be_copied(name, copied):
    value = made(name)
    twin = copied(value)
    assert type(twin) is type(value)
    assert type(value).__name__ == name
    assert plain(twin) == plain(value)
    if type(value).__str__ is not object.__str__:
        assert str(twin) == str(value)


def test_a_run_that_diverges_in_a_worker_process_says_so_to_the_pool():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(diverge).exception(timeout=60)
    assert isinstance(error, mn.DivergenceError)
    assert "expected a finite" in str(error)
    assert error.history.stopped in str(error)
