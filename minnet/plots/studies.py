"""Figures of studies: figures against each parameter, in the plane of two parameters, and along rungs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .style import COLOURS, Place, Table, draws, figure, save

Points = Sequence[Mapping[str, Any]]
_OTHERS = ("trial", "steps", "figure")


@draws("points")
def study_values(
    points: Points, path: Place = None, *, metric: str = "figure", mode: str = "min", log: Collection[str] = ()
) -> Any:
    """Draw the figure of each trial against each parameter. A CSV file beside the figure has the numbers.

    Args:
        points: dicts with ``trial``, ``steps``, ``figure``, NaN for a trial that failed, and parameters.
        path: see ``save``.
        metric: label of the figure.
        mode: ``"min"`` or ``"max"``; the best trial gets a ring.
        log: parameters with a logarithmic axis. The figure's axis is logarithmic if smaller figures are better.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    names = [name for name in dict.fromkeys(n for p in points for n in p) if name not in _OTHERS]
    longest = max(p["steps"] for p in points)
    drawn, axes = figure(len(names), width=3.6, height=3.2)
    values = np.array([p["figure"] for p in points], float)
    finite = np.isfinite(values)
    sign = 1 if mode == "min" else -1
    long = np.array([p["steps"] == longest for p in points])
    best = int(np.argmin(np.where(finite & long, sign * values, np.inf))) if (finite & long).any() else None
    for axis, name in zip(axes, names, strict=True):
        has = np.array([name in p for p in points]) & finite
        for chosen, colour, label in ((has & ~long, "0.7", "shorter"), (has & long, COLOURS[0], f"{longest} steps")):
            x = [p[name] for p, shown in zip(points, chosen, strict=True) if shown]
            axis.plot([_place(v) for v in x], values[chosen], "o", color=colour, markersize=3.5, label=label)
        if best is not None and name in points[best]:
            where = _place(points[best][name]), values[best]
            axis.plot(*where, "o", color=COLOURS[1], markersize=9, markerfacecolor="none", label="best")
        if name in log:
            axis.set_xscale("log")
        if mode == "min" and (values[finite] > 0).all() and finite.any():
            axis.set_yscale("log")
        axis.set(xlabel=name, ylabel=metric)
    axes[0].legend(frameon=False, fontsize=7)
    columns = [*_OTHERS, *names]
    return save(drawn, path, Table(columns, [[p.get(name, "") for name in columns] for p in points]))


def _place(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


@draws("points")
def study_plane(
    points: Points, path: Place = None, *, x: str, y: str, metric: str = "figure", log: Collection[str] = ()
) -> Any:
    """Draw each trial as a point in the plane of two parameters, coloured by its figure, as in CS231n's assignment.

    Crosses are trials that failed or diverged. A CSV file beside the figure has the numbers.

    Args:
        points: as in ``study_values``; of a trial of several lengths the longest is drawn on top.
        path: see ``save``.
        x, y: the two parameters.
        metric: label of the colours.
        log: parameters with a logarithmic axis.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, (axis,) = figure(width=5.2, height=4.0)
    chosen = sorted((p for p in points if x in p and y in p), key=lambda p: p["steps"])
    values = np.array([p["figure"] for p in chosen], float)
    finite = np.isfinite(values)
    at = np.array([[p[x], p[y]] for p in chosen], float).reshape(-1, 2)
    dots = axis.scatter(*at[finite].T, c=values[finite], cmap="viridis", s=42, edgecolor="white", linewidth=0.5)
    if (~finite).any():
        axis.plot(*at[~finite].T, "x", color=COLOURS[1], label="failed or diverged")
        axis.legend(frameon=False, fontsize=8)
    drawn.colorbar(dots, ax=axis, label=metric)
    axis.set(xlabel=x, ylabel=y, xscale="log" if x in log else "linear", yscale="log" if y in log else "linear")
    return save(drawn, path, Table([x, y, "steps", metric], [[p[x], p[y], p["steps"], p["figure"]] for p in chosen]))


@draws("points")
def study_rungs(points: Points, path: Place = None, *, metric: str = "figure", log: bool = False) -> Any:
    """Draw the figures of trials at each of their lengths, a line for each trial: the curves of successive halving.

    Args:
        points: as in ``study_values``.
        path: see ``save``.
        metric: label of the figure.
        log: whether its axis is logarithmic.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, (axis,) = figure(width=5.2, height=3.6)
    by_trial: dict[str, list[Mapping[str, Any]]] = {}
    for p in sorted(points, key=lambda p: p["steps"]):
        by_trial.setdefault(p["trial"], []).append(p)
    longest = max(p["steps"] for p in points)
    for rungs in by_trial.values():
        survives = rungs[-1]["steps"] == longest
        look = {"color": COLOURS[0], "zorder": 3} if survives else {"color": "0.7", "zorder": 2}
        steps = [p["steps"] for p in rungs]
        axis.plot(steps, [p["figure"] for p in rungs], "o-", markersize=3.5, linewidth=1.1, **look)
    lengths = sorted({p["steps"] for p in points})
    axis.set(xlabel="steps", ylabel=metric, xscale="log", yscale="log" if log else "linear")
    axis.set_xticks(lengths, [str(n) for n in lengths])
    axis.minorticks_off()
    table = [[name, p["steps"], p["figure"]] for name, rungs in by_trial.items() for p in rungs]
    return save(drawn, path, Table(["trial", "steps", metric], table))
