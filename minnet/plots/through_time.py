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
        results: label -> result. The name of the layer and of its state follow the label if a result has several.
        title: title of the figure.
    """
    drawn, (axis,) = figure(width=5.4)
    rows: list[tuple[Any, ...]] = []
    lines = [(label, name, norms) for label, result in results.items() for name, norms in result.norms.items()]
    for rank, (label, name, norms) in enumerate(lines):
        word = label if len(results[label].norms) == 1 and label else f"{label} {name}".strip()
        axis.plot(np.where(norms > 0, norms, np.nan), label=word, **look(rank))
        rows += [(label, name, distance, float(norm)) for distance, norm in enumerate(norms)]
    axis.set(title=title, xlabel="steps before the last", ylabel="norm of the gradient", yscale="log")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return save(drawn, path, Table(("line", "state", "distance", "norm"), rows))
