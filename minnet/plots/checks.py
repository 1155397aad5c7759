"""Figures of gradient checks."""

from typing import Any

import numpy as np

from .style import COLOURS, Place, Table, draws, figure, save
from .subjects import StepCurve, StepSweep

# The mark of each label of an error.
_MARKS: dict[str, dict[str, Any]] = {
    "correct": {"marker": "o", "color": COLOURS[2]},
    "round-off": {"marker": "<", "color": COLOURS[5]},
    "truncation": {"marker": ">", "color": COLOURS[4]},
    "kink": {"marker": "D", "color": COLOURS[3]},
    "suspicious": {"marker": "s", "color": COLOURS[1], "markerfacecolor": "white"},
    "wrong": {"marker": "X", "color": COLOURS[1]},
}
_FLOOR = 1e-17  # where an error of 0 is drawn


@draws("sweep")
def step_sweep(sweep: StepSweep, path: Place = None, *, title: str = "Error of the gradient against the step") -> Any:
    """Draw the relative error of each tensor as a function of h, with marks for what explains it.

    Grey lines are the thresholds of the CS231n notes, 1e-7 and 1e-2. The dashed line is the bound on the round-off. A
    CSV file beside the figure has the numbers.

    Args:
        sweep: the errors.
        path: see ``save``.
        title: title of the figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    from matplotlib.lines import Line2D

    drawn, (axis,) = figure(width=6.4, height=3.8)
    seen: set[str] = set()
    for rank, curve in enumerate(sweep.curves):
        _draw(axis, sweep, curve, COLOURS[rank % len(COLOURS)] if len(sweep.curves) > 1 else "0.4")
        seen |= set(curve.labels)
    for level, word in ((1e-7, "correct below"), (1e-2, "wrong above")):
        axis.axhline(level, color="0.6", linewidth=0.8)
        axis.text(0.995, level * 1.3, word, transform=axis.get_yaxis_transform(), fontsize=7, color="0.4", ha="right")
    axis.set(xscale="log", yscale="log", xlabel="step h", ylabel="relative error", title=title)
    handles = [
        Line2D([], [], color=COLOURS[rank % len(COLOURS)], label=f"{curve.name}: {curve.verdict}")
        for rank, curve in enumerate(sweep.curves)
        if len(sweep.curves) > 1
    ]
    handles += [Line2D([], [], linestyle="", label=word, **_MARKS[word]) for word in _MARKS if word in seen]
    handles.append(Line2D([], [], color="0.4", linestyle="--", linewidth=0.8, label="bound on round-off"))
    axis.legend(handles=handles, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    columns = ("tensor", "step h", "relative error", "bound on round-off", "coordinates over a kink", "explained by")
    rows = (
        (curve.name, *values)
        for curve in sweep.curves
        for values in zip(sweep.steps, curve.errors, curve.round_off, curve.crossed, curve.labels, strict=True)
    )
    return save(drawn, path, Table(columns, rows))


def _draw(axis: Any, sweep: StepSweep, curve: StepCurve, colour: str) -> None:
    errors = np.maximum(curve.errors, _FLOOR)
    shown = np.isfinite(errors)
    axis.plot(np.array(sweep.steps)[shown], errors[shown], color=colour, linewidth=1.0, zorder=2)
    axis.plot(sweep.steps, np.maximum(curve.round_off, _FLOOR), color=colour, linestyle="--", linewidth=0.8, alpha=0.7)
    for h, error, label in zip(sweep.steps, errors, curve.labels, strict=True):
        if np.isfinite(error):
            axis.plot(h, error, linestyle="", markersize=6, zorder=3, **_MARKS[label])
