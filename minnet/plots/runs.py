"""Runs with several seeds as a median and a band of quartiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .style import figure, look, save, save_rows, shared_legend

_QUARTILES = (0.25, 0.5, 0.75)


def comparison(
    path: str | Path,
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], np.ndarray]]],
    *,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    log_y: bool = False,
    ylim: tuple[float, float] | None = None,
) -> None:
    """Draw the median and the quartiles over runs, a line and a band for each label, panels side by side on one scale.

    A run that diverged holds infinity from there on (for an accuracy, minus infinity): it takes its place at that end
    of the runs, the line stops where the median run has diverged, and the band runs out of the picture. A CSV file
    beside the figure holds all runs.

    Args:
        path: the file to write; its ending names the format.
        panels: title -> label -> (x of shape (n,), values of shape (runs, n)). A label has one colour in all panels.
        xlabel, ylabel: what the axes show, with units.
        log_x, log_y: logarithmic axes.
        ylim: part of the y axis to show; all finite medians if None.
    """
    labels = list(dict.fromkeys(label for runs in panels.values() for label in runs))
    drawn, axes = figure(len(panels), width=4.6, height=3.6)
    # The quartiles are three of the runs, not mixtures of two: infinity mixes with nothing.
    quartiles = {
        (name, label): np.quantile(values, _QUARTILES, axis=0, method="inverted_cdf")
        for name, runs in panels.items()
        for label, (_, values) in runs.items()
    }
    finite = np.concatenate([np.ravel(q[np.isfinite(q)]) for q in quartiles.values()])
    ends = finite.min(), finite.max()
    for axis, (name, runs) in zip(axes, panels.items(), strict=True):
        for label, (x, _) in runs.items():
            low, middle, high = quartiles[name, label]
            style = look(labels.index(label))
            axis.plot(x, np.where(np.isfinite(middle), middle, np.nan), **style)
            axis.fill_between(
                x, np.clip(low, *ends), np.clip(high, *ends), color=style["color"], alpha=0.15, linewidth=0
            )
        axis.set(title=name, xlabel=xlabel, ylabel=ylabel)
        axis.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    limits = [axis.get_ylim() for axis in axes]
    for axis in axes:
        axis.set_ylim(ylim or (min(low for low, _ in limits), max(high for _, high in limits)))
    shared_legend(drawn, labels, 3 * len(panels))
    save(drawn, path)
    rows = (
        (name, label, number, at, value)
        for name, runs in panels.items()
        for label, (x, values) in runs.items()
        for number, run in enumerate(values)
        for at, value in zip(x, map(float, run), strict=True)
    )
    save_rows(path, ("panel", "label", "run", xlabel, ylabel), rows)
