"""Descriptions of runs: what a resumed run must share with the saved one, and where two descriptions differ.

A checkpoint contains numbers and arrays. Code (the rule, schedules, groups, callbacks) and data are given again when a
run is resumed. The file has their text or a checksum, so that an error can name what differs.
"""

import zlib
from typing import Any, Protocol

import numpy as np

from ..distributed import MPI
from ..net.description import Document, describe_architecture, differences, words
from ..net.net import Net
from ..schedules import Constant, Schedule
from ..storage.archive import CheckpointError
from .callbacks import Run
from .saved import Saved
from .state import State


class ResumableRun(Run, Protocol):
    """A run with all attributes that a checkpoint contains. ``Trainer`` is one."""

    evaluate_training: int
    exchange: MPI | None

    good: State  # restored after a divergence
    latest: State
    unproven: bool
    epoch_so_far: tuple[float, float, float | None]

    @property
    def fingerprints(self) -> dict[str, Any]:
        """Shapes, dtypes and checksums of the training and validation data."""


def hyper(value: Any) -> Any:
    """Return a hyper-parameter as it is stored in a file: a number or None unchanged, a schedule as text."""
    if isinstance(value, Constant):
        return float(value.value)
    return words(value) if isinstance(value, Schedule) else value


def describe_net(net: Net) -> Document:
    """Describe everything of a net that training does not change."""
    return {**describe_architecture(net), **{name: getattr(net, name) for name in ("l2", "l1", "max_norm", "seed")}}


def describe_run(trainer: ResumableRun) -> Document:
    """Describe everything that is given again when a run is resumed."""
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
        # The number of ranks decides nothing. Files of runs without an exchange have no such entry.
        **({} if trainer.exchange is None else {"exchange": words(trainer.exchange)}),
    }


def describe_order(trainer: ResumableRun) -> Document:
    """Describe the size and order of the batches, and what is done to them."""
    batches = trainer.batches
    augment, standardize = batches.augment, batches.standardize
    return {
        "batch_size": batches.batch_size,
        "seed": batches.seed,
        "drop_last": batches.drop_last,
        "augment": None if augment is None else {"flip": augment.flip, "crop": augment.crop},
        "standardize": None
        if standardize is None
        else {
            **{"mean": np.asarray(standardize.mean), "std": np.asarray(standardize.std)},
            "sample_shape": list(standardize.sample_shape),
        },
        "evaluate_training": trainer.evaluate_training,
    }


def fingerprint(x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Document:
    """Shape, dtype and CRC-32 of data, and of their weights if there are any. The speed is about 1 GB/s.

    The checksum detects accidental differences, not intended ones.
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
    """Return a description of a run without the checksums of floating-point data."""
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
    """Raise CheckpointError, which names the differences, unless a file's description agrees with the given one."""
    found = differences(what, file, given)
    if found:
        raise CheckpointError(f"expected what {path} was saved with; got another: {found}{advice}")


def compare_run(saved: Saved, trainer: ResumableRun, trust_data: bool) -> None:
    """``compare`` for everything that is given again; the error says how to continue in spite of some differences."""
    file, given, advice = saved.get("run", kind=dict), describe_run(trainer), ""
    if trust_data:
        file, given = _but_for_rounding(file), _but_for_rounding(given)
    if repr(file.get("lr")) != repr(given["lr"]):
        advice += ". To change the rate, resume with that of the file and set trainer.lr before run()"
    rounded = [(_but_for_rounding(run).get("data"), _but_for_rounding(run).get("validation")) for run in (file, given)]
    if rounded[0] == rounded[1] and any(file.get(name) != given[name] for name in ("data", "validation")):
        advice += ". For data that differ by rounding only, resume with trust_data=True"
    compare(saved.path, "", file, given, advice=advice)


# Branches ----------------------------------------------------------------------------------------------------

_OF_NET = ("l2", "l1", "max_norm")  # hyper-parameters of a net; its seed is none, as it decides the noise


def describe_branch_net(net: Document) -> Document:
    """Return a description of a net without its hyper-parameters."""
    return {name: value for name, value in net.items() if name not in _OF_NET}


def compare_branch(saved: Saved, trainer: ResumableRun, trust_data: bool) -> None:
    """Raise CheckpointError, which names the differences, unless ``trainer`` can take over the state of ``saved``.

    Compared is what the arrays and positions in the state depend on. Hyper-parameters are not.
    """
    path, step = saved.path, saved.get("at", "step", kind=int, least=0)
    if saved.get("at", "ended", kind=bool):
        raise CheckpointError(
            f"expected a state between two steps, to branch off; {path} is of a run that has ended after step {step}, "
            "when callbacks and rules may set other weights. Take a file of Checkpoint, or one that was saved before "
            "the last step or after trainer.leave"
        )
    if step > trainer.steps:
        raise CheckpointError(
            f"expected a run of at least the {step} steps that {path} has behind it; got steps={trainer.steps}, which "
            "count from the start of the run"
        )
    if "contents" not in saved.get("optimizer", kind=dict):
        raise CheckpointError(
            f"expected a state that says which rule its slots belong to; {path} is of an older minnet. Resume it and "
            "save it again"
        )
    run = saved.get("run", kind=dict)
    file = {
        "net": describe_branch_net(saved.get("net", kind=dict)),
        "batches": {name: as_text(value) for name, value in saved.get("arguments", kind=dict).items()},
        "state of the rule": saved.get("optimizer", "contents", kind=dict),
        **{name: run.get(name) for name in ("data", "validation")},
        "callbacks": [
            entry.get("kind")
            for entry in saved.get("callbacks", kind=list)
            if isinstance(entry, dict) and not entry.get("bystander")
        ],
    }
    given = {
        "net": describe_branch_net(describe_net(trainer.net)),
        "batches": {name: as_text(value) for name, value in describe_order(trainer).items()},
        "state of the rule": trainer.optimizer.contents(),
        **trainer.fingerprints,
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks if not callback.bystander],
    }
    file["batches"].pop("steps", None)
    file["batches"].setdefault("evaluate_training", "0")  # files of versions without this feature
    if trust_data:
        file, given = _but_for_rounding(file), _but_for_rounding(given)
    found = differences("", file, given, "in the state")
    if found:
        raise CheckpointError(f"expected a run that can take over the state in {path}; got another: {found}")


def as_text(value: Any) -> str:
    """Return a value of the description of batches as text, arrays by their checksum."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {as_text(inner)}" for name, inner in value.items())
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name} {value.shape} crc32 {zlib.crc32(np.ascontiguousarray(value).data)}"
    return repr(value)
