"""Kill real training processes at random moments and see that what is left goes on with the same bits.

    python tests/shared/stress_resume.py 100

starts one run after another, each in a process of its own that saves each step or each epoch, and the best epoch
so far, and ends it by SIGKILL at a random moment, often in the middle of writing, until so many have been killed.
What was killed is started again on the same folder. Every run, when it comes to its end, must have the weights, state,
history and callbacks of one that was never interrupted, and must have kept the same epoch as the best. Prints what it
did; the exit status is 1 if a single bit differs.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import minnet as mn
from minnet.storage import archive

schedules = mn.schedules


@dataclass(frozen=True)
class Case:
    """One run: its net, its arguments by name (anew for each run, as callbacks hold state), and whether it saves to
    any effect: every Case has more than one epoch."""

    net: Callable[[], mn.Net]
    data: Callable[[], mn.data.Data]
    given: Callable[[], dict[str, Any]]  # what is code, and given again when the run is resumed
    kept: dict[str, Any] = field(default_factory=lambda: {"batch_size": 8, "epochs": 5})  # what the file has

    def start(self, *extra: mn.Callback) -> mn.Trainer:
        given = self.given()
        return mn.Trainer(self.net(), self.data(), **self.kept, **given | {"callbacks": self._callbacks(given, extra)})

    def resume(self, path: Path, *extra: mn.Callback) -> mn.Trainer:
        given = self.given()
        callbacks = self._callbacks(given, extra)
        return mn.Trainer.resume(path, self.net(), self.data(), **given | {"callbacks": callbacks})

    @staticmethod
    def _callbacks(given: dict[str, Any], extra: tuple[mn.Callback, ...]) -> list[mn.Callback]:
        return [*extra, *given.get("callbacks", ())]  # those that save come first, when others know less


def flat_data(n: int = 44, seed: int = 0) -> mn.data.Data:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 6)).astype(np.float32), rng.integers(0, 3, n)


def images(n: int = 36, seed: int = 0) -> mn.data.Data:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 8, 8, 1), np.uint8), rng.integers(0, 3, n)


def mlp() -> mn.Net:
    layers = [mn.Dense(12), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.3), mn.Dense(3)]
    return mn.Net(layers, 6, mn.SoftmaxCrossEntropy(), l2=1e-3, max_norm=3.0, seed=3)


def convolutional() -> mn.Net:
    layers = [mn.Conv2D(4, 3), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dropout(0.2), mn.Dense(3)]
    return mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=1)


def small() -> mn.Net:
    return mn.Net([mn.Dense(5), mn.Tanh(), mn.Dropout(0.2), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy(), seed=2)


def still() -> mn.Net:
    """Without noise, for rules that compare losses of one function; float64 so that they find something to do."""
    return mn.Net([mn.Dense(5), mn.Tanh(), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy(), seed=2, dtype=np.float64)


RULES: dict[str, mn.Rule] = {
    name: getattr(mn, name)()
    for name in (
        *("SGD", "Momentum", "Nesterov", "NesterovLookAhead", "Adagrad", "Adadelta", "RMSprop", "RMSpropMomentum"),
        *("RMSpropCentred", "RMSpropCentredMomentum", "Adam", "AMSGrad", "AdaMax", "NAdam", "RAdam", "Lion"),
        *("ScheduleFreeSGD", "ScheduleFreeAdamW", "LARS", "LAMB", "Adafactor", "Muon"),
    )
} | {
    "LookAhead": mn.LookAhead(mn.Adam(), k=4),
    "Accumulate": mn.Accumulate(mn.Momentum(), k=3),
    "CoupledDecay": mn.CoupledDecay(mn.Adam(), 0.1),
    "GradientNoise": mn.GradientNoise(mn.Nesterov(), seed=5),
    "AdaptiveClip": mn.AdaptiveClip(mn.Adam()),
    "ClipNorm": mn.ClipNorm(mn.RMSprop(), 0.1),
    "ClipTensorNorm": mn.ClipTensorNorm(mn.Adagrad(), 0.1),
    "ClipValue": mn.ClipValue(mn.Lion(), 0.01),
}


class AverageOfWeights(mn.Callback):
    """A callback of a user's own with lists, dicts, None, text and arrays in its state, which its column shows."""

    def __init__(self, decay: float = 0.9) -> None:
        self.decay = decay
        self.mean: np.ndarray | None = None
        self.seen: list[dict[str, Any]] = []

    def on_step(self, trainer: mn.Trainer, record: mn.Record) -> None:
        old = trainer.net.params if self.mean is None else self.mean
        self.mean = self.decay * old + (1 - self.decay) * trainer.net.params

    def on_epoch(self, trainer: mn.Trainer, row: dict[str, Any]) -> None:
        row["average"] = np.float32(np.abs(self.mean).sum())
        self.seen.append({"epoch": row["epoch"], "note": None, "nan": float("nan"), "row": np.int16(row["step"])})

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        self.mean, self.seen = state["mean"], state["seen"]


class Ballast(mn.Callback):
    """Makes files so large that most of the time goes into writing them."""

    bystander = True

    def state(self) -> dict[str, Any]:
        return {"ballast": np.zeros(2**20)}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class Peak(mn.Callback):
    """A column that is best in the third epoch."""

    bystander = True
    columns = ("far",)

    def on_epoch(self, trainer: mn.Trainer, row: dict[str, Any]) -> None:
        row["far"] = abs(row["epoch"] - 3)


class Page(mn.diagnostics.Dashboard):
    """A dashboard that does not draw, which takes its time and is no matter of the run's."""

    def _write(self, trainer: mn.Trainer) -> None:
        pass


def watched() -> mn.Net:
    """A net in which every monitor sees something."""
    layers = [mn.Dense(7), mn.BatchNorm(), mn.ReLU(), mn.Dense(5), mn.Tanh(), mn.Dropout(0.2), mn.Dense(3)]
    return mn.Net(layers, 6, mn.SoftmaxCrossEntropy(), seed=4)


def _monitors() -> list[mn.diagnostics.Monitor]:
    kinds = mn.diagnostics
    return [
        *(
            kinds.UpdateRatios(at=2),
            kinds.Statistics(at=kinds.log_spaced(5), bins=6),
            kinds.Saturation(at=[1, 4, 9, 20]),
        ),
        *(kinds.DeadUnits(at=5), kinds.NoiseScale(4, 4, at=7), kinds.Sharpness(samples=20, at=11, iterations=2)),
    ]


def _averaging() -> dict[str, Any]:
    averages = [
        *(mn.EMA(0.9), mn.EMA(0.99, warm_up=True, start=3, every=2), mn.PolyakRuppert(3), mn.SWA("trough")),
        *(mn.SWA("epoch", start=8), mn.LAWA(2, at=4), mn.LAWA(3), mn.SWAG(3, rank=2), mn.SWAG(rank=0)),
    ]
    snapshots = [mn.Snapshots(), mn.Snapshots("epoch", last=2), mn.Snapshots(5, start=2)]
    return {"rule": mn.Nesterov(), "lr": schedules.WarmRestarts(0.1, 8), "callbacks": [*averages, *snapshots]}


def _plain(rule: mn.Rule) -> Callable[[], dict[str, Any]]:
    return lambda: {"rule": rule, "lr": 0.01}


def _listening(*callbacks: Callable[[], mn.Callback]) -> Callable[[], dict[str, Any]]:
    return lambda: {
        "rule": mn.Momentum(),
        "lr": 0.5,
        "validation": flat_data(20, seed=1),
        "callbacks": [make() for make in callbacks],
    }


def _groups() -> dict[str, Any]:
    return {
        "rule": mn.Adam(),
        "lr": schedules.Cosine(0.02, 30),
        "weight_decay": schedules.Linear(0.1, 0.0, 30),
        "clip_norm": 0.5,
        "groups": [
            mn.Group(lambda tensor: tensor.name == "0.W", rule=mn.Muon(), lr_factor=schedules.Step(1.0, 10, 0.5)),
            mn.Group(lambda tensor: tensor.name == "3.b", frozen=True, name="last"),
        ],
    }


CASES: dict[str, Case] = {
    "mlp": Case(
        mlp,
        flat_data,
        lambda: {
            "rule": mn.Adam(),
            "lr": schedules.Warmup(5, schedules.Cosine(0.02, 25)),
            "validation": flat_data(20, seed=1),
            "callbacks": [mn.EarlyStopping(patience=4), mn.ReduceOnPlateau(patience=0), AverageOfWeights()],
            "clip_norm": 1.0,
        },
        {"batch_size": 8, "epochs": 5, "seed": 7},
    ),
    "convolutional": Case(
        convolutional,
        images,
        lambda: {"rule": mn.Nesterov(), "lr": 0.05, "weight_decay": 1e-3, "validation": images(12, seed=1)},
        {
            **{"batch_size": 8, "steps": 23, "seed": 4, "augment": mn.data.Augment(flip=True, crop=1)},
            "standardize": mn.data.Standardizer.fit(images()[0]),
        },
    ),
    "groups": Case(small, flat_data, _groups),
    "schedules": Case(
        small,
        flat_data,
        lambda: {
            "rule": mn.Nesterov(schedules.Linear(0.5, 0.9, 30)),
            "lr": schedules.Repeat(schedules.Cosine(0.1, 7)),
            "clip_norm": schedules.Exponential(1.0, 0.1),
        },
    ),
    "standardized": Case(
        small,
        flat_data,
        _plain(mn.Adam()),
        {"batch_size": 8, "epochs": 3, "standardize": mn.data.Standardizer.fit(flat_data()[0])},
    ),
    "early stopping": Case(small, flat_data, _listening(lambda: mn.EarlyStopping(patience=1))),
    "plateau": Case(small, flat_data, _listening(lambda: mn.ReduceOnPlateau(patience=0, factor=0.5, cooldown=1))),
    "plateau, Keras": Case(
        small, flat_data, _listening(lambda: mn.ReduceOnPlateau(patience=1, factor=0.5, counting="keras"))
    ),
    "halve": Case(small, flat_data, _listening(lambda: mn.HalveOnStall(patience=1))),
    "averages": Case(mlp, flat_data, _averaging),
    "averages, schedule-free": Case(
        mlp,
        flat_data,
        lambda: {
            "rule": mn.ScheduleFreeSGD(),
            "lr": 0.1,
            "callbacks": [mn.EMA(), mn.SWAG(rank=2), mn.Snapshots("epoch")],
        },
    ),
    "monitors": Case(watched, flat_data, lambda: {"rule": mn.Adam(), "lr": 0.01, "callbacks": _monitors()}),
    "dashboard": Case(
        watched,
        flat_data,
        lambda: {"rule": mn.Adam(), "lr": 0.01, "callbacks": [Page("page.html", 2, _monitors()), Page("second.html")]},
    ),
    "LBFGS": Case(still, flat_data, _plain(mn.LBFGS(history=3)), {"batch_size": 44, "epochs": 12}),
    **{name: Case(small, flat_data, _plain(rule)) for name, rule in RULES.items()},
}


def result(trainer: mn.Trainer) -> dict[str, str]:
    """Checksums of all that is left of a run."""
    net, optimizer, history = trainer.net, trainer.optimizer, trainer.history
    words = repr((history.stopped, history.epochs.rows, history.steps.rows, trainer.lr_factor, net.step))
    states = [sorted(callback.state().items()) for callback in trainer.callbacks if not callback.bystander]
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        parts = {
            **{"params": net.params.tobytes(), "buffers": net.buffers.tobytes(), "slots": optimizer.state.tobytes()},
            **{"numbers": optimizer.numbers.tobytes(), "history": words.encode(), "callbacks": repr(states).encode()},
        }
    return {name: hashlib.blake2b(content, digest_size=8).hexdigest() for name, content in parts.items()}


# The process that is killed ----------------------------------------------------------------------------------


At = int | str  # steps from one checkpoint to the next, or "epoch"


def at(text: str) -> At:
    """What the command line says of it."""
    return text if text == "epoch" else int(text)


def savers(folder: Path, at: At) -> list[mn.Callback]:
    return [mn.Checkpoint(folder, at, keep=2, best="far", mode="min"), Peak()]


def best(folder: Path) -> str:
    """Checksum of the best epoch in a folder: where it was, weights, buffers, state of the rule."""
    document, arrays = archive.read(folder / "best.ckpt")
    digest = hashlib.blake2b(json.dumps(document["at"]).encode(), digest_size=8)
    for _, values in sorted({**arrays, "state": document["optimizer"]["state"]}.items()):
        digest.update(values.tobytes())
    return digest.hexdigest()


def work(name: str, folder: Path, at: At, large: bool) -> None:
    """Begin the run, or go on with it, and leave its result beside the checkpoints."""
    case, extra = CASES[name], [*savers(folder / "run", at), *([Ballast()] if large else [])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of schedules that are longer than the run
        begun = any((folder / "run").glob("*.ckpt"))
        trainer = case.resume(folder / "run", *extra) if begun else case.start(*extra)
    print(trainer.step, flush=True)
    trainer.run(progress=False)
    (folder / "result.json").write_text(json.dumps(result(trainer) | {"best": best(folder / "run")}))


# The process that kills --------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What has been done."""

    kills: int = 0
    writing: int = 0  # kills that left a file half-written
    best: int = 0  # kills between the best epoch's file and the newest
    finished: int = 0
    wrong: list[str] = field(default_factory=list)


def launch(name: str, folder: Path, at: At, large: bool) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--work", name, str(folder), "--at", str(at)]
    return subprocess.Popen([*command, *(["--large"] if large else [])], stdout=subprocess.PIPE, text=True)


def ahead(folder: Path) -> bool:
    """Whether the best epoch has been saved and the file that comes after it has not."""
    if not (folder / "best.ckpt").exists():
        return False
    newest = max((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.ckpt")), default=0)
    return bool(newest < archive.read(folder / "best.ckpt")[0]["at"]["step"])


def torment(
    name: str, folder: Path, kills: int, rng: np.random.Generator, tally: Tally, moments: tuple[At, ...] = (1, "epoch")
) -> None:
    """Run a case to its end through so many kills (fewer if it is done sooner), and compare.

    Each process saves at one of the moments.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        trainer = CASES[name].start(*savers(folder / "whole", "epoch"))
    start = time.perf_counter()
    trainer.run(progress=False)
    expected = result(trainer) | {"best": best(folder / "whole")}
    # A step with its checkpoint takes some milliseconds; the run itself tells a little about its length.
    longest = 0.01 * trainer.step / max(1, kills) + time.perf_counter() - start
    done = folder / "result.json"
    for _ in range(kills):
        large = rng.random() < 0.7
        process = launch(name, folder, moments[rng.integers(len(moments))], large)
        assert process.stdout is not None
        if rng.random() < 0.9:  # the others are killed while they start
            process.stdout.readline()
        time.sleep(float(rng.uniform(0, 3 * longest if large else longest)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            tally.kills += 1
            tally.writing += any(folder.glob("run/.*.tmp"))
            tally.best += ahead(folder / "run")
        if done.exists():
            break
    if not done.exists():
        process = launch(name, folder, moments[0], large=False)
        process.communicate()
        assert process.returncode == 0, f"{name}: the last process ended with {process.returncode}"
    got = json.loads(done.read_text())
    tally.finished += 1
    different = [part for part in expected if got[part] != expected[part]]
    if different:
        tally.wrong.append(f"{name}: {', '.join(different)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=100, help="processes to kill, at least")
    parser.add_argument("--each", type=int, default=3, help="kills of one run, at most")
    parser.add_argument("--at", type=at, help="steps between checkpoints, or epoch; 1 or epoch by turns unless given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work[0], Path(arguments.work[1]), arguments.at, arguments.large)
        return 0
    moments = (1, "epoch") if arguments.at is None else (arguments.at,)
    rng, tally, start = np.random.default_rng(arguments.seed), Tally(), time.perf_counter()
    while tally.kills < arguments.kills:
        for name in CASES:
            with tempfile.TemporaryDirectory() as folder:
                torment(name, Path(folder), arguments.each, rng, tally, moments)
            took = time.perf_counter() - start
            print(f"\r{took:6.0f} s: {tally.kills} killed, {tally.writing} of them while writing, "
                  f"{tally.best} between the best and the newest, "
                  f"{tally.finished} runs ended, {len(tally.wrong)} of them wrong   ", end="", flush=True)  # fmt: skip
            if tally.kills >= arguments.kills and name != "mlp":
                break
    print(*tally.wrong, sep="\n")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
