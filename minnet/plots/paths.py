"""Figures of the paths of update rules on functions of two variables, with contour lines and values."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .style import COLOURS, Place, Table, draws, figure, look, save, shared_legend, write
from .subjects import Landscape

Panels = Mapping[str, tuple[Landscape, Mapping[str, Sequence[np.ndarray]]]]

_COLUMNS = 3
_HEIGHTS = (3.5, 2.2)  # inches, of the contour lines and of the values
_RESOLUTION = 201  # points of the contour grid along an axis
_DEPTH = 1e-10  # lowest value drawn, as a share of that at the start


@draws("panels")
def trajectories(path: Place, panels: Panels, *, title: str = "") -> Any:
    """Draw paths, such as those of ``landscapes.descend``, on their landscapes.

    Each panel has contour lines, paths from their start (circle) to their last point (dot), and the minimum (star).
    The first path of a label is opaque, and paths from other starts are faint. Below the panel, the value of each first
    path above the minimum is drawn on a logarithmic axis. A path that ends early (with rows of NaN) has diverged, and
    the panel names it. A CSV file beside the figure has all points.

    Args:
        path: see ``save``.
        panels: title -> (landscape, label -> paths of shape (steps + 1, 2), one for each start). A label has one colour
            in all panels.
        title: title of the whole figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, lines = _draw(panels, title)
    for line in lines:
        line.show(len(line.x))
    return save(drawn, path, _points(panels))


@draws("panels")
def animation(path: str | Path | BinaryIO, panels: Panels, *, title: str = "", frames: int = 50, fps: int = 10) -> None:
    """Draw the figure of ``trajectories`` as an animated GIF in which the paths grow.

    Frames are spread evenly over the steps, and the last one stays for two seconds. A CSV file beside it has all
    points.

    Args:
        path: path of the GIF, or an open binary file.
        panels, title: as in ``trajectories``.
        frames: number of frames.
        fps: frames per second.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    if path is None:
        raise TypeError("plots.animation: expected a path or an open binary file; got None")

    drawn, lines = _draw(panels, title)
    drawn.set_dpi(84)
    canvas: Any = FigureCanvasAgg(drawn)
    canvas.draw()
    # All but the lines is drawn once: contours and layout of a whole figure take a second.
    empty = canvas.copy_from_bbox(drawn.bbox)
    palette = Image.new("P", (1, 1))
    palette.putpalette(_tints())
    pictures = []
    for points in np.linspace(1, max(len(line.x) for line in lines), frames).round().astype(int):
        canvas.restore_region(empty)
        for line in sorted(lines, key=lambda line: line.line.get_zorder()):
            line.show(points)
            line.line.axes.draw_artist(line.line)
            line.line.axes.draw_artist(line.head)
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        pictures.append(picture.quantize(palette=palette, dither=Image.Dither.NONE))
    durations = [1000 // fps] * (frames - 1) + [2000]
    film = io.BytesIO()
    pictures[0].save(film, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    write(path, film.getvalue(), _points(panels))


def _tints() -> list[int]:
    """One palette for all frames, or a GIF is many times as large: each colour, thinned out towards white."""
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in COLOURS])
    shares = np.linspace(0, 1, 16)[:, np.newaxis, np.newaxis]
    return np.rint(255 * (1 - shares) + rgb * shares).astype(int).ravel().tolist()


@dataclass(frozen=True)
class _Line:
    """A line and the dot at its head, which can be shown up to any step."""

    line: Any
    head: Any
    x: np.ndarray
    y: np.ndarray

    def show(self, points: int) -> None:
        """Draw the first ``points`` of it."""
        self.line.set_data(self.x[:points], self.y[:points])
        last = np.flatnonzero(np.isfinite(self.y[:points]))[-1:]
        self.head.set_data(self.x[last], self.y[last])


def _draw(panels: Panels, title: str) -> tuple[Any, list[_Line]]:
    """The figure with all lines still empty, and the lines."""
    columns = min(_COLUMNS, len(panels))
    blocks = -(-len(panels) // columns)
    drawn, axes = figure(columns, height=_HEIGHTS * blocks)
    labels = list(dict.fromkeys(label for _, paths in panels.values() for label in paths))
    looks = {label: look(rank) for rank, label in enumerate(labels)}
    lines: list[_Line] = []
    for i, (name, (landscape, paths)) in enumerate(panels.items()):
        above = axes[i // columns * 2 * columns + i % columns]
        below = axes[i // columns * 2 * columns + i % columns + columns]
        _contours(above, landscape)
        above.set(title=name, xlabel="x", ylabel="y")
        for label, runs in paths.items():
            for run in runs[1:]:
                style = {**_thinned(looks[label], run), "alpha": 0.4}
                lines.append(_line(above, _nearby(landscape, run), style))
        for label, runs in paths.items():  # after the faint ones, hence on top of them
            lines.append(_line(above, _nearby(landscape, runs[0]), _thinned(looks[label], runs[0])))
            lines.append(
                _line(below, np.stack([np.arange(len(runs[0])), _heights(landscape, runs[0])], axis=1), looks[label])
            )
        for start in {tuple(run[0]) for runs in paths.values() for run in runs}:
            above.plot(*start, "o", color="black", markerfacecolor="white", markersize=5, zorder=5)
        _value_axis(below, landscape, paths)
    for axis in axes:
        if not axis.has_data():
            axis.set_axis_off()
    if title:
        drawn.suptitle(title, fontsize=11)
    shared_legend(drawn, labels, 3 * columns)
    return drawn, lines


def _thinned(style: Mapping[str, Any], run: np.ndarray) -> dict[str, Any]:
    """Thinner than a curve, and a path that diverged very thin: it would cross out all others."""
    return {**style, "linewidth": style["linewidth"] * (0.8 if np.isfinite(run).all() else 0.25)}


def _line(axis: Any, points: np.ndarray, style: Mapping[str, Any]) -> _Line:
    (line,) = axis.plot([], [], **style)
    (head,) = axis.plot([], [], "o", color=style["color"], alpha=style.get("alpha"), markersize=4)
    return _Line(line, head, *points.T)


def _contours(axis: Any, landscape: Landscape) -> None:
    """Contour lines in the landscape's window, and its minima."""
    (left, right), (bottom, top) = landscape.window
    grid = np.stack(np.meshgrid(np.linspace(left, right, _RESOLUTION), np.linspace(bottom, top, _RESOLUTION)), axis=-1)
    heights = landscape.value(grid) - landscape.lowest
    # What is steep is told by the order of its heights; a rough ground like Rastrigin's would be all lines.
    low, high = np.quantile(heights, (0.003, 1.0))
    levels = np.geomspace(low, high, 14) if high > 300 * low > 0 else np.linspace(low, high, 8)
    axis.contour(grid[..., 0], grid[..., 1], heights, levels=levels, colors="0.72", linewidths=0.7)
    axis.plot(*np.array(landscape.minima).T, "*", color="black", markersize=9, zorder=4)
    axis.set(xlim=(left, right), ylim=(bottom, top))
    axis.grid(False)


def _value_axis(axis: Any, landscape: Landscape, paths: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Limits that a diverging path cannot stretch, and a word on which paths diverged."""
    heights = [_heights(landscape, runs[0]) for runs in paths.values()]
    top = 10 * max(max(h[0] for h in heights), np.finfo(float).tiny)
    lowest = min(np.nanmin(h) for h in heights)
    axis.set(xlabel="step", ylabel="value above minimum", yscale="log")
    axis.set(xlim=(0, 1.02 * (max(len(h) for h in heights) - 1)), ylim=(max(lowest / 3, _DEPTH * top), top))
    lost = [label for label, runs in paths.items() if not all(np.isfinite(run).all() for run in runs)]
    if lost:
        axis.set_title(f"diverged: {', '.join(lost)}", fontsize=8)


def _heights(landscape: Landscape, run: np.ndarray) -> np.ndarray:
    """Values above the minimum, NaN where they overflow or the path has ended."""
    with np.errstate(over="ignore", invalid="ignore"):
        heights = landscape.value(run) - landscape.lowest
    return np.where(np.isfinite(heights), heights, np.nan)


def _nearby(landscape: Landscape, run: np.ndarray) -> np.ndarray:
    """The path with what lies far outside of the window drawn in, since no canvas has coordinates of 1e200."""
    low, high = np.array(landscape.window).T
    return np.clip(run, low - 1000 * (high - low), high + 1000 * (high - low))


def _points(panels: Panels) -> Table:
    """All finite points of all paths, with their values."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for name, (landscape, paths) in panels.items():
            for label, runs in paths.items():
                for number, run in enumerate(runs):
                    for step in np.flatnonzero(np.isfinite(run).all(axis=1)):
                        x, y = run[step]
                        with np.errstate(over="ignore", invalid="ignore"):
                            value = landscape.value(run[step])
                        yield name, label, number, step, float(x), float(y), float(value)

    return Table(("panel", "label", "start", "step", "x", "y", "value"), rows())
