"""Everything that moves in a run, as a document with arrays; whether a file is of this run; and putting it back.

A checkpoint keeps numbers and arrays. What is code (the rule, schedules, groups, callbacks) or large (data) is given
again when a run is resumed; the file has its text or a checksum of it, to say what differs.
"""

import zlib
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from ..data import Augment, Standardizer
from ..net.description import Document, describe_architecture, differences, short, words
from ..net.net import Net
from ..schedules import Constant, Schedule
from ..storage import archive
from ..storage.archive import CheckpointError
from .callbacks import Run
from .checkpoint import newest_whole, offer_older
from .state import State
from .table import problem_of, rows_of, table_of


class ResumableRun(Run, Protocol):
    """A run with all that a file of it has to hold. ``Trainer`` is one."""

    good: State  # what a divergence puts back
    latest: State
    unproven: bool
    epoch_so_far: tuple[float, float, float | None]

    @property
    def fingerprints(self) -> dict[str, Any]:
        """Shapes, dtypes and checksums of the training and validation data."""


def hyper(value: Any) -> Any:
    """A hyper-parameter as a file has it: a number or None as it is, a schedule as text."""
    if isinstance(value, Constant):
        return float(value.value)
    return words(value) if isinstance(value, Schedule) else value


# What has to agree -------------------------------------------------------------------------------------------


def describe_net(net: Net) -> Document:
    """All of a net but what training changes."""
    return {**describe_architecture(net), **{name: getattr(net, name) for name in ("l2", "l1", "max_norm", "seed")}}


def describe_run(trainer: ResumableRun) -> Document:
    """All that is given again when a run is resumed."""
    optimizer = trainer.optimizer
    return {
        "rule": words(optimizer.rule),
        "lr": hyper(trainer.lr),
        "weight_decay": hyper(optimizer.weight_decay),
        "clip_norm": hyper(optimizer.clip_norm),
        "groups": [words(group) for group in optimizer.groups],
        "tensors of": {name: ", ".join(tensors) for name, tensors in optimizer.grouped.items()},
        **trainer.fingerprints,
        "callbacks": [words(callback) for callback in trainer.callbacks if not callback.bystander],
    }


def fingerprint(x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Document:
    """Shape, dtype and CRC-32 of data, and of their weights if they have any. Some 1 GB/s.

    It tells data apart by accident, not by intent.
    """
    return {
        name: {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "crc32": zlib.crc32(np.ascontiguousarray(array).data),
        }
        for name, array in (("x", x), ("y", y), ("sample_weight", sample_weight))
        if array is not None
    }


def _but_for_rounding(run: Document) -> Document:
    """A description of a run without the checksums of data that are floating-point numbers."""
    run = dict(run)
    for name in ("data", "validation"):
        if isinstance(run.get(name), dict):
            run[name] = {part: _without_checksum(about) for part, about in run[name].items()}
    return run


def _without_checksum(about: Any) -> Any:
    if not isinstance(about, dict) or not str(about.get("dtype")).startswith("float"):
        return about
    return {name: value for name, value in about.items() if name != "crc32"}


def compare(path: Any, what: str, file: Any, given: Any, *, advice: str = "") -> None:
    """CheckpointError that names the differences between a file's description and what was given."""
    found = differences(what, file, given)
    if found:
        raise CheckpointError(f"expected what {path} was saved with; got another: {found}{advice}")


def compare_run(saved: "Saved", trainer: ResumableRun, trust_data: bool) -> None:
    """``compare`` for all that is given again, with a word on how to go on with what differs."""
    file, given, advice = saved.get("run", kind=dict), describe_run(trainer), ""
    if trust_data:
        file, given = _but_for_rounding(file), _but_for_rounding(given)
    if repr(file.get("lr")) != repr(given["lr"]):
        advice += ". To change the rate, resume with that of the file and set trainer.lr before run()"
    rounded = [(_but_for_rounding(run).get("data"), _but_for_rounding(run).get("validation")) for run in (file, given)]
    if rounded[0] == rounded[1] and any(file.get(name) != given[name] for name in ("data", "validation")):
        advice += ". For data that differ by rounding only, resume with trust_data=True"
    compare(saved.path, "", file, given, advice=advice)


# What moves --------------------------------------------------------------------------------------------------


def state_of(trainer: ResumableRun) -> tuple[Document, dict[str, np.ndarray]]:
    """(document, weights and buffers by name): a run between two steps. Arrays are views; write them at once."""
    net, optimizer, batches, good = trainer.net, trainer.optimizer, trainer.batches, trainer.good
    document = {
        "identity": trainer.identity,
        "net": describe_net(net),
        "run": describe_run(trainer),
        "arguments": {
            "batch_size": batches.batch_size,
            "steps": trainer.steps,
            "seed": batches.seed,
            "drop_last": batches.drop_last,
            "augment": None
            if batches.augment is None
            else {"flip": batches.augment.flip, "crop": batches.augment.crop},
            "standardize": None if batches.standardize is None else _standardizer(batches.standardize),
            "evaluate_training": trainer.evaluate_training,
        },
        "at": {
            "step": trainer.step,
            "net_step": net.step,
            "steps": optimizer.steps,
            "epoch_index": batches.epoch_index,
            "position": batches.position,
            "ended": trainer.ended,
        },
        "lr_factor": float(trainer.lr_factor),
        "epoch_so_far": list(trainer.epoch_so_far),
        "optimizer": {"state": optimizer.state, "numbers": optimizer.numbers},
        "handed_out": _handed_out(trainer),
        "good": {
            **{"params": good.params, "buffers": good.buffers, "state": good.slots, "numbers": good.numbers},
            **{"net_step": good.net_step, "steps": good.steps},
        },
        "history": {
            "stopped": trainer.history.stopped,
            "epochs": table_of(trainer.history.epochs),
            "steps": table_of(trainer.history.steps),
        },
        "callbacks": [
            {"kind": type(callback).__name__, "bystander": callback.bystander, "state": callback.state()}
            for callback in trainer.callbacks
        ],
    }
    return document, net.named_parameters() | net.named_buffers()


def _handed_out(trainer: ResumableRun) -> np.ndarray | None:
    """The weights to predict with, where the rule trains at others."""
    optimizer, net = trainer.optimizer, trainer.net
    if trainer.ended:  # and settled
        return None
    with optimizer.evaluating():
        return net.params.copy() if optimizer.is_evaluating else None


def _standardizer(standardize: Standardizer) -> Document:
    shape = list(standardize.sample_shape)
    return {"mean": np.asarray(standardize.mean), "std": np.asarray(standardize.std), "sample_shape": shape}


# Back again --------------------------------------------------------------------------------------------------


class Saved:
    """What a checkpoint says, asked for piece by piece; CheckpointError for a piece that is not what it should be."""

    def __init__(self, path: Any, document: Document, arrays: dict[str, np.ndarray]) -> None:
        self.path, self.document, self.arrays = path, document, arrays

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """What the file at ``path`` says, or the newest whole one in a folder of ``Checkpoint``."""
        path = Path(path)
        if path.is_dir():
            return cls(*newest_whole(path))
        with offer_older(path):
            return cls(path, *archive.read(path))

    def get(self, *place: str, kind: Any = object, least: float | None = None) -> Any:
        """The value at ``place``, of type ``kind``, from ``least`` up to what an int64 holds."""
        value: Any = self.document
        for name in place:
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
            raise self.spoilt(place, value)
        if least is not None and not least <= value < 2**63:
            raise self.spoilt(place, value)
        return value

    def array(self, like: np.ndarray, *place: str) -> np.ndarray:
        """The array at ``place``, which has shape and dtype of ``like``."""
        value = self.get(*place, kind=np.ndarray)
        if value.shape != like.shape or value.dtype != like.dtype:
            raise self.spoilt(place, f"{value.dtype} {value.shape}, where {like.dtype} {like.shape} belongs")
        return value

    def flat(self, net: Net, names: list[str], like: np.ndarray) -> np.ndarray:
        """The net's flat vector of the named arrays."""
        parts = [self.arrays.get(name) for name in names]
        shapes = {**net.layout.places, **net.buffer_layout.places}
        for name, part in zip(names, parts, strict=True):
            if part is None or part.shape != shapes[name].shape or part.dtype != like.dtype:
                raise self.spoilt((name,), None if part is None else f"{part.dtype} {part.shape}")
        return np.concatenate([like[:0], *(part.reshape(-1) for part in parts if part is not None)])

    def weights(self, net: Net) -> tuple[np.ndarray, np.ndarray]:
        """Params and buffers, as ``net`` has them."""
        params = self.flat(net, list(net.layout.places), net.params)
        return params, self.flat(net, list(net.buffer_layout.places), net.buffers)

    def spoilt(self, place: Any, value: Any) -> CheckpointError:
        """The error that says so."""
        return CheckpointError(f"expected {' '.join(place)} in {self.path} as a run has it; got {short(value)}")

    # What the constructor of a trainer takes.

    def hyper(self, name: str, given: Any) -> Any:
        """A hyper-parameter: that of the file where nothing is given and the file has a number."""
        value = self.get("run", name, kind=(int, float, str, *([type(None)] if name == "clip_norm" else [])))
        if isinstance(value, int) and not 0 <= value < 2**63:
            raise self.spoilt(("run", name), value)
        if given is None and isinstance(value, str):
            raise CheckpointError(f"expected {name}={value}, which {self.path} was saved with; got none")
        return value if given is None else given

    def augment(self) -> Augment | None:
        """The run's augmentation."""
        if self.get("arguments", "augment", kind=(dict, type(None))) is None:
            return None
        place = "arguments", "augment"
        return Augment(self.get(*place, "flip", kind=bool), self.get(*place, "crop", kind=int, least=0))

    def standardize(self, net: Net) -> Standardizer | None:
        """The run's standardisation."""
        place = "arguments", "standardize"
        if self.get(*place, kind=(dict, type(None))) is None:
            return None
        mean, std = (self.get(*place, name, kind=np.ndarray) for name in ("mean", "std"))
        shape = net.input_shape
        if not all(v.dtype.kind == "f" and v.shape == shape[len(shape) - v.ndim :] for v in (mean, std)):
            raise self.spoilt(place, f"mean {mean.shape}, std {std.shape}")
        return Standardizer(mean, std, tuple(self.get(*place, "sample_shape", kind=list)))

    def evaluate_training(self) -> int:
        """How many training samples the run evaluates; files of older versions do not say, as no run did then."""
        part = self.get("arguments", kind=dict).get("evaluate_training", 0)
        if isinstance(part, bool) or not isinstance(part, int) or part < 0:
            raise self.spoilt(("arguments", "evaluate_training"), part)
        return part

    def table(self, *place: str) -> Any:
        """A history as ``table_of`` makes it, for ``rows_of``."""
        table = self.get(*place, kind=(list, dict))
        problem = problem_of(table)
        if problem is not None:
            raise self.spoilt(place, problem)
        return table


def put_back(trainer: ResumableRun, saved: Saved) -> None:
    """Make a new trainer the one that was saved. Nothing has moved if it raises CheckpointError."""
    net, optimizer, batches, good = trainer.net, trainer.optimizer, trainer.batches, trainer.good
    # All questions first.
    params, buffers = saved.weights(net)
    slots, numbers = (
        saved.array(like, "optimizer", name)
        for name, like in (("state", optimizer.state), ("numbers", optimizer.numbers))
    )
    before = [
        saved.array(like, "good", name)
        for name, like in (
            *(("params", good.params), ("buffers", good.buffers)),
            *(("state", good.slots), ("numbers", good.numbers)),
        )
    ]
    names = ("step", "net_step", "steps", "epoch_index", "position")
    step, net_step, steps, epoch_index, position = (saved.get("at", name, kind=int, least=0) for name in names)
    good_net_step, good_steps = (saved.get("good", name, kind=int, least=0) for name in ("net_step", "steps"))
    ended = saved.get("at", "ended", kind=bool)
    if step > trainer.steps or position >= batches.per_epoch:
        raise saved.spoilt(("at",), saved.get("at"))
    identity, lr_factor = saved.get("identity", kind=str), saved.get("lr_factor", kind=float)
    so_far = saved.get("epoch_so_far", kind=list)
    kinds = [type(value) for value in so_far]
    if len(kinds) != 3 or kinds[0] is not float or not {*kinds[1:]} <= {int, float, type(None)} or so_far[1] is None:
        raise saved.spoilt(("epoch_so_far",), so_far)
    stopped = saved.get("history", "stopped", kind=(str, type(None)))
    epochs, rows = saved.table("history", "epochs"), saved.table("history", "steps")
    _restore_callbacks(trainer, saved)
    # From here on nothing can fail.
    net.params, net.buffers, net.step = params, buffers, net_step
    optimizer.state, optimizer.numbers, optimizer.steps = slots, numbers, steps
    trainer.latest.take(net, optimizer)
    for place, values in zip((good.params, good.buffers, good.slots, good.numbers), before, strict=True):
        np.copyto(place, values)
    good.net_step, good.steps = good_net_step, good_steps
    batches.seek(epoch_index, position)
    trainer.step, trainer.lr_factor, trainer.ended = step, lr_factor, ended
    trainer.identity = identity
    trainer.epoch_so_far = so_far[0], so_far[1], so_far[2]
    # Between two epochs the latest state is the one at hand, not yet known to give a finite loss.
    trainer.unproven = step > 0 and position == 0
    trainer.history.stopped = stopped
    # Last, as rows of Python's take several times the memory of the columns: a file that is refused has not taken it.
    trainer.history.epochs.rows, trainer.history.steps.rows = rows_of(epochs), rows_of(rows)


def _restore_callbacks(trainer: ResumableRun, saved: Saved) -> None:
    """Give every callback its state, a bystander that of the first of its kind; none has changed if one refuses.

    What a file says may make any of them, also one of the user's own, fail in any way.
    """
    entries = saved.get("callbacks", kind=list)
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("state"), dict):
            raise saved.spoilt(("callbacks",), entry)
    own = [entry["state"] for entry in entries if not entry.get("bystander")]
    looking_on = [entry for entry in entries if entry.get("bystander")]
    if len(own) != sum(not callback.bystander for callback in trainer.callbacks):
        raise saved.spoilt(("callbacks",), f"{len(own)} states")
    states = []
    for callback in trainer.callbacks:
        if not callback.bystander:
            states.append(own.pop(0))
            continue
        alike = [i for i, entry in enumerate(looking_on) if entry.get("kind") == type(callback).__name__]
        states.append(looking_on.pop(alike[0])["state"] if alike else {})
    before = [callback.state() for callback in trainer.callbacks]
    try:
        for callback, state in zip(trainer.callbacks, states, strict=True):
            callback.check(state, trainer.net)
        for callback, state in zip(trainer.callbacks, states, strict=True):
            callback.restore(state)
    except Exception as error:
        for callback, state in zip(trainer.callbacks, before, strict=True):
            callback.restore(state)
        raise CheckpointError(
            f"expected states of the callbacks in {saved.path}; got {type(error).__name__}: {error}"
        ) from error


def save_weights(net: Net, path: str | Path) -> None:
    """Write a net's weights and buffers, under their names, into one safetensors file for ``load_weights``.

    Whole or not at all: OSError if it cannot be written. A run is saved by ``Checkpoint`` and ``Trainer.save``.
    """
    archive.write(path, {"net": describe_net(net), "handed_out": None}, net.named_parameters() | net.named_buffers())


def load_weights(net: Net, path: str | Path) -> None:
    """Give ``net`` weights and buffers from ``save_weights`` or a checkpoint (of a folder: its newest whole one).

    For predicting, or for a run that starts from there. ``net`` may have another loss or none, another seed and other
    penalties. Of a rule that trains at one point and hands out another (``ScheduleFreeSGD``), it is the latter.

    CheckpointError, a ValueError, for a file that is damaged, or of a net of other layers, naming what differs;
    FileNotFoundError for none; the net is as it was then.
    """
    saved = Saved.of(path)
    file, given = saved.get("net", kind=dict), describe_architecture(net)
    with offer_older(saved.path):
        compare(saved.path, "net", *({name: of.get(name) for name in given if name != "loss"} for of in (file, given)))
        params, buffers = saved.weights(net)
        if saved.get("handed_out", kind=(np.ndarray, type(None))) is not None:
            params = saved.array(net.params, "handed_out")
    net.params, net.buffers = params, buffers
