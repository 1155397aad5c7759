"""A folder of checkpoints: the newest few and the best are kept; the newest whole one is found again."""

import math
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import checks
from ..storage import archive
from ..storage.archive import CheckpointError
from ..storage.files import temporary_name
from ..storage.folderlock import FolderLock
from .callbacks import Callback, Run, check_monitored, monitored
from .direction import Direction
from .moments import Moments, When
from .table import problem_of, rows_of

_NAME = re.compile(r"step-(\d{8,})\.ckpt")
_BEST = "best.ckpt"
_OF_ITS_OWN = "Each run needs a folder of its own; wait until that one has ended to go on with it"


class Checkpoint(Callback):
    """Save the run as it goes, and before it ends; ``Trainer.resume(folder, ...)`` goes on with it.

    It ends early by ``trainer.stop``, ``trainer.leave``, and, in ``fit`` and ``Trainer.run`` alone, Ctrl-C and SIGTERM:
    a loop of one's own is broken off by those as any Python code is, in mid-step, and goes on from the last file.

    Files are ``step-00001200.ckpt`` and, for the best epoch so far, ``best.ckpt``. Each is written whole or not at all
    and holds all of the run (see ``Trainer.save``), some 2 (1 + slots of the rule) times the size of the weights.

    Args:
        folder: where; it is made if need be, and stays the same if the program changes its working directory. There
            must be no files of another run, and no other run may be at work there: the second of two that start at once
            is refused before its first step, whatever process it is in, by a file ``.lock`` that lies in the folder
            while the run lasts. One that a killed process left behind locks nobody out. Of this run, resumed from an
            older file, files of later steps stay until it has passed them, and ``best.ckpt`` until there is a better
            epoch.
        at: ``"epoch"`` for the end of each epoch, a number n for every n-th step, an event of the schedule, a list of
            steps or a function of the step, see ``Moments``.
        keep: so many of the newest files up to the present step are kept.
        best: a column of the epochs' rows, such as ``"val_accuracy"``; None for no ``best.ckpt``. An epoch whose figure
            is NaN is never the best.
        must_save: whether a folder or file that cannot be written (disk full, folder read-only) stops the run by an
            OSError, before its first step if that shows by then; False warns and goes on. Files written before stay
            whole either way.
        mode: ``"max"`` if larger figures of ``best`` are better, ``"min"`` if smaller ones are; None for a column whose
            name tells, see ``KeepBest``. ValueError if the name does not tell, or without ``best``.

    Where the disk has no locks (``flock``: some network file systems; Windows), two runs may both begin in one folder;
    of these the one that began first is refused at its next file. FileExistsError in all these cases, also with
    ``must_save=False``.
    """

    bystander: ClassVar[bool] = True

    def __init__(
        self,
        folder: str | Path,
        at: When = "epoch",
        keep: int = 3,
        best: str | None = None,
        must_save: bool = True,
        *,
        mode: str | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._moments = Moments("Checkpoint", at)
        self._at = self._moments.at  # for repr
        self.keep = checks.count("Checkpoint", "keep", keep)
        if not (best is None or isinstance(best, str)):
            raise TypeError(f"Checkpoint: expected best to be a column's name or None; got {best!r}")
        if best is None and mode is not None:
            raise ValueError(f"Checkpoint: expected mode only with best=..., a column; got mode={mode!r} alone")
        self._direction = None if best is None else Direction.of("Checkpoint", best, mode)
        self.mode = None if self._direction is None else self._direction.mode
        self.best, self.must_save = best, must_save
        self._value: float | None = None  # of the epoch in best.ckpt
        self._own: set[str] = set()  # names of the files that are known to be this run's
        self._lock: FolderLock | None = None

    def on_start(self, trainer: Run) -> None:
        """Look whether the folder can be written in and has nobody else's files, and whether there is such a column."""
        if self.best is not None:
            check_monitored("Checkpoint", trainer, self.best)
        self._moments.find(trainer)
        same = [
            c for c in trainer.callbacks if isinstance(c, Checkpoint) and c.folder.resolve() == self.folder.resolve()
        ]
        if len(same) > 1:
            raise ValueError(f"Checkpoint: expected a folder for each; got {len(same)} with {self.folder}")
        self._make_folder()
        try:
            self._take_folder(trainer)
        except FileExistsError:
            raise
        except OSError:
            if self.must_save:
                raise
            self._look_around(trainer)

    def between_steps(self, trainer: Run) -> None:
        """Save if it is time, or if the run is about to end."""
        epochs = trainer.history.epochs.rows
        if self.best is not None and self._direction and epochs and epochs[-1]["step"] == trainer.step:
            value = monitored("Checkpoint", epochs[-1], self.best)
            # Before the newest file: a kill in between repeats the epoch.
            if self._direction.better(value, self._value) and self._save(trainer, _BEST):
                self._value = value
        due = self._moments.now(trainer, trainer.step)
        last = trainer.step == trainer.steps or trainer.history.stopped is not None or trainer.leaving is not None
        if (due or last) and self._save(trainer, f"step-{trainer.step:08}.ckpt"):
            self._prune(trainer.step)

    def on_end(self, trainer: Run) -> None:
        """Leave the folder to others."""
        self._leave_folder()

    def _take_folder(self, trainer: Run) -> None:
        """Keep other runs out and see what is there; FileExistsError if another run is, or has left its files."""
        self._leave_folder()
        try:
            self._lock = FolderLock(self.folder)
        except FileExistsError as error:
            raise FileExistsError(f"Checkpoint: {error}. {_OF_ITS_OWN}") from None
        try:
            self._look_around(trainer)
        except BaseException:
            self._leave_folder()
            raise

    def _keep_folder(self, trainer: Run) -> None:
        """Make sure, before writing, that the folder is still this run's; take it where it is nobody's."""
        if self._lock is not None:
            try:
                self._lock.check()
                return
            except FileExistsError as error:
                raise FileExistsError(f"Checkpoint: {error}. {_OF_ITS_OWN}") from None
            except OSError:  # the folder has been emptied, or is no more
                pass
        try:
            self._take_folder(trainer)
        except FileExistsError:
            raise
        except OSError:  # a folder that cannot be written in: the file to be written will say so
            self._look_around(trainer)

    def _leave_folder(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _look_around(self, trainer: Run) -> None:
        """Find this run's files in the folder; FileExistsError if there are any of another."""
        self._own, self._value, others = set(), None, []
        for path in [*files_of(self.folder), *self.folder.glob(_BEST)]:
            document = _readable(path)
            if document is not None and repr(document.get("identity")) == repr(trainer.identity):  # it may be anything
                self._own.add(path.name)
                if path.name == _BEST and self.best is not None:
                    self._value = _last_figure(document, self.best)
            else:
                others.append((path, document))
        # A file that cannot be read is taken for this run's where there are others of it: it is damaged, no more.
        strange = [(path, document) for path, document in others if document is not None or not self._own]
        if strange:
            path, document = strange[0]
            word = f"{path.name}, which cannot be read" if document is None else path.name
            raise FileExistsError(
                f"Checkpoint: expected no checkpoints of another run in {self.folder}; got {word}. Trainer.resume goes "
                "on with that run; a new one needs a folder of its own, or this one emptied"
            )

    def _make_folder(self) -> None:
        """Make the folder and a file in it that has no name; OSError, or a warning, that says why it cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            text = f"Checkpoint: expected a folder that can be made and written in; got {error.strerror or error}"
            if self.must_save:
                raise type(error)(error.errno, text, str(self.folder)) from error
            warnings.warn(f"{text}: {self.folder}", RuntimeWarning, stacklevel=4)

    def _save(self, trainer: Run, name: str) -> bool:
        """Whether the run has been saved under this name; OSError if it must be and cannot."""
        try:
            self._keep_folder(trainer)
            trainer.save(self.folder / name)
        except FileExistsError:  # not a disk that fails, but another run
            raise
        except OSError as error:
            if self.must_save:
                self._leave_folder()  # as the run ends here, unless its loop goes on
                raise
            text = f"Checkpoint: step {trainer.step} is not saved: {error}"
            warnings.warn(text, RuntimeWarning, stacklevel=3)
            return False
        self._own.add(name)
        return True

    def _prune(self, step: int) -> None:
        """Remove this run's files up to this step but for the newest few, and what a killed process left half-written.

        Files of later steps, of a run that was resumed from an older one, stay until it has passed them.
        """
        own = [path for path in files_of(self.folder) if path.name in self._own and _step_of(path) <= step]
        half = [
            path for name in ("step-*.ckpt", _BEST) for path in self.folder.glob(temporary_name(Path(name), "*").name)
        ]
        for path in [*own[self.keep :], *half]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # all is saved, so no reason to stop
                warnings.warn(f"Checkpoint: {path} is not removed: {error}", RuntimeWarning, stacklevel=3)


def _readable(path: Path) -> dict[str, Any] | None:
    """The document of a checkpoint; None if the file cannot be read."""
    try:
        return archive.read(path)[0]
    except (CheckpointError, OSError):
        return None


def _last_figure(document: dict[str, Any], column: str) -> float | None:
    """What the last epoch's row in a checkpoint has in a column; None if it has no number there."""
    history = document.get("history")
    epochs = history.get("epochs") if isinstance(history, dict) else None
    rows = rows_of(epochs) if problem_of(epochs) is None else []
    value = rows[-1].get(column) if rows else None
    return None if not isinstance(value, int | float | np.number) or math.isnan(value) else float(value)


def files_of(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first, without the best."""
    found = [path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return -1 if match is None else int(match[1])


def newest_whole(folder: Path) -> tuple[Path, dict[str, Any], dict[str, np.ndarray]]:
    """The newest checkpoint in a folder that can be read, and what is in it; a warning for each newer one that cannot.

    By the step in the name: the best, which may be of a later step, is the last to be asked. FileNotFoundError if there
    is none at all; CheckpointError if none can be read.
    """
    files = [*files_of(folder), *folder.glob(_BEST)]
    if not files:
        raise FileNotFoundError(f"expected checkpoints (step-*.ckpt or {_BEST}) in {folder}; found none")
    refused = []
    for path in files:
        try:
            content = archive.read(path)
        except (CheckpointError, OSError) as error:  # OSError: no file, or none that may be read
            refused.append(error)
            continue
        for problem in refused:
            warnings.warn(f"{problem}. Going on from the older {path.name}", UserWarning, stacklevel=4)
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
