"""A saved run as it is read from a file: every value is checked when it is asked for."""

from pathlib import Path
from typing import Any, Self

import numpy as np

from ..data import Augment, Standardizer
from ..net.description import Document, short
from ..net.net import Net
from ..storage import archive
from ..storage.archive import CheckpointError
from .checkpoint import newest_whole, offer_older
from .table import problem_of


class Saved:
    """The content of a checkpoint. Methods raise CheckpointError for a value that no saved run has.

    Attributes:
        path: path of the file.
        document: numbers, text and arrays by name, nested.
        arrays: weights and buffers of the net by name.
    """

    def __init__(self, path: Any, document: Document, arrays: dict[str, np.ndarray]) -> None:
        self.path, self.document, self.arrays = path, document, arrays

    @classmethod
    def of(cls, path: str | Path | bytes) -> Self:
        """Read the file at ``path``, the newest whole file in a folder of ``Checkpoint``, or the content of a file."""
        if isinstance(path, bytes):
            return cls(archive.name_of(path), *archive.read(path))
        path = Path(path)
        if path.is_dir():
            return cls(*newest_whole(path))
        with offer_older(path):
            return cls(path, *archive.read(path))

    def get(self, *place: str, kind: Any = object, least: float | None = None) -> Any:
        """Return the value at ``place``, of type ``kind``; with ``least``, from ``least`` to the largest int64."""
        value: Any = self.document
        for name in place:
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
            raise self.spoilt(place, value)
        if least is not None and not least <= value < 2**63:
            raise self.spoilt(place, value)
        return value

    def array(self, like: np.ndarray, *place: str) -> np.ndarray:
        """Return the array at ``place``, which must have the shape and dtype of ``like``."""
        value = self.get(*place, kind=np.ndarray)
        if value.shape != like.shape or value.dtype != like.dtype:
            raise self.spoilt(place, f"{value.dtype} {value.shape}, where {like.dtype} {like.shape} belongs")
        return value

    def numbers(self, like: np.ndarray, *place: str) -> np.ndarray:
        """Return the array of a rule's numbers at ``place``; without numbers, the number of runs does not matter."""
        empty = not like.size and not self.get(*place, kind=np.ndarray).size
        return like if empty else self.array(like, *place)

    def flat(self, net: Net, names: list[str], like: np.ndarray) -> np.ndarray:
        """Return the named arrays as one flat vector of the net, of the dtype of ``like``."""
        parts = [self.arrays.get(name) for name in names]
        shapes = {**net.layout.places, **net.buffer_layout.places}
        for name, part in zip(names, parts, strict=True):
            if part is None or part.shape != shapes[name].shape or part.dtype != like.dtype:
                raise self.spoilt((name,), None if part is None else f"{part.dtype} {part.shape}")
        return np.concatenate([like[:0], *(part.reshape(-1) for part in parts if part is not None)])

    def weights(self, net: Net) -> tuple[np.ndarray, np.ndarray]:
        """Return params and buffers as flat vectors of ``net``."""
        params = self.flat(net, list(net.layout.places), net.params)
        buffers = self.flat(net, list(net.buffer_layout.places), net.buffers)
        self.check_buffers(net, buffers)
        return params, buffers

    def check_buffers(self, net: Net, buffers: np.ndarray) -> None:
        """Raise CheckpointError for values in buffers (B,) that no training pass leaves, such as a variance below 0."""
        found = net.too_low(buffers)
        if found is not None:
            raise CheckpointError(
                f"expected in {self.path} {found}. No training pass measures less, so the net had such values before; "
                "mn.refreshed_buffers measures them again in the net that was saved"
            )

    def spoilt(self, place: Any, value: Any) -> CheckpointError:
        """Return the error for a value that no saved run has."""
        return CheckpointError(f"expected {' '.join(place)} in {self.path} as a run has it; got {short(value)}")

    # Arguments for the constructor of Trainer.

    def arguments(self, net: Net, lr: Any, weight_decay: Any, clip_norm: Any) -> dict[str, Any]:
        """Return the arguments that a resumed run takes from the file, by name; hyper-parameters may also be given."""
        hypers = {"lr": lr, "weight_decay": weight_decay, "clip_norm": clip_norm}
        return self.order(net) | {name: self.hyper(name, given) for name, given in hypers.items()}

    def order(self, net: Net) -> dict[str, Any]:
        """Return the arguments that are no hyper-parameters: length of the run, size and order of the batches."""
        place = "arguments"
        return {
            "batch_size": self.get(place, "batch_size", kind=int, least=1),
            "steps": self.get(place, "steps", kind=int, least=1),
            "seed": self.get(place, "seed", kind=int),
            "drop_last": self.get(place, "drop_last", kind=bool),
            "augment": self.augment(),
            "standardize": self.standardize(net),
            "evaluate_training": self.evaluate_training(),
        }

    def hyper(self, name: str, given: Any) -> Any:
        """Return a hyper-parameter: the given one, or that of the file if none is given and the file has a number."""
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
        """Return how many training samples the run evaluates; 0 for files of versions without this feature."""
        part = self.get("arguments", kind=dict).get("evaluate_training", 0)
        if isinstance(part, bool) or not isinstance(part, int) or part < 0:
            raise self.spoilt(("arguments", "evaluate_training"), part)
        return part

    def table(self, *place: str) -> Any:
        """Return a table of the history as ``table_of`` makes it, for ``rows_of``."""
        table = self.get(*place, kind=(list, dict))
        problem = problem_of(table)
        if problem is not None:
            raise self.spoilt(place, problem)
        return table
