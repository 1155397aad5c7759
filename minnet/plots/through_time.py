"""The figure of gradients that go back through time."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .style import Place, Table, draws, figure, look, save
from .subjects import GradientsThroughTime


@draws("results")
def gradients_through_time(path: Place, results: Mapping[str, GradientsThroughTime], *, title: str = "") -> Any:
    """Draw norms of the gradient of the loss at the last step, with respect to the states before it, by distance.

    A CSV file beside the figure has the norms. A norm of 0 has no place on the logarithmic axis.

    Args:
        path: see ``save``.
        results: label -> result. The state follows the label if a layer has several, and the name of the layer if there
            are several layers.
        title: title of the figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    drawn, (axis,) = figure(width=5.4)
    rows: list[tuple[Any, ...]] = []
    lines = [(label, name, norms) for label, result in results.items() for name, norms in result.norms.items()]
    words = [word for label, result in results.items() for word in _words(label, list(result.norms))]
    for rank, (label, name, norms) in enumerate(lines):
        axis.plot(np.where(norms > 0, norms, np.nan), label=words[rank], **look(rank))
        rows += [(label, name, distance, float(norm)) for distance, norm in enumerate(norms)]
    axis.set(title=title, xlabel="steps before the last", ylabel="norm of the gradient", yscale="log")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return save(drawn, path, Table(("line", "state", "distance", "norm"), rows))


def _words(label: str, names: list[str]) -> list[str]:
    """Return the words of the legend for the states of one result, whose names are "place class state"."""
    if not label or len({name.rsplit(" ", 1)[0] for name in names}) > 1:
        return [f"{label} {name}".strip() for name in names]
    return [label] if len(names) == 1 else [f"{label}, {name.rsplit(' ', 1)[1]}" for name in names]
