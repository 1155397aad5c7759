"""Figures of runs with several seeds: the median and a band between the quartiles."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .style import Place, Table, draws, figure, look, save, shared_legend

_QUARTILES = (0.25, 0.5, 0.75)
Limits = tuple[float, float] | None


@draws("panels")
def comparison(
    path: Place,
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], np.ndarray]]],
    *,
    xlabel: str | Mapping[str, str],
    ylabel: str | Mapping[str, str],
    log_x: bool | Mapping[str, bool] = False,
    log_y: bool | Mapping[str, bool] = False,
    ylim: Limits | Mapping[str, Limits] = None,
    share_y: bool | None = None,
) -> Any:
    """Draw median and quartiles over runs, as a line and a band for each label, in panels side by side.

    After a run has diverged, its values must be infinity (minus infinity for an accuracy), so that it counts as the
    worst run. The line ends where the median run has diverged, and the band extends beyond the axes. A CSV file beside
    the figure has the values of all runs.

    Args:
        path: see ``save``.
        panels: title -> label -> (x of shape (n,), values of shape (runs, n)). A label has one colour in all panels.
        xlabel, ylabel: labels of the axes, with units.
        log_x, log_y: whether the axes are logarithmic.
        ylim: range of the y axis; None for all finite medians.
        share_y: whether all panels have the same range of the y axis. None for yes, unless ``ylabel`` or ``log_y``
            differ between panels.

    ``xlabel``, ``ylabel``, ``log_x``, ``log_y`` and ``ylim`` may also be mappings from titles of panels.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    x_labels, y_labels, x_logs, y_logs, y_limits = (
        value if isinstance(value, Mapping) else dict.fromkeys(panels, value)
        for value in (xlabel, ylabel, log_x, log_y, ylim)
    )
    if share_y is None:
        share_y = len(set(y_labels.values())) == len(set(y_logs.values())) == 1
    labels = list(dict.fromkeys(label for runs in panels.values() for label in runs))
    drawn, axes = figure(len(panels), width=4.6, height=3.6)
    # Each quartile is the value of one run, because interpolation with infinity makes no sense.
    quartiles = {
        (name, label): np.quantile(values, _QUARTILES, axis=0, method="inverted_cdf")
        for name, runs in panels.items()
        for label, (_, values) in runs.items()
    }
    ends = {name: _ends([q for (panel, _), q in quartiles.items() if share_y or panel == name]) for name in panels}
    for axis, (name, runs) in zip(axes, panels.items(), strict=True):
        for label, (x, _) in runs.items():
            _line_and_band(axis, x, quartiles[name, label], ends[name], look(labels.index(label)))
        axis.set(title=name, xlabel=x_labels[name], ylabel=y_labels[name])
        axis.set(xscale="log" if x_logs[name] else "linear", yscale="log" if y_logs[name] else "linear")
    limits = [axis.get_ylim() for axis in axes]
    for axis, name in zip(axes, panels, strict=True):
        if y_limits.get(name) is not None:
            axis.set_ylim(y_limits[name])
        elif share_y:
            axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    shared_legend(drawn, labels, 3 * len(panels))
    head = (x if isinstance(x, str) else word for x, word in ((xlabel, "x"), (ylabel, "value")))
    return save(drawn, path, Table(("panel", "label", "run", *head), _rows(panels)))


def _line_and_band(
    axis: Any, x: Sequence[float], quartiles: np.ndarray, ends: tuple[float, float], style: dict[str, Any]
) -> None:
    """Draw the median and the band between the quartiles, clipped to ``ends``."""
    low, middle, high = quartiles
    axis.plot(x, np.where(np.isfinite(middle), middle, np.nan), **style)
    axis.fill_between(x, np.clip(low, *ends), np.clip(high, *ends), color=style["color"], alpha=0.15, linewidth=0)


def _rows(panels: Mapping[str, Mapping[str, tuple[Sequence[float], np.ndarray]]]) -> Iterator[tuple[Any, ...]]:
    """Yield a row of the CSV file for each value: panel, label, run, x, value."""
    for name, runs in panels.items():
        for label, (x, values) in runs.items():
            for number, run in enumerate(values):
                for at, value in zip(x, map(float, run), strict=True):
                    yield name, label, number, at, value


def _ends(quartiles: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the smallest and the largest finite value."""
    finite = np.concatenate([np.ravel(q[np.isfinite(q)]) for q in quartiles])
    return float(finite.min()), float(finite.max())
