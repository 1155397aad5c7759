"""A folder of checkpoints: the newest ones and the best are kept, and the newest whole one can be found."""

import math
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..base import checks
from ..storage import archive
from ..storage.archive import CheckpointError
from ..storage.files import temporary_name
from ..storage.folderlock import FolderLock
from .callbacks import Callback, Run, check_alone, check_monitored, monitored
from .direction import Direction
from .moments import Moments, When
from .table import problem_of, rows_of

_NAME = re.compile(r"step-(\d{8,})\.ckpt")
_BEST = "best.ckpt"
_OF_ITS_OWN = "Each run needs a folder of its own; wait until that one has ended to go on with it"


class Checkpoint(Callback):
    """Save the run at intervals and before it ends; ``Trainer.resume(folder, ...)`` continues it.

    A run is also saved when ``trainer.stop`` or ``trainer.leave`` ends it early and, in ``fit`` and ``Trainer.run``
    only, when Ctrl-C or SIGTERM does. These signals interrupt a loop of your own within a step, like any Python code;
    it then continues from the last file.

    Files are named ``step-00001200.ckpt`` and, for the best epoch so far, ``best.ckpt``. Each is written whole or not
    at all and contains the whole run (see ``Trainer.save``). Its size is about 2 (1 + slots of the rule) times that of
    the weights.

    Args:
        folder: folder for the files. It is created if necessary, and does not depend on later changes of the working
            directory. It must not contain files of another run, and no other run may use it at the same time: a file
            ``.lock`` in the folder makes the second of two runs fail before its first step, in any process or thread.
            In one thread, where only one of them can be in a step, the second gets the folder, and the first fails at
            its next file. A lock file that a killed process left behind locks no run out. If a run is resumed from an
            older file, files of later steps are kept until the run has passed these steps, and ``best.ckpt`` until
            there is a better epoch.
        at: ``"epoch"`` for the end of each epoch, a number n for every n-th step, an event of the schedule, a list of
            steps or a function of the step, see ``Moments``.
        keep: number of files up to the present step that are kept, the newest ones.
        best: a column of the epochs' rows, such as ``"val_accuracy"``; None for no ``best.ckpt``. An epoch whose figure
            is NaN is never the best.
        must_save: whether the run ends with an OSError if the folder or a file cannot be written (disk full, folder
            read-only), before the first step if possible. False warns and continues. Files written before stay whole in
            both cases.
        mode: ``"max"`` if larger figures of ``best`` are better, ``"min"`` if smaller ones are; None for a column whose
            name says so, see ``KeepBest``.

    Raises:
        ValueError: ``mode`` is needed for this column, or is given without ``best``.
        FileExistsError: the folder belongs to another run, also with ``must_save=False``. On disks without locks
            (``flock``: some network file systems; Windows) two runs may start in one folder; the run that started first
            then fails at its next file.
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
        self._value: float | None = None  # figure of the epoch in best.ckpt
        self._own: set[str] = set()  # names of the files that are known to be this run's
        self._lock: FolderLock | None = None

    def on_start(self, trainer: Run) -> None:
        """Check that the folder can be written and has no files of other runs, and that the column exists."""
        if self.best is not None:
            check_monitored("Checkpoint", trainer, self.best)
        self._moments.find(trainer)
        check_alone("Checkpoint", trainer, Checkpoint, lambda saver: saver.folder.resolve(), "a folder")
        if not trainer.writes:
            return
        self._make_folder()
        try:
            self._take_folder(trainer)
        except FileExistsError:
            raise
        except OSError:
            if self.must_save:
                raise
            self._look_around(trainer)

    def looks_at(self, trainer: Run, step: int) -> bool:
        return self._moments.ahead(trainer, step)

    def between_steps(self, trainer: Run) -> None:
        """Save if a checkpoint is due or the run is about to end."""
        if not trainer.writes:
            return
        epochs = trainer.history.epochs.rows
        if self.best is not None and self._direction and epochs and epochs[-1]["step"] == trainer.step:
            value = monitored("Checkpoint", epochs[-1], self.best)
            # Before the newest file, so that a kill in between repeats the epoch.
            if self._direction.better(value, self._value) and self._save(trainer, _BEST):
                self._value = value
        due = self._moments.now(trainer, trainer.step)
        last = trainer.step == trainer.steps or trainer.history.stopped is not None or trainer.leaving is not None
        if (due or last) and self._save(trainer, f"step-{trainer.step:08}.ckpt"):
            self._prune(trainer.step)

    def on_end(self, trainer: Run) -> None:
        """Release the folder."""
        self._leave_folder()

    def _take_folder(self, trainer: Run) -> None:
        """Lock the folder and find its files; FileExistsError if another run uses it or has files there."""
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
        """Check, before writing, that the folder still belongs to this run; lock it if it belongs to none."""
        if self._lock is not None:
            try:
                self._lock.check()
                return
            except FileExistsError as error:
                raise FileExistsError(f"Checkpoint: {error}. {_OF_ITS_OWN}") from None
            except OSError:  # the folder was emptied or removed
                pass
        try:
            self._take_folder(trainer)
        except FileExistsError:
            raise
        except OSError:  # writing the file will raise the error
            self._look_around(trainer)

    def _leave_folder(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _look_around(self, trainer: Run) -> None:
        """Find the files of this run in the folder; FileExistsError if there are files of another run."""
        self._own, self._value, others = set(), None, []
        for path in [*files_of(self.folder), *self.folder.glob(_BEST)]:
            document = _readable(path)
            if document is not None and repr(document.get("identity")) == repr(trainer.identity):  # it may be anything
                self._own.add(path.name)
                if path.name == _BEST and self.best is not None:
                    self._value = _last_figure(document, self.best)
            else:
                others.append((path, document))
        # A file that cannot be read counts as a damaged file of this run if there are other files of this run.
        strange = [(path, document) for path, document in others if document is not None or not self._own]
        if strange:
            path, document = strange[0]
            word = f"{path.name}, which cannot be read" if document is None else path.name
            raise FileExistsError(
                f"Checkpoint: expected no checkpoints of another run in {self.folder}; got {word}. Trainer.resume goes "
                "on with that run; a new one needs a folder of its own, or this one emptied"
            )

    def _make_folder(self) -> None:
        """Create the folder and a temporary file in it; if that fails, raise OSError or warn."""
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
        """Save the run under this name and return whether that worked; OSError if it failed and ``must_save``."""
        try:
            self._keep_folder(trainer)
            trainer.save(self.folder / name)
        except FileExistsError:  # another run uses the folder
            raise
        except OSError as error:
            if self.must_save:
                self._leave_folder()  # the error usually ends the run
                raise
            text = f"Checkpoint: step {trainer.step} is not saved: {error}"
            warnings.warn(text, RuntimeWarning, stacklevel=3)
            return False
        self._own.add(name)
        return True

    def _prune(self, step: int) -> None:
        """Remove old files of this run, and incomplete files of killed processes.

        The newest ``keep`` files up to this step are kept. If the run was resumed from an older file, files of later
        steps are kept until the run has passed these steps.
        """
        own = [path for path in files_of(self.folder) if path.name in self._own and _step_of(path) <= step]
        half = [
            path for name in ("step-*.ckpt", _BEST) for path in self.folder.glob(temporary_name(Path(name), "*").name)
        ]
        for path in [*own[self.keep :], *half]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # the run is saved, so it can continue
                warnings.warn(f"Checkpoint: {path} is not removed: {error}", RuntimeWarning, stacklevel=3)


def _readable(path: Path) -> dict[str, Any] | None:
    """Return the document of a checkpoint; None if the file cannot be read."""
    try:
        return archive.read(path)[0]
    except (CheckpointError, OSError):
        return None


def _last_figure(document: dict[str, Any], column: str) -> float | None:
    """Return the figure of the last epoch in a checkpoint; None if there is no number in this column."""
    history = document.get("history")
    epochs = history.get("epochs") if isinstance(history, dict) else None
    rows = rows_of(epochs) if problem_of(epochs) is None else []
    value = rows[-1].get(column) if rows else None
    return None if not isinstance(value, int | float | np.number) or math.isnan(value) else float(value)


def files_of(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest first, without ``best.ckpt``."""
    found = [path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return -1 if match is None else int(match[1])


def newest_whole(folder: Path) -> tuple[Path, dict[str, Any], dict[str, np.ndarray]]:
    """Return the newest readable checkpoint in a folder as (path, document, arrays).

    There is a warning for each newer file that cannot be read. The order is that of the steps in the names;
    ``best.ckpt`` comes last, although it may be of a later step.

    Raises:
        FileNotFoundError: there are no checkpoints.
        CheckpointError: none of them can be read.
    """
    files = [*files_of(folder), *folder.glob(_BEST)]
    if not files:
        raise FileNotFoundError(f"expected checkpoints (step-*.ckpt or {_BEST}) in {folder}; found none")
    refused = []
    for path in files:
        try:
            content = archive.read(path)
        except (CheckpointError, OSError) as error:  # OSError: the file is missing or may not be read
            refused.append(error)
            continue
        for problem in refused:
            warnings.warn(f"{problem}. Going on from the older {path.name}", UserWarning, stacklevel=4)
        return path, *content
    raise CheckpointError(f"expected a whole checkpoint in {folder}; got none: {'; '.join(map(str, refused))}")


@contextmanager
def offer_older(path: Path) -> Iterator[None]:
    """Add to a CheckpointError about a file of ``Checkpoint`` the path of the next older file in its folder.

    For ``best.ckpt``, whose name does not tell its step, the newest file is named.
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
