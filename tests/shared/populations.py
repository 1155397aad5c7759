"""Builds of populations, in a module, so that worker processes can import them.

    python tests/shared/populations.py store.db

trains a population of two again and again, each in a process that is killed at its next commit: just after it, and
before that amid each that ends a generation. When one comes to its end, prints its digest and how many were killed.
"""

import os
import signal
import sys
from functools import cache

import numpy as np

import minnet as mn
from minnet.experiments import Log, Population, Space, Store, Uniform, pbt

SPACE = Space(lr=Log(1e-3, 0.1), decay=Log(1e-3, 0.5), beta=Uniform(0.5, 0.95))
SETTINGS = Population(size=4, generations=3, steps=7, share=0.25, seed=5)  # 5 steps an epoch
KILLED = Population(size=2, generations=3, steps=7, share=0.5, seed=1)


@cache
def images(n=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    x = rng.normal(labels[:, None, None, None] / 2, 1, (n, 6, 6, 1))
    return x.astype(np.float32), labels


def net(seed):
    layers = [mn.Conv2D(3, 3), mn.BatchNorm(), mn.ReLU(), mn.Flatten(), mn.Dropout(0.3), mn.Dense(3)]
    return mn.Net(layers, (6, 6, 1), mn.SoftmaxCrossEntropy(), seed=seed)


def kept(seed):
    return {"batch_size": 8, "seed": seed, "steps": 21, "augment": mn.data.Augment(flip=True, crop=1)}


def given(config):
    return {"rule": mn.Adam(beta1=config["beta"]), "lr": config["lr"], "weight_decay": config["decay"]}


def adam(config, seed, l2=0.0, batch_size=8, bias=True):
    changed = {**kept(seed), "batch_size": batch_size, **given(config)}
    changed["rule"] = mn.Adam(beta1=config["beta"], bias_correction=bias)
    network = net(seed)
    network.l2 = l2
    return mn.Trainer(network, images(), validation=images(30, 1), **changed)


def momentum(config, seed):
    rule = mn.Nesterov(config["beta"])
    return mn.Trainer(
        net(seed), images(), validation=images(30, 1), **kept(seed), rule=rule, lr=config["lr"], clip_norm=1.0
    )


def failing(config, seed):
    if config["lr"] > 0.02:
        raise ValueError("too high for me")
    return adam(config, seed)


class Broken(mn.Callback):
    def on_start(self, trainer):
        raise OSError("no data today")


def broken(config, seed):
    trainer = adam(config, seed)
    trainer.callbacks.append(Broken())
    return trainer


def kill_at_the_next_commit(amid):
    """Let the process die in ``Store.put``: after the row was written and before it is committed, or after that."""
    put = Store.put

    def dying(store, unit, outcome):
        if amid:
            store._file.execute("BEGIN IMMEDIATE")
        put(store, unit, outcome)
        os.kill(os.getpid(), signal.SIGKILL)

    Store.put = dying


def main(path):
    kills = 0
    while kills < 100:
        child = os.fork()  # this process has used no threads
        if child == 0:
            kill_at_the_next_commit(amid=kills % 3 == 1)
            print(pbt(adam, SPACE, KILLED, store=path, progress=False).digest, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
        kills += 1
    print(kills)


if __name__ == "__main__":
    main(sys.argv[1])
