"""What two ranks do, and one process as well.

    mpiexec -n 2 python -m mpi4py tests/shared/two_ranks.py together FOLDER

makes several runs on both ranks, some of which are refused, and writes what each rank found to FOLDER/found-RANK.json.
The other modes lose a rank within a run: by a signal that kills it, by an exception, or by Ctrl-C for the second and
third time. ``test_ranks.py`` starts all of them.
"""

import json
import os
import signal
import sys
import zlib
from pathlib import Path

import numpy as np

import minnet as mn

EXCHANGE = mn.distributed.MPI(shards=4)
CLASSES = 3


def data(n=58):
    """Images, with a last batch of fewer samples than shards."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6, 6, 1)).astype(np.float32), rng.integers(0, CLASSES, n)


def start(*callbacks, resume=None, net=None, **given):
    """A run with noise, augmentation, weights, penalties and clipping."""
    layers = [mn.Conv2D(4, 3), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.3), mn.Flatten(), mn.Dense(CLASSES)]
    net = net or mn.Net(layers, (6, 6, 1), mn.SoftmaxCrossEntropy(), l2=1e-3, seed=3)
    weights = np.arange(58) % 4 + 0.5
    given = {"rule": mn.Momentum(0.9), "sample_weight": weights, "clip_norm": 1.0, "exchange": EXCHANGE} | given
    given |= {"validation": data(20), "callbacks": callbacks}
    train = given.pop("train", data())
    if resume is not None:
        return mn.Trainer.resume(resume, net, train, **given)
    order = {"lr": 0.05, "batch_size": 19, "epochs": 3, "augment": mn.data.Augment(flip=True, crop=1)}
    return mn.Trainer(net, train, **order | given)


def outcome(trainer, progress=False):
    """What a run comes to, as text, without its random name."""
    trainer.run(progress)
    rows = trainer.history.steps.rows, trainer.history.epochs.rows, trainer.history.stopped
    crc = [zlib.crc32(part) for part in (trainer.net.params, trainer.net.buffers, trainer.optimizer.state)]
    return repr((crc, trainer.net.step, rows))


def error_of(make, *, kind):
    """The text of the error with which a run ends."""
    try:
        make().run(progress=False)
    except kind as error:
        return str(error)
    return "no error"


class At(mn.Callback):
    """Calls a function after a step."""

    bystander = True

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_step(self, trainer, record):
        if record.step == self.step:
            self.act(trainer)


def saving(folder):
    """A run that saves and that may end early."""
    return start(mn.Checkpoint(folder, at=5, keep=9, best="val_loss"), mn.EarlyStopping(patience=2))


def go_on(folder):
    """The same run from its file after step 5 on."""
    return start(mn.EarlyStopping(patience=2), resume=folder / "step-00000005.ckpt")


def together(folder):
    """Everything that both ranks live through, by name. FOLDER/of-one has the files of the run of one process."""
    me, written = EXCHANGE.rank, []

    def note(event, arguments):
        if event == "open" and str(arguments[0]).startswith(str(folder)) and set("wax+") & set(arguments[1] or "w"):
            written.append(arguments[0])

    sys.addaudithook(note)
    found = {"saves": outcome(saving(folder / "of-two"), "lines"), "resumed": outcome(go_on(folder / "of-one"))}
    page = mn.diagnostics.Dashboard(folder / "page.html", monitors=[])
    start(page, epochs=1).run(progress=False)
    found["writes"] = len(written) > 0

    left = start(At(3, lambda trainer: trainer.leave("one rank said so") if me == 1 else None))
    found["left"] = left.run(progress=False).stopped, left.step
    found["goes on"] = outcome(left)

    x, y = data()
    x[7] += me
    found["other data"] = error_of(lambda: start(train=(x, y)), kind=ValueError)
    found["other rate"] = error_of(lambda: start(lr=0.1 * (me + 1)), kind=ValueError)
    net = mn.Net([mn.Flatten(), mn.Dense(CLASSES)], (6, 6, 1), mn.SoftmaxCrossEntropy(), seed=me)
    found["other seed"] = error_of(lambda: start(net=net), kind=ValueError)
    found["diverges"] = error_of(lambda: start(lr=1e30, clip_norm=None), kind=mn.DivergenceError)
    return found


def lost(act, ranks=(1,)):
    """A run that saves, of which these ranks are lost at step 7."""

    def make(folder):
        gone = At(7, lambda trainer: act() if EXCHANGE.rank in ranks else None)
        start(mn.Checkpoint(folder, at=5, keep=9), gone).run(progress=False)

    return make


def fail():
    raise RuntimeError("rank 1 has had enough")


def interrupt(*_):
    signal.raise_signal(signal.SIGINT)


def interrupt_twice():
    """Ctrl-C, which asks the run to end after its step, and once more within the step, which takes effect at once."""
    interrupt()
    interrupt()


def interrupt_three_times():
    """The third time while the error is shown and the ranks are about to be ended."""
    mn.distributed.ranks.time.sleep = interrupt
    interrupt_twice()


def interrupt_while_saving():
    """The second time while the file is written, before it gets its name."""
    mn.storage.files.os.fsync = interrupt
    interrupt()


MODES = {
    "together": together,
    "killed": lost(lambda: os.kill(os.getpid(), signal.SIGKILL)),
    "raising": lost(fail),
    "twice": lost(interrupt_twice),
    "twice on both": lost(interrupt_twice, ranks=(0, 1)),
    "three times": lost(interrupt_three_times),
    "while saving": lost(interrupt_while_saving, ranks=(0,)),
}


def main(mode, folder):
    found = MODES[mode](Path(folder))
    Path(folder, f"found-{EXCHANGE.rank}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
