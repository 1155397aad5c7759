"""A folder of checkpoints: the newest few and the best are kept; the newest whole one is found again."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import archive, checks
from .archive import CheckpointError
from .callbacks import Callback, check_state, larger_is_better, monitored
from .files import temporary_name
from .moments import Moments, When

if TYPE_CHECKING:
    from .train import Trainer

_NAME = re.compile(r"step-(\d{8,})\.ckpt")
_BEST = "best.ckpt"


class Checkpoint(Callback):
    """Save the run as it goes, and before it ends; ``Trainer.resume(folder, ...)`` goes on with it.

    It ends early by ``trainer.stop``, ``trainer.leave``, and, in ``fit`` and ``Trainer.run`` alone, Ctrl-C and SIGTERM:
    a loop of one's own is broken off by those as any Python code is, in mid-step, and goes on from the last file.

    Files are ``step-00001200.ckpt`` and, for the best epoch so far, ``best.ckpt``. Each is written whole or not at all
    and holds all of the run (see ``Trainer.save``), some 2 (1 + slots of the rule) times the size of the weights.

    Args:
        folder: where; it is made if need be. A new run must find no files of another one there.
        at: ``"epoch"`` for the end of each epoch, a number n for every n-th step, an event of the schedule, a list of
            steps or a function of the step, see ``Moments``.
        keep: so many of the newest files are kept.
        best: a column of the epochs' rows, such as ``"val_accuracy"``; larger is better if its name contains
            "accuracy", else smaller. None for no ``best.ckpt``.
        must_save: whether a file that cannot be written (disk full, folder read-only) stops the run by an OSError;
            False warns and goes on. Files written before stay whole either way.
    """

    bystander: ClassVar[bool] = True

    def __init__(
        self,
        folder: str | Path,
        at: When = "epoch",
        keep: int = 3,
        best: str | None = None,
        must_save: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self._moments = Moments("Checkpoint", at)
        self._at = self._moments.at  # for repr
        self.keep = checks.count("Checkpoint", "keep", keep)
        if not (best is None or isinstance(best, str)):
            raise TypeError(f"Checkpoint: expected best to be a column's name or None; got {best!r}")
        self.best, self.must_save = best, must_save
        self._value: float | None = None  # best so far
        self._better = False

    def on_step(self, trainer: "Trainer", record: Any) -> None:
        """Look, as a run begins, whether the folder is free for it."""
        if record.step > 1:
            return
        self._value, self._better = None, False
        others = files_of(self.folder)
        if others:
            raise FileExistsError(
                f"Checkpoint: expected no checkpoints of another run in {self.folder}; got {others[0].name}. "
                "Trainer.resume goes on with that run"
            )

    def on_epoch(self, trainer: "Trainer", row: dict[str, Any]) -> None:
        """Compare this epoch with the best so far."""
        if self.best is not None:
            value = monitored("Checkpoint", row, self.best)
            sign = 1 if larger_is_better(self.best) else -1
            if self._value is None or sign * value > sign * self._value:
                self._value, self._better = value, True

    def between_steps(self, trainer: "Trainer") -> None:
        """Save if it is time, or if the run is about to end."""
        due = self._moments.now(trainer, trainer.step)
        last = trainer.step == trainer.steps or trainer.history.stopped is not None or trainer.leaving is not None
        better, self._better = self._better, False
        if not (due or last or better):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if better:
                # Before the newest file, which knows of it: a kill in between repeats the epoch and this file.
                trainer.save(self.folder / _BEST)
            if due or last:
                trainer.save(self.folder / f"step-{trainer.step:08}.ckpt")
                self._prune(trainer.step)
        except OSError as error:
            if self.must_save:
                raise
            warnings.warn(f"Checkpoint: step {trainer.step} is not saved: {error}", RuntimeWarning, stacklevel=2)

    def _prune(self, step: int) -> None:
        """Remove what is older than the newest few, what lies after this step (its run was resumed from an older file),
        and what a killed process left half-written."""
        files = files_of(self.folder)
        ours = [path for path in files if _step_of(path) <= step]
        for path in [*ours[self.keep :], *(path for path in files if _step_of(path) > step)]:
            if not path.is_dir():  # which is none of ours
                path.unlink(missing_ok=True)
        for name in ("step-*.ckpt", _BEST):
            for path in self.folder.glob(temporary_name(Path(name), "*").name):
                path.unlink(missing_ok=True)

    def state(self) -> dict[str, Any]:
        return {"best": self._value}

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, ("best",))
        value = state.get("best")
        self._value, self._better = None if value is None else float(value), False


def files_of(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first, without the best."""
    found = [path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return -1 if match is None else int(match[1])


def newest_whole(folder: Path) -> tuple[Path, dict[str, Any], dict[str, np.ndarray]]:
    """The newest checkpoint in a folder that can be read, and what is in it; a warning for each newer one that cannot.

    FileNotFoundError if there is none at all; CheckpointError if none can be read.
    """
    files = files_of(folder)
    if not files:
        raise FileNotFoundError(f"expected checkpoints (step-*.ckpt) in {folder}; found none")
    refused = []
    for path in files:
        try:
            content = archive.read(path)
        except (CheckpointError, OSError) as error:  # OSError: no file, or none that may be read
            refused.append(error)
            continue
        for problem in refused:
            warnings.warn(f"{problem}. Going on from the older {path.name}", UserWarning, stacklevel=3)
        return path, *content
    raise CheckpointError(f"expected a whole checkpoint in {folder}; got none: {'; '.join(map(str, refused))}")


@contextmanager
def offer_older(path: Path) -> Iterator[None]:
    """Add to a CheckpointError of a file of ``Checkpoint`` which is the next older one beside it.

    To the best, whose step its name does not tell, the newest one is.
    """
    try:
        yield
    except CheckpointError as error:
        with suppress(OSError):
            others = [other for other in files_of(path.parent) if other.is_file()]
            if path.name == _BEST and others:
                raise CheckpointError(f"{error}. The newest one beside it is {others[0]}") from None
            older = [other for other in others if _step_of(other) < _step_of(path)]
            if older:
                raise CheckpointError(f"{error}. The next older one is {older[0]}") from None
        raise
