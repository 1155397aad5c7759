"""What tests of checkpoints share: runs that save, what damages their files, a full disk, and signals."""

import signal
from pathlib import Path

import numpy as np
import stress_resume as stress
from stress_resume import CASES

import minnet as mn


class SaveAt(mn.Callback):
    """Saves at the given steps."""

    bystander = True

    def __init__(self, folder, steps):
        self.folder, self.steps = folder, steps

    def between_steps(self, trainer):
        if trainer.step in self.steps:
            trainer.save(self.folder / f"{trainer.step}.ckpt")


def whole(case):
    trainer = case.start()
    trainer.run(progress=False)
    return trainer


def save_at(case, folder, *steps):
    """A run that saves on its way."""
    trainer = case.start(SaveAt(folder, steps))
    trainer.run(progress=False)
    return trainer


def resume(path, net=None, data=None, without=(), **changes):
    given = CASES["mlp"].given() | changes
    given = {name: value for name, value in given.items() if name not in without}
    return mn.Trainer.resume(path, net or stress.mlp(), data or stress.flat_data(), **given)


def start(*callbacks, net=None, **given):
    given = {"rule": mn.Adam(), "lr": 0.01, "batch_size": 8, "epochs": 5} | given  # 6 steps an epoch
    return mn.Trainer(net or stress.mlp(), stress.flat_data(), **given, callbacks=callbacks)


def go_on(path, *callbacks, net=None, **given):
    given = {"rule": mn.Adam()} | given
    return mn.Trainer.resume(path, net or stress.mlp(), stress.flat_data(), **given, callbacks=callbacks)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


# What damages a file ---------------------------------------------------------------------------------------


def rewrite(path, change):
    """The file with other metadata, its arrays as they are."""
    import safetensors
    from safetensors.numpy import load_file, save_file

    with safetensors.safe_open(path, "numpy") as file:
        metadata = dict(file.metadata())
    arrays = load_file(path)
    change(metadata)
    save_file(arrays, path, metadata)


def spoil_byte(path, place):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


def foreign(path):
    from safetensors.numpy import save_file

    save_file({"0.W": np.zeros((6, 12), np.float32)}, path, {"format": "pt"})


DAMAGES = {
    "empty": (lambda path: path.write_bytes(b""), "truncated or damaged"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated or damaged"),
    "cut in the header": (lambda path: path.write_bytes(path.read_bytes()[:100]), "truncated or damaged"),
    "text": (lambda path: path.write_text("step 17\n" * 100), "truncated or damaged"),
    "a bit of an array": (lambda path: spoil_byte(path, -5), "checksum"),
    "foreign": (foreign, "format 'minnet checkpoint'.* says 'pt'"),
    "newer": (
        lambda path: rewrite(path, lambda m: m.update(version="2")),
        "version 1 or older.* version 2, of a newer",
    ),
    "no version": (lambda path: rewrite(path, lambda m: m.pop("version")), "expected a version number"),
    "document": (lambda path: rewrite(path, lambda m: m.update(document="{}")), "checksum"),
}


# A full disk ------------------------------------------------------------------------------------------


class Full:
    """A disk on which nothing has room from the given write on: half of a file fits."""

    def __init__(self, monkeypatch, after):
        self.left, real = after, Path.open

        def opened(path, *mode, **options):
            file = real(path, *mode, **options)
            if path.suffix == ".tmp":
                self.left -= 1
                if self.left < 0:
                    write = file.write

                    def some(data):
                        write(data[: len(data) // 2])
                        raise OSError(28, "No space left on device")

                    file = Wrapped(file, some)
            return file

        monkeypatch.setattr(Path, "open", opened)


class Wrapped:
    def __init__(self, file, write):
        self.file, self.write = file, write

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


# Signals ------------------------------------------------------------------------------------------


class Interrupt(mn.Callback):
    """Sends a signal to its own process, in a step or at the end of an epoch."""

    bystander = True

    def __init__(self, number, step, at="on_step"):
        self.number, self.step, self.at = number, step, at

    def on_step(self, trainer, record):
        if (self.at, record.step) == ("on_step", self.step):
            signal.raise_signal(self.number)

    def on_epoch(self, trainer, row):
        if (self.at, row["step"]) == ("on_epoch", self.step):
            signal.raise_signal(self.number)


def checksum(path):
    import safetensors

    with safetensors.safe_open(path, "numpy") as file:
        return file.metadata()["blake2b"]


def wider():
    layers = [mn.Dense(13), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.3), mn.Dense(3)]
    return mn.Net(layers, 6, mn.SoftmaxCrossEntropy(), l2=1e-3, max_norm=3.0, seed=3)
