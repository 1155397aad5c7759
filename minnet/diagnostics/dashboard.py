"""An HTML page about a run: verdicts and figures."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..base import checks
from ..net.net import Net
from ..storage.files import check_folder, write_whole
from ..training.callbacks import Callback, Record, Run, check_state
from ..training.history import History
from .chance import baseline
from .monitor import Monitor
from .ratios import UpdateRatios
from .statistics import Statistics
from .units import DeadUnits, Saturation
from .verdicts import Verdict, verdicts, worst

_Kind = TypeVar("_Kind", bound=Monitor)
_REFRESH = 5  # seconds after which a browser reloads the page during a run
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:1.5rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.3rem;margin-bottom:.2rem}h2{font-size:1rem;margin:1.5rem 0 .3rem}p{margin:.2rem 0;color:#555}"
    "ul{list-style:none;padding:0}li{border-left:.4rem solid;padding:.15rem .7rem;margin:.3rem 0}"
    ".good{border-color:#009E73}.watch{border-color:#E69F00}.bad{border-color:#D55E00}"
    "b{display:inline-block;width:3.5rem}img{max-width:100%}"
)


class Dashboard(Callback):
    """Write an HTML page about the run, with verdicts and the figures on which they are based.

    The page is one file that includes its figures. It is replaced after the first epoch, after every ``every`` epochs,
    and at the end of the run, also after an error. During the run, a browser reloads it every few seconds. Drawing
    takes one or two seconds, so choose ``every`` according to the length of an epoch.

    Args:
        path: path of the page. A relative path refers to the present working directory, also if that changes later.
        every: number of epochs between pages.
        monitors: monitors to run. The dashboard runs them, so do not pass them to the run too. None for
            ``UpdateRatios``, ``Statistics``, ``Saturation`` and ``DeadUnits`` with default arguments.
        title: title of the page.

    Attributes:
        verdicts: verdicts on the page that was written last.

    Raises:
        FileNotFoundError: if the page's folder does not exist.
        TypeError, ValueError: for bad arguments.
    """

    columns: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        path: str | Path,
        every: int = 10,
        monitors: Iterable[Monitor] | None = None,
        title: str = "Training run",
    ) -> None:
        self.path, self.title = Path(path).absolute(), title
        check_folder(path)  # otherwise the run would end with an error and without its page
        self.every = checks.count("Dashboard", "every", every)
        if monitors is None:
            monitors = UpdateRatios(), Statistics(), Saturation(), DeadUnits()
        self.monitors = list(monitors)
        for monitor in self.monitors:
            if not isinstance(monitor, Monitor):
                raise TypeError(f"Dashboard: expected monitors such as UpdateRatios(); got {monitor!r}")
        self.verdicts: list[Verdict] = []

    def inner(self) -> list[Monitor]:
        return self.monitors

    def on_start(self, trainer: Run) -> None:
        for monitor in self.monitors:
            monitor.on_start(trainer)
        self.verdicts = []

    def looks_at(self, trainer: Run, step: int) -> bool:
        return any(monitor.looks_at(trainer, step) for monitor in self.monitors)

    def before_update(self, trainer: Run, record: Record) -> None:
        """Run the monitors."""
        for monitor in self.monitors:
            monitor.before_update(trainer, record)

    def on_step(self, trainer: Run, record: Record) -> None:
        """Run the monitors."""
        for monitor in self.monitors:
            monitor.on_step(trainer, record)

    def on_epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        """Write the page, if it is due."""
        due = row["epoch"] == 1 or row["epoch"] % self.every == 0
        if due and trainer.step < trainer.steps:
            self._write(trainer)

    def on_end(self, trainer: Run) -> None:
        """Write the page for the last time."""
        self._write(trainer)

    def state(self) -> dict[str, Any]:
        return {f"{i} {name}": value for i, m in enumerate(self.monitors) for name, value in m.state().items()}

    def check(self, state: dict[str, Any], net: Net) -> None:
        for monitor, part in zip(self.monitors, self._parts(state), strict=True):
            monitor.check(part, net)

    def restore(self, state: dict[str, Any]) -> None:
        before = [monitor.state() for monitor in self.monitors]
        try:
            for monitor, part in zip(self.monitors, self._parts(state), strict=True):
                monitor.restore(part)
        except Exception:
            for monitor, part in zip(self.monitors, before, strict=True):
                monitor.restore(part)
            raise

    def _parts(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the states of the monitors that are in the dashboard's state."""
        parts: list[dict[str, Any]] = [{} for _ in self.monitors]
        for key, value in state.items():
            number, _, name = key.partition(" ")
            if not number.isdigit() or int(number) >= len(parts):
                check_state(self, {key: value}, [f"{i} ..." for i in range(len(parts))])
            parts[int(number)][name] = value
        return parts

    def _write(self, trainer: Run) -> None:
        history = trainer.history
        if not len(history.steps):
            return
        level = baseline(trainer.net, trainer.batches.data[1])
        self.verdicts = verdicts(history, self.monitors, trainer.batches.batch_size, level)
        total = -(-trainer.steps // len(trainer.batches))
        words = [
            f"{len(history.epochs)} of {total} epochs, {len(history.steps):,} of {trainer.steps:,} steps",
            history.stopped or "running",
            str(trainer.net),
            f"{trainer.optimizer.rule}, batches of {trainer.batches.batch_size} of {trainer.batches.size:,} samples",
        ]
        write_whole(self.path, page(self.title, words, history, self.monitors, self.verdicts, history.stopped is None))


def page(
    title: str,
    words: Sequence[str],
    history: History,
    monitors: Sequence[Monitor],
    found: Sequence[Verdict],
    running: bool,
) -> str:
    """Return the page's HTML. ``words`` are lines under the title. The page of a running run reloads itself."""
    from .. import plots

    kinds = UpdateRatios, DeadUnits, Saturation, Statistics
    figures = plots.run_figures(history, *(_first(monitors, kind) for kind in kinds))  # type: ignore[arg-type]
    sentences = "".join(f'<li class="{v.level}"><b>{v.level}</b>{html.escape(v.text)}</li>' for v in found)
    images = "".join(
        f'<h2>{html.escape(name)}</h2><img alt="{html.escape(name)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for name, png in figures.items()
    )
    again = f'<meta http-equiv="refresh" content="{_REFRESH}">' if running else ""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in words)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}: {worst(found)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(title)}</h1>{lines}<ul>{sentences}</ul>{images}</html>\n"
    )


def _first(monitors: Iterable[Monitor], kind: type[_Kind]) -> _Kind | None:
    return next((monitor for monitor in monitors if isinstance(monitor, kind)), None)
