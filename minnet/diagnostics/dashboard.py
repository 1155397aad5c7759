"""An HTML page about a run: verdicts and figures."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..base import checks
from ..net.net import Net
from ..storage.files import check_folder, write_whole
from ..training.callbacks import Callback, Record, Run, check_alone, check_state
from ..training.history import History
from .chance import baseline
from .monitor import Monitor
from .ratios import UpdateRatios
from .statistics import Statistics
from .units import DeadUnits, Saturation
from .verdicts import Verdict, verdicts, worst

_Kind = TypeVar("_Kind", bound=Monitor)
_REFRESH = 5  # seconds after which a browser reloads the page during a run
_LEVELS = ("bad", "watch", "good")
# Title of a figure: what to look at.
_CAPTIONS = {
    "Loss": "It should fall and then level off. A line that is flat from the start means a rate that is too low; "
    "jumps and a loss that stays high mean one that is too high; validation that rises while training falls means "
    "overfitting.",
    "Accuracy": "The distance between the two lines is the gap: wide means overfitting, none means that a larger net "
    "or a longer run may help.",
    "Learning rate": "Compare its steps with those of the loss: a loss that falls where the rate falls was limited "
    "by it.",
    "Updates": "The update of each tensor over its weights, for one step. Near 1e-3 the rate suits; a decade or more "
    "below it is likely too low, above it too high.",
    "Units": "Dead ReLU units give 0 for all data and no longer learn; saturated outputs pass on hardly any "
    "gradient. Both should stay near 0.",
    "Weights": "Each column is the histogram at a step; darker is more. They should widen slowly. Bands that do not "
    "move belong to a layer that does not learn.",
    "Gradients": "They should be of one size in all layers, and shrink with the loss. Ones that shrink from the last "
    "layer to the first vanish on the way.",
    "Activations": "They should keep their width from layer to layer. All at one value means that a layer is dead or "
    "saturated.",
}
_WIDE = ("Weights", "Gradients", "Activations")  # several panels side by side, which a narrow page scrolls
_STYLE = (
    ":root{color-scheme:light dark;--ink:#1d1d1f;--dim:#55585e;--line:#8885;--card:#fff;--page:#f4f4f2;"
    "--good:#00704f;--watch:#8a5a00;--bad:#b03a00}"
    "@media (prefers-color-scheme:dark){:root{--ink:#e8e8ea;--dim:#a9adb5;--card:#1f2023;--page:#141517;"
    "--good:#3ecf9d;--watch:#f2b13c;--bad:#ff8a4c}}"
    "*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;max-width:82rem;margin:0 auto;"
    "padding:1rem 1rem 3rem;color:var(--ink);background:var(--page);overflow-wrap:anywhere}"
    "h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:0 0 .3rem}p{margin:.2rem 0;color:var(--dim)}"
    ".good{--tone:var(--good)}.watch{--tone:var(--watch)}.bad{--tone:var(--bad)}"
    ".tally span{color:var(--tone);font-weight:600;margin-right:1rem}"
    "ul{list-style:none;padding:0}li,figure{background:var(--card);border:1px solid var(--line);border-radius:6px}"
    "li{border-left:.4rem solid var(--tone);padding:.3rem .8rem;margin:.4rem 0;max-width:60rem}"
    "b{display:inline-block;width:3.5rem;color:var(--tone)}"
    ".figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr));gap:.8rem}"
    "figure{margin:0;padding:.7rem .9rem;min-width:0}figure.wide{grid-column:1/-1}figcaption{color:var(--dim);"
    "font-size:14px;max-width:60rem;margin-top:.4rem}.scroll{overflow-x:auto}"
    "img{display:block;max-width:100%;height:auto;background:#fff;border-radius:4px}"
    "@media (max-width:640px){body{font-size:16px;padding:.8rem .7rem 2rem}b{display:block}"
    ".wide img{max-width:none;width:44rem}}"
    "@media print{.figures{display:block}figure{break-inside:avoid;margin-bottom:.6rem}}"
)


class Dashboard(Callback):
    """Write an HTML page about the run, with verdicts and the figures on which they are based.

    The page is one file that includes its figures. It is replaced after the first epoch, after every ``every`` epochs,
    and at the end of the run, also after an error. During the run, a browser reloads it every few seconds. Drawing
    takes one or two seconds, so choose ``every`` according to the length of an epoch.

    Args:
        path: path of the page, another one for each dashboard of a run. A relative path refers to the present working
            directory, also if that changes later.
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
        check_alone("Dashboard", trainer, Dashboard, lambda board: board.path.resolve(), "a page")
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
        if not trainer.writes:
            return
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
    counts = {level: sum(v.level == level for v in found) for level in _LEVELS}
    tally = "".join(f'<span class="{level}">{count} {level}</span>' for level, count in counts.items() if count)
    images = "".join(_figure(name, png) for name, png in figures.items())
    again = f'<meta http-equiv="refresh" content="{_REFRESH}">' if running else ""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in words)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}: {worst(found)}</title><style>{_STYLE}</style>"
        f'<h1>{html.escape(title)}</h1>{lines}<p class="tally">{tally}</p><ul>{sentences}</ul>'
        f'<div class="figures">{images}</div></html>\n'
    )


def _figure(name: str, png: bytes) -> str:
    """Return a figure with its title and a caption that says what to look at."""
    caption = html.escape(_CAPTIONS[name])
    return (
        f'<figure class="{"wide" if name in _WIDE else ""}"><h2>{name}</h2><div class="scroll"><img alt="{name}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></div><figcaption>{caption}</figcaption></figure>'
    )


def _first(monitors: Iterable[Monitor], kind: type[_Kind]) -> _Kind | None:
    return next((monitor for monitor in monitors if isinstance(monitor, kind)), None)
