"""Figures of a run: learning curves, update ratios, units, and histograms over time.

Functions named ``..._panel`` draw in one panel of a figure. Functions that take a path write a figure, with its data in
a CSV file beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .style import COLOURS, Place, Table, as_png, draws, figure, legend, look, save, shared_legend
from .subjects import DeadUnits, History, Monitor, Statistics

_TARGET = 1e-3  # of |update| / |weights|
_PANELS = 4  # histograms of one kind; a deeper net shows that many layers, spread evenly


def step_axis(axis: Any, steps: np.ndarray) -> None:
    """Label the axis of steps, and make it logarithmic if the steps have about equal ratios."""
    gaps = np.diff(steps)
    if len(gaps) and gaps.max() > 5 * gaps.min():
        axis.set_xscale("log")
    axis.set_xlabel("step")


def epoch_axis(axis: Any) -> None:
    """Label the axis of epochs, with whole numbers as ticks."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")


# Curves --------------------------------------------------------------------------------------------------------------


def loss_panel(axis: Any, history: History) -> None:
    """Draw the loss of every step, and the training and validation losses of every epoch."""
    losses, epochs = np.array(history.steps["loss"]), np.array(history.steps["epoch"])
    per_epoch = max(1, int((epochs == 1).sum()))
    axis.plot(np.arange(1, len(losses) + 1) / per_epoch, losses, color="0.75", linewidth=0.7, label="each step")
    for column, label in ((history.training("loss"), _of_training(history)), ("val_loss", "validation")):
        if column in history:
            axis.plot(_ends(history), history[column], marker=_marker(history), label=label)
    axis.set(title="Loss", ylabel="loss (data + penalties)")
    epoch_axis(axis)
    if (losses > 0).all():
        axis.set_yscale("log")
    legend(axis)


def accuracy_panel(axis: Any, history: History) -> None:
    """Draw training and validation accuracy of every epoch, with the gap between them."""
    lines = {}
    for column, label in ((history.training("accuracy"), _of_training(history)), ("val_accuracy", "validation")):
        if column in history:
            lines[column] = 100 * np.array(history[column])
            axis.plot(_ends(history), lines[column], marker=_marker(history), label=label)
    if len(lines) == 2:
        training, validation = lines.values()
        gap = f"gap, {training[-1] - validation[-1]:.1f} points at the end"
        axis.fill_between(_ends(history), training, validation, color=COLOURS[1], alpha=0.15, linewidth=0, label=gap)
    axis.set(title="Accuracy", ylabel="correct (%)")
    epoch_axis(axis)
    legend(axis)


def _of_training(history: History) -> str:
    """Return the label of the training curve, which is evaluated after each epoch or a mean over its steps."""
    return "training" if "train_loss" in history else "training, epoch mean"


def rate_panel(axis: Any, history: History) -> None:
    """Draw the learning rate of every step."""
    axis.plot(history.steps["step"], history.steps["lr"])
    axis.set(title="Learning rate", xlabel="step", ylabel="rate")
    axis.set_ylim(bottom=0)


def _ends(history: History) -> np.ndarray:
    """Return the positions of the ends of epochs."""
    return np.array(history["epoch"], float)


def _marker(history: History) -> str | None:
    return "." if len(history) <= 40 else None


@draws("history")
def training_curves(path: Place, history: History) -> Any:
    """Draw training and validation loss and accuracy of a run.

    Args:
        path: see ``save``.
        history: the history of the run.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    has_accuracy = "accuracy" in history
    drawn, axes = figure(2 if has_accuracy else 1, width=4.6)
    loss_panel(axes[0], history)
    if has_accuracy:
        accuracy_panel(axes[1], history)
    columns = history.epochs.columns()
    return save(
        drawn, path, Table(columns, ([row.get(column, "") for column in columns] for row in history.epochs.rows))
    )


@draws("runs")
def compare_rates(path: Place, runs: Mapping[str, History], *, title: str = "Learning rates") -> Any:
    """Draw the mean loss of each epoch of several runs, such as runs with different learning rates.

    A run that ended early, because it diverged, has a cross. Losses above 1.5 times the first loss of the first run are
    cut off.

    Args:
        path: see ``save``.
        runs: label -> history.
        title: title of the figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, (axis,) = figure(width=5.0, height=3.4)
    start = next(iter(runs.values())).steps["loss"][0]
    longest = max(len(history) for history in runs.values())
    for rank, (label, history) in enumerate(runs.items()):
        # The first loss is what the epochs set out from.
        losses = [history.steps["loss"][0], *(history["loss"] if len(history) else [])]
        if len(history) < longest:
            losses.append(history.steps["loss"][-1])
            cross = {"marker": "X", "color": look(rank)["color"], "clip_on": False}
            axis.plot(len(losses) - 1, min(losses[-1], 1.5 * start), **cross)
        axis.plot(losses, label=label, **look(rank))
    axis.set(title=title, ylabel="training loss, epoch mean")
    epoch_axis(axis)
    axis.set_ylim(0, 1.5 * start)
    legend(axis)
    return save(drawn, path, _steps_of(runs))


@draws("runs")
def compare_batch_sizes(path: Place, runs: Mapping[str, History]) -> Any:
    """Draw the loss of every step of several runs, one panel each, to compare how noise depends on the batch size.

    Args:
        path: see ``save``.
        runs: label -> history.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, axes = figure(len(runs), width=3.2, height=2.8)
    highest = max(max(history.steps["loss"]) for history in runs.values())
    for rank, (axis, (label, history)) in enumerate(zip(axes, runs.items(), strict=True)):
        epochs, losses = np.array(history.steps["epoch"]), history.steps["loss"]
        seen = np.arange(1, len(losses) + 1) / int((epochs == 1).sum())
        axis.plot(seen, losses, color=COLOURS[rank % len(COLOURS)], linewidth=0.7)
        axis.set(title=label, ylabel="loss of each batch" if rank == 0 else "")
        epoch_axis(axis)
        axis.set(xlim=(0, None), ylim=(0, 1.05 * highest))
    return save(drawn, path, _steps_of(runs))


def _steps_of(runs: Mapping[str, History]) -> Table:
    """All steps of several runs."""
    rows = (
        (label, row["step"], row["epoch"], row["loss"], row["lr"])
        for label, history in runs.items()
        for row in history.steps.rows
    )
    return Table(("run", "step", "epoch", "loss", "lr"), rows)


# Monitors ------------------------------------------------------------------------------------------------------------


def ratio_panel(axis: Any, monitor: Monitor) -> None:
    """Draw |update| / |weights| of every tensor of weights, with the target and a factor of 10 around it."""
    aim = f"{_TARGET:.0e}, and a factor of 10"
    axis.axhspan(_TARGET / 10, 10 * _TARGET, color=COLOURS[2], alpha=0.12, linewidth=0, label=aim)
    axis.axhline(_TARGET, color=COLOURS[2], linewidth=1, linestyle=":")
    for rank, name in enumerate(monitor.labels):
        axis.plot(monitor.steps, monitor[name], label=name, **look(rank))
    axis.set(title="Updates beside weights", ylabel="|update| / |weights|", yscale="log")
    step_axis(axis, monitor.steps)
    if len(monitor.labels) <= 8:
        legend(axis)


@draws("runs")
def update_ratios(path: Place, runs: Mapping[str, Monitor]) -> Any:
    """Draw update ratios of several runs, one panel each, with the same scale. Ratios below 1e-7 are cut off.

    Args:
        path: see ``save``.
        runs: label -> ``diagnostics.UpdateRatios``.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, axes = figure(len(runs), width=3.2)
    for i, (axis, (label, monitor)) in enumerate(zip(axes, runs.items(), strict=True)):
        ratio_panel(axis, monitor)
        axis.set(title=label, ylabel="" if i else axis.get_ylabel())
        if axis.get_legend() is not None:
            axis.get_legend().remove()
    limits = [axis.get_ylim() for axis in axes]
    low = max(min(low for low, _ in limits), _TARGET * 1e-4)  # of a dead net the ratio falls without end
    for axis in axes:
        axis.set_ylim(low, max(high for _, high in limits))
    names = list(dict.fromkeys(name for monitor in runs.values() for name in monitor.labels))
    shared_legend(drawn, names, 3 * len(runs))
    rows = (
        (label, int(step), name, float(ratio))
        for label, monitor in runs.items()
        for name in monitor.labels
        for step, ratio in zip(monitor.steps, monitor[name], strict=True)
    )
    return save(drawn, path, Table(("run", "step", "tensor", "ratio"), rows))


def units_panel(axis: Any, dead: DeadUnits | None, saturation: Monitor | None) -> None:
    """Draw the shares of dead units and of saturated outputs of each layer."""
    series = []
    if dead is not None:
        series += [(f"dead, layer {place}", dead.steps, share) for place, share in dead.share().items()]
    if saturation is not None:
        series += [(f"saturated, layer {place}", saturation.steps, saturation[place]) for place in saturation.names()]
    for rank, (label, steps, share) in enumerate(series):
        axis.plot(steps, 100 * share, label=label, **look(rank))
    axis.set(title="Dead units and saturation", ylabel="share (%)")
    axis.set_ylim(-2, max([10, *(105 * share.max() for _, _, share in series)]))
    if series:
        step_axis(axis, series[0][1])
        legend(axis)


def histogram_panel(axis: Any, statistics: Statistics, name: str) -> None:
    """Draw histograms of an array over time, with bins as shades. Values outside the middle 99 % are cut off."""
    from matplotlib.colors import PowerNorm

    steps, shares, borders = rebinned(statistics, name)
    places = _borders(steps)
    colours = {"cmap": "Blues", "norm": PowerNorm(0.5, vmin=0, vmax=max(shares.max(), 1e-9))}
    axis.pcolormesh(places, borders, shares.T, rasterized=True, **colours)
    axis.set_title(f"{name} ({statistics.labels[name]})" if name.startswith("activations") else name)
    step_axis(axis, steps)
    axis.grid(False)


def rebinned(statistics: Statistics, name: str, bins: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Convert an array's histograms to the same bins for all records.

    The bins span the middle 99 % of all records. Values are assumed to be evenly spread within each original bin.

    Returns:
        (steps (records,), shares of the values (records, bins), edges of the bins (bins + 1,)).
    """
    records = [statistics.histogram(name, i) for i in range(len(statistics))]
    known = [(counts, edges) for counts, edges in records if counts.sum()]
    low, high = min(edges[0] for _, edges in known), max(edges[-1] for _, edges in known)
    fine = np.linspace(low, high, 4001)
    total = np.mean([_below(counts, edges, fine) for counts, edges in known], axis=0)
    inside = fine[(total >= 0.005) & (total <= 0.995)]
    # Where one bin holds nearly all, nothing lies in between.
    ends = (inside[0], inside[-1]) if len(inside) > 1 else (low, high)
    borders = np.linspace(*ends, bins + 1)
    shares = [np.diff(_below(counts, edges, borders)) for counts, edges in records]
    return statistics.steps, np.array(shares), borders


def _below(counts: np.ndarray, edges: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the share of a histogram's values below each place."""
    share = np.concatenate([[0.0], np.cumsum(counts)]) / max(counts.sum(), 1)
    return np.interp(at, edges, share, left=0.0, right=share[-1])


def _borders(steps: np.ndarray) -> np.ndarray:
    """Return edges of columns for the steps, half-way between neighbours."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middles = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[max(steps[0] - 0.5, 0.5)], middles, [steps[-1] + (steps[-1] - middles[-1])]])


def histogram_names(statistics: Statistics) -> dict[str, list[str]]:
    """Return the names of histograms to draw: weights, gradients and activations of a few layers."""
    found = {}
    for kind in ("weights", "gradients", "activations"):
        names = [f"{kind} {name}" for name in statistics.of(kind, "mean")]
        names = [name for name in names if statistics.labels.get(name, "Flatten") not in ("Flatten", "Reshape")]
        spread = np.unique(np.linspace(0, len(names) - 1, min(len(names), _PANELS)).round().astype(int))
        found[kind] = [names[i] for i in spread]
    return found


def histogram_panels(statistics: Statistics, of: Mapping[str, list[str]]) -> Any:
    """Return a figure with a row of histograms over time for each kind of array."""
    rows = {kind: names for kind, names in of.items() if names}
    width = max(len(names) for names in rows.values())
    drawn, axes = figure(width, width=3.1, height=[2.2] * len(rows))
    for i, names in enumerate(rows.values()):
        for j in range(width):
            axis = axes[i * width + j]
            if j < len(names):
                histogram_panel(axis, statistics, names[j])
            else:
                axis.set_visible(False)
        axes[i * width].set_ylabel("value")
    return drawn


@draws("statistics")
def histograms(path: Place, statistics: Statistics) -> Any:
    """Draw histograms over time of a few layers' weights, gradients and activations.

    Args:
        path: see ``save``.
        statistics: a ``diagnostics.Statistics`` with at least one record.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    rows: Sequence[Any] = [
        (name, int(step), f"{border:.6g}", f"{share:.6g}")
        for names in histogram_names(statistics).values()
        for name in names
        for steps, shares, borders in [rebinned(statistics, name)]
        for step, row in zip(steps, shares, strict=True)
        for border, share in zip(borders, row, strict=False)
    ]
    return save(
        histogram_panels(statistics, histogram_names(statistics)),
        path,
        Table(("array", "step", "bin from", "share"), rows),
    )


# One run on a page ---------------------------------------------------------------------------------------------------


def run_figures(
    history: History,
    ratios: Monitor | None,
    dead: DeadUnits | None,
    saturation: Monitor | None,
    statistics: Statistics | None,
) -> dict[str, bytes]:
    """Return the figures of a dashboard as bytes of PNG files, by title, without those of missing or empty monitors.

    Each panel is a figure of its own, so that a narrow page shows them one below the other.

    Args:
        history: the history of the run.
        ratios, dead, saturation, statistics: monitors of the run: ``UpdateRatios``, ``DeadUnits``, ``Saturation`` and
            ``Statistics``; None for those that it does not have.

    Returns:
        title -> bytes of a PNG file.
    """
    draw: dict[str, Callable[[Any], object]] = {"Loss": lambda axis: loss_panel(axis, history)}
    if len(history) > 0 and "accuracy" in history:
        draw["Accuracy"] = lambda axis: accuracy_panel(axis, history)
    draw["Learning rate"] = lambda axis: rate_panel(axis, history)
    if ratios:
        draw["Updates"] = lambda axis: ratio_panel(axis, ratios)
    if dead or saturation:
        draw["Units"] = lambda axis: units_panel(axis, dead or None, saturation or None)
    found = {}
    for title, panel in draw.items():
        drawn, (axis,) = figure(1, width=4.6)
        panel(axis)
        axis.set_title("")  # the page has it
        found[title] = as_png(drawn)
    if statistics:
        for kind, names in histogram_names(statistics).items():
            if names:
                found[kind.capitalize()] = as_png(histogram_panels(statistics, {kind: names}))
    return found
