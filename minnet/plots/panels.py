"""Figures of a few panels side by side: curves, schedules, range tests, regions of classes, histograms, images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .grid import image_grid
from .style import COLOURS, Arrays, Place, Table, Text, draws, figure, legend, save
from .subjects import History, RangeTest, Schedule


@draws("history")
def learning_curves(history: History, path: Place = None) -> Any:
    """Draw losses, accuracies and the learning rate of a run.

    A CSV file beside the figure has the history, as ``History.save`` writes it.

    Args:
        history: the history of the run.
        path: see ``save``.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    has_accuracy = "accuracy" in history
    drawn, axes = figure(3 if has_accuracy else 2)
    steps = history.steps["step"]
    # The same in all panels. Training data that were evaluated after each epoch are what compares with validation.
    label = "training" if "train_loss" in history else "training, epoch mean"
    training, validation = (label, COLOURS[0]), ("validation", COLOURS[1])
    axes[0].plot(
        steps, history.steps["loss"], color=training[1], alpha=0.35, linewidth=0.8, label="training, each step"
    )
    at = history["step"] if len(history) else []
    for column, (label, colour) in ((history.training("loss"), training), ("val_loss", validation)):
        if column in history:
            axes[0].plot(at, history[column], color=colour, marker=".", label=label)
    axes[0].set(title="Loss", xlabel="step", ylabel="loss (data + penalties)")
    if min(history.steps["loss"]) > 0:
        axes[0].set_yscale("log")
    legend(axes[0])
    if has_accuracy:
        for column, (label, colour) in ((history.training("accuracy"), training), ("val_accuracy", validation)):
            if column in history:
                axes[1].plot(at, [100 * value for value in history[column]], color=colour, marker=".", label=label)
        axes[1].set(title="Accuracy", xlabel="step", ylabel="correct (%)")
        legend(axes[1])
    axes[-1].plot(steps, history.steps["lr"], color=COLOURS[2])
    axes[-1].set(title="Learning rate", xlabel="step", ylabel="rate")
    axes[-1].set_ylim(bottom=0)
    return save(drawn, path, Text(history.to_csv()))


@draws("result")
def range_test(result: RangeTest, path: Place = None) -> Any:
    """Draw the readings of a range test as functions of the learning rate.

    Regimes are shaded, and suggestions are vertical lines. A CSV file beside the figure has the readings of each seed.

    Args:
        result: the range test.
        path: see ``save``.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, (axis,) = figure(width=6.4, height=3.6)
    range_test_panel(axis, result)
    rows = (
        (seed, float(rate), float(value))
        for seed, values in enumerate(result.readings)
        for rate, value in zip(result.rates[result.at], values, strict=True)
    )
    return save(drawn, path, Table(("seed", "learning rate", result.monitor), rows))


def range_test_panel(axis: Any, result: RangeTest) -> None:
    """Draw a range test in one panel of a figure. Readings far above the first loss are cut off.

    Args:
        axis: the Matplotlib axes of the panel.
        result: the range test.
    """
    unit = 100 if "accuracy" in result.monitor else 1
    rates, median = result.curve_rates, unit * result.median
    for values in result.readings:
        axis.plot(result.rates[result.at], unit * values, color="0.6", linewidth=0.5, alpha=0.5, zorder=1)
    what = "validation" if result.monitor.startswith("val_") else "batch, smoothed" if result.smooth else "batch"
    if len(result.readings) > 1:
        axis.fill_between(
            rates, unit * result.band(0.25), unit * result.band(0.75), color=COLOURS[0], alpha=0.25, label="quartiles"
        )
        what = f"{what}, median of {len(result.readings)} seeds"
    axis.plot(rates, median, color=COLOURS[0], label=what, zorder=3)
    shades = {"flat": "0.5", "falling": COLOURS[2], "diverging": COLOURS[1]}
    for name, (low, high) in result.regimes.items():
        axis.axvspan(low, high, color=shades[name], alpha=0.13, linewidth=0)
        word = "rising" if unit == 100 and name == "falling" else name
        axis.text((low * high) ** 0.5, 1.01, word, transform=axis.get_xaxis_transform(), ha="center", fontsize=8)
    for mark, tone, dashes in (("steepest", 1, "-"), ("valley", 3, "-."), ("base", 6, ":"), ("max", 6, "--")):
        rate = getattr(result, mark)
        if rate is not None:
            axis.axvline(rate, color=COLOURS[tone], linestyle=dashes, linewidth=1.2, label=f"{mark} {rate:.2g}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="correct (%)" if unit == 100 else "loss (data + penalties)")
    axis.set_title(f"Range test, {result.rule.partition('(')[0]}", pad=16)
    if unit == 1 and np.isfinite(median).any():
        low, start = np.nanmin(median), np.nanmedian(median[: max(3, len(median) // 10)])
        span = max(start - low, 0.05 * abs(start))
        axis.set_ylim(low - 0.1 * span, start + 0.7 * span)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


@draws("series")
def curves(
    path: Place,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    log: bool = False,
    log_x: bool = False,
) -> Any:
    """Draw labelled lines in one panel, with a legend beside it. A CSV file has their points.

    Args:
        path: see ``save``.
        series: label -> (x, y).
        title, xlabel, ylabel: texts of the figure.
        log, log_x: whether the y axis, and the x axis, are logarithmic.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, (axis,) = figure(width=5.4)
    for label, (x, y) in series.items():
        axis.plot(x, y, label=label)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if log:
        axis.set_yscale("log")
    if log_x:
        axis.set_xscale("log")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    rows = ((label, *map(float, point)) for label, line in series.items() for point in zip(*line, strict=True))
    return save(drawn, path, Table(("line", xlabel, ylabel), rows))


# How an event of a schedule is marked. A trough and its restart may share a place: the ring goes around the triangle.
_EVENTS: dict[str, dict[str, Any]] = {
    "boundary": {"marker": "|", "markersize": 9},
    "peak": {"marker": "^", "markersize": 6, "markeredgecolor": "white"},
    "trough": {"marker": "v", "markersize": 6, "markeredgecolor": "white"},
    "restart": {"marker": "o", "markersize": 9, "markerfacecolor": "none"},
    "end": {"marker": "s", "markersize": 6, "markeredgecolor": "white"},
}


@draws("series")
def schedules(
    path: Place,
    series: Mapping[str, Schedule],
    steps: int,
    *,
    together: bool = True,
    log: bool = False,
    ylabel: str = "value",
) -> Any:
    """Draw the first steps of schedules with their events. A CSV file has values and events.

    Args:
        path: see ``save``.
        series: label -> schedule.
        steps: number of steps.
        together: whether all schedules share one panel.
        log: whether the y axis is logarithmic.
        ylabel: label of the y axis.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    from matplotlib.lines import Line2D

    drawn, axes = figure(width=6.4) if together else figure(len(series), width=3.6)
    seen: set[str] = set()
    for i, (label, schedule) in enumerate(series.items()):
        axis, colour, values = axes[0 if together else i], COLOURS[i % len(COLOURS)], schedule.preview(steps)
        dashes = ("-", "--", ":", "-.")[i // len(COLOURS) % 4]  # once the colours are used up
        axis.plot(values, color=colour, linestyle=dashes, label=label)
        events = schedule.events(steps)
        for kind, look in _EVENTS.items():
            at = [event.step for event in events if event.kind == kind]
            if at:
                seen.add(kind)
                axis.plot(at, values[at], color=colour, linestyle="", clip_on=False, zorder=3, **look)
    # Lines first, then what the marks mean, in grey, for they come in every colour.
    marks = [Line2D([], [], color="0.4", linestyle="", label=kind, **_EVENTS[kind]) for kind in _EVENTS if kind in seen]
    for i, axis in enumerate(axes):
        axis.set(xlabel="step", ylabel=ylabel if i == 0 else "")
        if log:
            axis.set_yscale("log")
        if together:
            handles = [*axis.get_legend_handles_labels()[0], *marks]
            axis.legend(handles=handles, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        else:
            axis.set_title(list(series)[i])
    if marks and not together:
        drawn.legend(handles=marks, frameon=False, fontsize=8, loc="outside lower center", ncols=len(marks))
    rows: list[tuple[Any, ...]] = []
    for label, schedule in series.items():
        kinds: dict[int, list[str]] = {}
        for event in schedule.events(steps):
            kinds.setdefault(event.step, []).append(event.kind)
        rows += [(label, i, float(v), " ".join(kinds.get(i, []))) for i, v in enumerate(schedule.preview(steps))]
    return save(drawn, path, Table(("schedule", "step", ylabel, "events"), rows))


@draws("nets")
def regions(path: Place, nets: Mapping[str, Any], x: np.ndarray, y: np.ndarray, *, resolution: int = 200) -> Any:
    """Draw the classes that nets with two inputs predict in the plane, and the samples, with one panel for each net.

    An NPZ file beside the figure has the samples ``x`` and ``y``, the points ``grid`` (resolution, resolution, 2), the
    ``titles``, and the predicted classes ``regions`` (nets, resolution, resolution).

    Args:
        path: see ``save``.
        nets: title -> object with ``predict(x)``.
        x, y: samples of shape (n, 2) and labels of shape (n,).
        resolution: number of points along each axis.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    from matplotlib.colors import ListedColormap

    classes = int(y.max()) + 1
    colours = ListedColormap(COLOURS[:classes])
    low, high = x.min(axis=0) - 0.1, x.max(axis=0) + 0.1
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, resolution) for a, b in zip(low, high, strict=True))), axis=-1)
    drawn, axes = figure(len(nets), width=3.4, height=3.4)
    found = []
    for axis, (title, net) in zip(axes, nets.items(), strict=True):
        labels = net.predict(grid.reshape(-1, 2).astype(x.dtype)).argmax(axis=1).reshape(resolution, resolution)
        found.append(labels)
        axis.pcolormesh(
            grid[..., 0], grid[..., 1], labels, cmap=colours, alpha=0.3, vmin=-0.5, vmax=classes - 0.5, rasterized=True
        )
        axis.scatter(*x.T, c=y, cmap=colours, vmin=-0.5, vmax=classes - 0.5, s=9, edgecolor="white", linewidth=0.3)
        axis.set(title=title, xlabel="feature 1", ylabel="feature 2", aspect="equal")
        axis.grid(False)
    return save(drawn, path, Arrays(x=x, y=y, grid=grid, titles=np.array(list(nets)), regions=np.array(found)))


@draws("groups")
def histogram(
    path: Place, groups: Mapping[str, Sequence[float]], marks: Mapping[str, float], *, title: str, xlabel: str
) -> Any:
    """Draw histograms with labelled vertical lines, such as a published value. A CSV file has values and marks.

    Args:
        path: see ``save``.
        groups: label -> values.
        marks: label -> position of a vertical line.
        title, xlabel: texts of the figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    from matplotlib.ticker import MaxNLocator

    drawn, (axis,) = figure(width=5.0)
    values = [value for group in groups.values() for value in group]
    bins = np.linspace(min(*values, *marks.values()), max(*values, *marks.values()), 21)
    axis.hist(list(groups.values()), bins=bins, label=list(groups))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    for i, (label, at) in enumerate(marks.items()):
        axis.axvline(at, color=COLOURS[-1], linestyle=("--", ":", "-.")[i % 3], label=label)
    axis.set(title=title, xlabel=xlabel, ylabel="runs")
    axis.margins(y=0.35)  # room for the legend above the bars
    legend(axis)
    rows = [("value", label, float(value)) for label, group in groups.items() for value in group]
    return save(
        drawn,
        path,
        Table(("kind", "label", xlabel), [*rows, *(("mark", label, float(at)) for label, at in marks.items())]),
    )


@draws("pictures")
def images(
    path: Place, pictures: np.ndarray, *, columns: int, title: str = "", names: Sequence[Any] | None = None
) -> Any:
    """Draw images in a grid, each scaled from its smallest to its largest value.

    An NPZ file beside the figure has the given images as ``images``.

    Args:
        path: see ``save``.
        pictures: images of shape (n, H, W, 3 or 1).
        columns: number of images in a row.
        title: title of the figure.
        names: names above the images; None for their indices.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn = image_grid({title: pictures}, columns, names)
    return save(drawn, path, Arrays(images=pictures))
