"""One net used by several Python threads, and processes that fork."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minnet as mn
from minnet.kernels.vector import product


def small(seed=0):
    return mn.Net([mn.Dense(64), mn.ReLU(), mn.Dense(3)], 20, mn.SoftmaxCrossEntropy(), seed=seed)


@pytest.fixture(autouse=True)
def eager_threads():
    """Threads change places at every chance, not only every 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def parts(n=6):
    """Data of different lengths, so that threads that share memory unseen would ask for other sizes of it."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((40 + 97 * i, 20)).astype(np.float32) for i in range(n)]


def labels(x):
    return np.arange(len(x)) % 3


USES = {
    "predict": lambda net, x: net.predict(x, batch_size=16).tobytes(),
    "evaluate": lambda net, x: net.evaluate(x, labels(x), batch_size=16),
    "loss": lambda net, x: net.loss(x, labels(x)),
    "a pass by hand": lambda net, x: by_hand(net, x),
}


def by_hand(net, x):
    """Forward and backward under the lock: the gradient with respect to x."""
    dx = np.empty_like(x)
    with net.lock:
        scores = net.forward(x)
        net.backward(np.ones_like(scores), dx)
    return dx.tobytes()


@pytest.mark.parametrize("name", USES)
def test_threads_that_share_a_net_get_what_one_thread_gets(name):
    net, use = small(), USES[name]
    expected = [use(net, x) for x in parts()]
    fresh = net.twin()  # which has made no memory yet
    with ThreadPoolExecutor(6) as pool:
        for _ in range(4):
            assert list(pool.map(lambda x: use(fresh, x), parts())) == expected


@pytest.mark.parametrize("name", ["predict", "scores", "classify", "evaluate"])
def test_threads_that_share_an_ensemble_get_what_one_thread_gets(name):
    uses = {
        "predict": lambda x: ensemble.predict(x, batch_size=16).tobytes(),
        "scores": lambda x: ensemble.scores(x, batch_size=16).tobytes(),
        "classify": lambda x: ensemble.classify(x, "votes").tobytes(),
        "evaluate": lambda x: ensemble.evaluate(x, labels(x)),
    }
    ensemble = mn.Ensemble(small(), [small(seed) for seed in range(3)])
    expected = [uses[name](x) for x in parts()]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(uses[name], parts())) == expected


def test_predictions_while_a_run_goes_on_do_not_change_it():
    x = parts()[3]

    def run(net):
        return mn.fit(net, (x, labels(x)), rule=mn.Momentum(), lr=0.1, epochs=3, batch_size=16).steps.rows

    alone, watched = small(), small()
    expected = run(alone)
    done = threading.Event()

    def watch():
        while not done.is_set():
            assert np.isfinite(watched.predict(x[:7])).all()

    with ThreadPoolExecutor(2) as pool:
        watchers = [pool.submit(watch) for _ in range(2)]
        try:
            assert run(watched) == expected
        finally:
            done.set()
        assert [watcher.result() for watcher in watchers] == [None, None]
    np.testing.assert_array_equal(watched.params, alone.params)


class Meanwhile(mn.Callback):
    """At a moment of a run, calls a function in another thread and waits for it."""

    def __init__(self, moment, call):
        self.moment, self.call, self.errors = moment, call, []

    def tell(self, moment):
        if moment == self.moment:
            with ThreadPoolExecutor(1) as pool:
                self.errors.append(pool.submit(self.call).exception(timeout=60))

    def before_update(self, trainer, record):
        self.tell("before_update")

    def on_step(self, trainer, record):
        self.tell("on_step")

    def on_epoch(self, trainer, row):
        self.tell("on_epoch")


SECOND = {
    "fit": lambda net, data: mn.fit(net, data, rule=mn.SGD(), lr=0.1, steps=1, batch_size=16),
    "a loop": lambda net, data: next(iter(mn.Trainer(net, data, rule=mn.SGD(), lr=0.1, steps=1, batch_size=16))),
    "loss_and_grads": lambda net, data: net.loss_and_grads(*data),
}


@pytest.mark.parametrize("moment", ["before_update", "on_step", "on_epoch"])
@pytest.mark.parametrize("name", SECOND)
def test_a_second_thread_that_trains_the_same_net_is_refused(name, moment):
    x = parts()[0]
    net, data = small(), (x, labels(x))
    meanwhile = Meanwhile(moment, lambda: SECOND[name](net, data))
    alone = small()
    for each, callbacks in ((alone, []), (net, [meanwhile])):
        mn.fit(each, data, rule=mn.SGD(), lr=0.1, epochs=1, batch_size=16, callbacks=callbacks)
    assert meanwhile.errors
    for error in meanwhile.errors:
        assert isinstance(error, RuntimeError)
        assert "expected one thread to train a net at a time" in str(error)
        assert "twin()" in str(error)
    np.testing.assert_array_equal(net.params, alone.params)
    SECOND[name](net, data)  # once the first has ended


def test_other_threads_may_train_a_net_one_after_another_and_twins_at_once():
    x = parts()[0]
    net = small()
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            pool.submit(SECOND["fit"], net, (x, labels(x))).result()
        twins = [net.twin() for _ in range(3)]
        losses = list(pool.map(lambda twin: twin.loss_and_grads(x, labels(x)), twins))
    assert len(set(losses)) == 1
    assert net.step == 3


def test_a_pass_that_fails_lets_other_threads_train():
    x = parts()[0]
    net = small()
    with pytest.raises(ValueError, match="expected sample weights"):
        net.loss_and_grads(x, labels(x), sample_weight=np.ones(2))
    with ThreadPoolExecutor(1) as pool:
        assert np.isfinite(pool.submit(net.loss_and_grads, x, labels(x)).result())


# Processes -----------------------------------------------------------------------------------------------

WORK = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
import multiprocessing
import numba, numpy as np
import minnet as mn

rng = np.random.default_rng(0)
x, y = rng.standard_normal((512, 256)).astype(np.float32), rng.integers(0, 3, 512)

def fit(seed):
    net = mn.Net([mn.Dense(256), mn.ReLU(), mn.Dense(3)], 256, mn.SoftmaxCrossEntropy(), seed=seed)
    mn.fit(net, (x, y), rule=mn.SGD(), lr=0.01, steps=6, batch_size=256, progress=False)
    return net

def shown(work, *arguments):
    try:
        work(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "worked"

def child(work, *arguments):
    '''What a forked child says of the work.'''
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, shown(work, *arguments).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        answer = file.read()
    os.wait()
    return answer or "ended without a word"
"""


def process(text, **environment):
    """What a program prints, line by line, after ``WORK``; an abort of the process is an error."""
    run = subprocess.run(
        [sys.executable, "-u", "-W", "ignore::DeprecationWarning", "-c", WORK + text],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return run.stdout.splitlines()


FORKS = """
net = fit(0)
print(child(fit, 1))
print(child(net.predict, x[:1]))
print(child(mn.data.Batches, (x, y), 4))
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(shown(pool.apply_async(fit, (1,)).get, 60))
print(shown(fit, 2))
print(child(sorted, [2, 1]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP is what does not survive a fork")
def test_the_first_kernel_in_a_forked_process_raises_an_error_that_names_spawn():
    *answers, parent, harmless = process(FORKS, NUMBA_THREADING_LAYER="omp")
    assert len(answers) == 4
    for answer in answers:
        assert answer.startswith("RuntimeError: minnet: expected a process with threads of its own; got one that was f")
        assert "spawn" in answer
    assert (parent, harmless) == ("worked", "worked")


def test_a_process_that_is_forked_before_any_kernel_ran_has_threads_of_its_own():
    assert process("print(child(fit, 0)); print(shown(fit, 0)); print(numba.threading_layer())")[:2] == ["worked"] * 2


def test_numbas_own_threads_survive_a_fork():
    text = "fit(0); print(child(fit, 1)); print(numba.threading_layer())"
    assert process(text, NUMBA_THREADING_LAYER="workqueue") == ["worked", "workqueue"]


def test_nets_of_several_threads_take_turns_where_only_numbas_own_threads_are_there():
    text = """
with ThreadPoolExecutor(3) as pool:
    nets = list(pool.map(fit, [0, 0, 0, 0, 0, 0]))
print(numba.threading_layer(), all(np.array_equal(net.params, nets[0].params) for net in nets))
"""
    assert process(text, NUMBA_THREADING_LAYER="workqueue") == ["workqueue True"]


def test_a_call_of_a_parallel_kernel_is_numbas_own_after_the_first_one():
    x = np.ones((512, 256), np.float32)
    mn.Net(mn.Dense(256), 256).predict(x)
    kinds = {type(compiled).__name__ for compiled in vars(product).values() if hasattr(compiled, "py_func")}
    assert kinds == {"CPUDispatcher"} or "_OneAtATime" in kinds
