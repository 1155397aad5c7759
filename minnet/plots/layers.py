"""Figures of variances by layer, and of the weights of the first layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .grid import image_grid
from .style import COLOURS, Place, Table, draws, figure, save
from .subjects import LayerTable, Net


@draws("panels")
def variance_by_layer(
    path: Place,
    panels: Mapping[str, Sequence[LayerTable]],
    *,
    published: Mapping[str, Mapping[int, float]] | None = None,
) -> Any:
    """Draw variances of activations and gradients by layer, with the variance of activations that theory expects.

    The expected variance is the mean square of the layer's input times its expected gain, minus the square of the mean
    output. Layers without a theory have no mark. For several results (seeds), the figure shows the median and a band
    with 95 % of them. A CSV file beside the figure has all values.

    Args:
        path: see ``save``.
        panels: title -> results for nets with the same layers.
        published: title -> layer, counted from 0 for the input -> variance, drawn as crosses.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, axes = figure(
        len(panels), width=max(4.4, 0.3 * max(len(runs[0].layers) for runs in panels.values())), height=3.4
    )
    rows: list[tuple[Any, ...]] = []
    for axis, (title, runs) in zip(axes, panels.items(), strict=True):
        names = [f"{layer.name} {layer.kind}" if layer.name != "input" else "input" for layer in runs[0].layers]
        at = np.arange(len(names))
        for colour, label, attribute in (
            (COLOURS[0], "activations", "variance"),
            (COLOURS[1], "gradients", "gradient_variance"),
        ):
            table = np.array([[getattr(layer, attribute) for layer in run.layers] for run in runs])
            table[table <= 0] = np.nan  # a logarithmic axis has no place for it
            low, middle, high = np.nanquantile(table, (0.025, 0.5, 0.975), axis=0)
            word = f", median of {len(runs)}" if len(runs) > 1 else ""
            axis.plot(at, middle, marker=".", color=colour, label=f"{label}{word}")
            if len(runs) > 1:
                axis.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0, label=f"{label}, 95 % of runs")
        expected = np.array([_expected(run) for run in runs])
        if np.isfinite(expected).any():
            known = np.isfinite(expected).any(axis=0)
            axis.plot(
                at[known], np.nanmedian(expected[:, known], axis=0), "o", color=COLOURS[2], markerfacecolor="none",
                markersize=7, linestyle="", label="theory, activations",
            )  # fmt: skip
        for layer, value in (published or {}).get(title, {}).items():
            axis.plot(layer, value, "kx", label="published" if layer == 0 else None)
        axis.set(title=title, ylabel="variance", yscale="log")
        axis.set_xticks(at, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
        rows += [
            (title, number, name, layer.variance, theory, layer.gradient_variance, layer.gain, layer.expected_gain,
             layer.gradient_gain, layer.expected_gradient_gain)
            for number, run in enumerate(runs)
            for name, layer, theory in zip(names, run.layers, _expected(run), strict=True)
        ]  # fmt: skip
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    head = ("panel", "run", "layer", "variance", "expected variance", "gradient variance", "gain", "expected gain")
    return save(drawn, path, Table((*head, "gradient gain", "expected gradient gain"), rows))


def _expected(run: LayerTable) -> list[float]:
    """Return the variance of each layer's output that theory expects; NaN if there is no theory."""
    return [
        np.nan
        if layer.expected_gain is None or not layer.gain
        else max((layer.variance + layer.mean**2) * layer.expected_gain / layer.gain - layer.mean**2, 0) or np.nan
        for layer in run.layers
    ]


@draws("net")
def first_layer_filters(path: Place, net: Net, *, count: int = 40, columns: int = 10, title: str = "") -> Any:
    """Draw the weights of the first Dense or convolution as images, each scaled from its smallest to its largest value.

    Units of a Dense layer on images (H, W, C), flattened or not, are drawn as such images. Channels of a convolution's
    filters are drawn side by side unless there are one or three. A CSV file beside the figure has the weights.

    Args:
        path: see ``save``.
        net: the net.
        count: largest number of units to draw.
        columns: number of images in a row.
        title: title of the figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    filters = filters_of(net)[:count]
    return filter_grid(path, {title: filters}, columns=columns)


def filters_of(net: Net) -> np.ndarray:
    """Return the weights W of the first layer that has them, as images (units, H, W, channels).

    Args:
        net: the net.

    Returns:
        An array (units, H, W, channels).

    Raises:
        ValueError: no layer has such weights, or they are not those of images.
    """
    name, W = next(((name, W) for name, W in net.named_parameters().items() if name.endswith(".W")), ("", None))
    if W is None or W.ndim not in (2, 4):
        raise ValueError(f"first_layer_filters: expected a net with a Dense or a convolution; got {net!r}")
    if W.ndim == 4:
        return np.ascontiguousarray(np.moveaxis(W, -1, 0))
    if len(net.input_shape) != 3 or W.shape[0] != np.prod(net.input_shape):
        raise ValueError(
            f"first_layer_filters: expected images (H, W, C) before {name}; got input shape {net.input_shape}"
        )
    return W.T.reshape(-1, *net.input_shape)


@draws("panels")
def filter_grid(path: Place, panels: Mapping[str, np.ndarray], *, columns: int = 10) -> Any:
    """Draw grids of filters side by side, each filter scaled by itself. A CSV file has the weights.

    Args:
        path: see ``save``.
        panels: title -> filters of shape (n, H, W, C). The number of its unit is above each filter.
        columns: number of filters in a row.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn = image_grid(panels, columns)
    rows = (
        (title, unit, *map(int, place), float(value))
        for title, filters in panels.items()
        for unit, image in enumerate(filters)
        for place, value in np.ndenumerate(image)
    )
    return save(drawn, path, Table(("panel", "unit", "row", "column", "channel", "weight"), rows))
