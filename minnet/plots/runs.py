"""Runs with several seeds as a median and a band of quartiles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .style import Place, figure, look, save, save_rows, shared_legend

_QUARTILES = (0.25, 0.5, 0.75)
Limits = tuple[float, float] | None


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
    """Draw the median and the quartiles over runs, a line and a band for each label, panels side by side.

    A run that diverged holds infinity from there on (for an accuracy, minus infinity): it takes its place at that end
    of the runs, the line stops where the median run has diverged, and the band runs out of the picture. A CSV file
    beside the figure holds all runs.

    Args:
        path: see ``save``.
        panels: title -> label -> (x of shape (n,), values of shape (runs, n)). A label has one colour in all panels.
        xlabel, ylabel: what the axes show, with units.
        log_x, log_y: logarithmic axes.
        ylim: part of the y axis to show; all finite medians if None.
        share_y: whether the y axes of all panels have one scale. None for yes, unless ``ylabel`` or ``log_y`` differ
            between panels.

    ``xlabel``, ``ylabel``, ``log_x``, ``log_y`` and ``ylim`` may each be a mapping from the panels' titles.
    """
    x_labels, y_labels, x_logs, y_logs, y_limits = (
        value if isinstance(value, Mapping) else dict.fromkeys(panels, value)
        for value in (xlabel, ylabel, log_x, log_y, ylim)
    )
    if share_y is None:
        share_y = len(set(y_labels.values())) == len(set(y_logs.values())) == 1
    labels = list(dict.fromkeys(label for runs in panels.values() for label in runs))
    drawn, axes = figure(len(panels), width=4.6, height=3.6)
    # The quartiles are three of the runs, not mixtures of two: infinity mixes with nothing.
    quartiles = {
        (name, label): np.quantile(values, _QUARTILES, axis=0, method="inverted_cdf")
        for name, runs in panels.items()
        for label, (_, values) in runs.items()
    }
    ends = {name: _ends([q for (panel, _), q in quartiles.items() if share_y or panel == name]) for name in panels}
    for axis, (name, runs) in zip(axes, panels.items(), strict=True):
        for label, (x, _) in runs.items():
            low, middle, high = quartiles[name, label]
            style = look(labels.index(label))
            axis.plot(x, np.where(np.isfinite(middle), middle, np.nan), **style)
            axis.fill_between(
                x, np.clip(low, *ends[name]), np.clip(high, *ends[name]), color=style["color"], alpha=0.15, linewidth=0
            )
        axis.set(title=name, xlabel=x_labels[name], ylabel=y_labels[name])
        axis.set(xscale="log" if x_logs[name] else "linear", yscale="log" if y_logs[name] else "linear")
    limits = [axis.get_ylim() for axis in axes]
    for axis, name in zip(axes, panels, strict=True):
        if y_limits.get(name) is not None:
            axis.set_ylim(y_limits[name])
        elif share_y:
            axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    shared_legend(drawn, labels, 3 * len(panels))
    rows = (
        (name, label, number, at, value)
        for name, runs in panels.items()
        for label, (x, values) in runs.items()
        for number, run in enumerate(values)
        for at, value in zip(x, map(float, run), strict=True)
    )
    head = (x if isinstance(x, str) else word for x, word in ((xlabel, "x"), (ylabel, "value")))
    save_rows(path, ("panel", "label", "run", *head), rows)
    return save(drawn, path)


def _ends(quartiles: Sequence[np.ndarray]) -> tuple[float, float]:
    """The smallest and the largest finite value."""
    finite = np.concatenate([np.ravel(q[np.isfinite(q)]) for q in quartiles])
    return float(finite.min()), float(finite.max())
