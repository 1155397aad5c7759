"""Figures of the loss around a net's weights: lines and contours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .style import COLOURS, Place, Table, draws, figure, save

Line = tuple[np.ndarray, np.ndarray]  # steps (n,), losses (n,)
Square = tuple[np.ndarray, np.ndarray, np.ndarray]  # steps (nx,) and (ny,), losses (ny, nx)
_STEP = "step along the direction (filter norms)"


@draws("panels")
def loss_lines(path: Place, panels: Mapping[str, Sequence[Line]]) -> Any:
    """Draw losses along directions, in panels with the same scale. A CSV file beside the figure has the losses.

    Args:
        path: see ``save``.
        panels: title -> lines, each as (distances from the net, losses), two arrays of shape (n,).

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, axes = figure(len(panels), width=3.8, height=3.2)
    finite = np.concatenate([f[np.isfinite(f)] for lines in panels.values() for _, f in lines])
    low, high = finite.min(), finite.max()
    log = high > 30 * low > 0
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for i, (x, losses) in enumerate(lines):
            axis.plot(x, np.where(np.isfinite(losses), losses, np.nan), color=COLOURS[i % len(COLOURS)], linewidth=1.2)
        axis.set(title=title, xlabel=_STEP, ylabel="data loss", yscale="log" if log else "linear")
        axis.set_ylim(low / 1.3, high * 1.3) if log else axis.set_ylim(0, 1.05 * high)
    rows = (
        (title, number, float(step), float(loss))
        for title, lines in panels.items()
        for number, (x, losses) in enumerate(lines)
        for step, loss in zip(x, losses, strict=True)
    )
    return save(drawn, path, Table(("panel", "line", "step", "data loss"), rows))


@draws("panels")
def loss_surfaces(path: Place, panels: Mapping[str, Square], *, columns: int = 4) -> Any:
    """Draw contours of losses along two directions. A CSV file beside the figure has the losses.

    All panels have the same logarithmic levels, so distances between lines can be compared. A cross marks the net.

    Args:
        path: see ``save``.
        panels: title -> (distances along the first direction (n,), along the second (m,), losses).
        columns: number of panels in a row.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    width = min(columns, len(panels))
    drawn, axes = figure(width, width=3.1, height=[3.1] * -(-len(panels) // width))
    finite = np.concatenate([f[np.isfinite(f)] for _, _, f in panels.values()])
    low, high = max(finite.min(), 1e-3 * np.median(finite), np.finfo(float).tiny), finite.max()
    levels = np.geomspace(low, high, 25) if high > low else np.array([low, 2 * low])
    for axis, (title, (x, y, losses)) in zip(axes, panels.items(), strict=False):
        shown = np.clip(np.where(np.isfinite(losses), losses, high), low, high)
        filled = axis.contourf(x, y, np.log10(shown), levels=np.log10(levels), cmap="viridis", extend="both")
        axis.contour(
            x, y, np.log10(shown), levels=np.log10(levels), colors="white", linewidths=0.35, linestyles="solid"
        )
        axis.plot(0, 0, "x", color="white", markersize=6)
        axis.set(title=title, aspect="equal", xlabel="first direction", ylabel="second direction")
        axis.grid(False)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    bar = drawn.colorbar(filled, ax=axes, shrink=0.8, aspect=30)
    decades = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    if len(decades) > 1:
        bar.set_ticks(decades, labels=[f"$10^{{{decade:.0f}}}$" for decade in decades])
    else:
        bar.set_ticks(np.log10([low, high]), labels=[f"{low:.3g}", f"{high:.3g}"])
    bar.set_label("data loss")
    rows = (
        (title, float(x[j]), float(y[i]), float(loss))
        for title, (x, y, losses) in panels.items()
        for (i, j), loss in np.ndenumerate(losses)
    )
    return save(drawn, path, Table(("panel", "first step", "second step", "data loss"), rows))
