"""Trials of a small network, in a module, so that worker processes can import them."""

import os
import signal
import time

import numpy as np

import minnet as mn
from minnet import schedules

RNG = np.random.default_rng(5)
X = RNG.standard_normal((60, 6)).astype(np.float32)
Y = (X @ RNG.standard_normal((6, 3))).argmax(axis=1)
TRAIN, VAL = (X[:40], Y[:40]), (X[40:], Y[40:])


def build(config, seed):
    """12 steps, 3 epochs of 4, with momentum, a schedule of the whole run, dropout and a callback with a state."""
    net = mn.Net([mn.Dense(8), mn.ReLU(), mn.Dropout(0.2), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy(), seed=seed)
    return mn.Trainer(
        net,
        TRAIN,
        rule=mn.Momentum(config.momentum),
        lr=schedules.Cosine(config.lr, 12),
        batch_size=10,
        steps=12,
        validation=VAL,
        seed=seed,
        callbacks=[mn.KeepBest()],
    )


def plain(config, seed):
    """A run whose rate is all that varies."""
    net = mn.Net([mn.Dense(3)], 6, mn.SoftmaxCrossEntropy(), seed=seed)
    return mn.Trainer(net, TRAIN, rule=mn.SGD(), lr=config.lr, batch_size=20, steps=4, validation=VAL, seed=seed)


def troubled(config, seed):
    """As ``plain``; the first few values of ``trouble`` raise, diverge, die and hang."""
    if seed > 0:  # not in the coordinator, which builds with seed 0
        if config.trouble == 0:
            raise RuntimeError("no such data")
        if config.trouble == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if config.trouble == 2:
            time.sleep(600)
    trainer = plain(config.replace(lr=1e39 if config.trouble == 3 else config.lr), seed)
    assert config.trouble >= 0
    return trainer


class Quiet(mn.Callback):
    """Adds columns that it does not name."""

    def on_epoch(self, trainer, row):
        row["mine"] = 1.0


def unnamed(config, seed):
    trainer = plain(config, seed)
    trainer.callbacks.append(Quiet())
    return trainer
