"""The figure of population based training: what each member used and reached, and the way of the winner."""

from typing import Any

import numpy as np

from .style import COLOURS, Place, Table, draws, figure, save
from .subjects import PopulationResult


@draws("result")
def population_lineage(result: PopulationResult, path: Place = None) -> Any:
    """Draw a panel for each hyper-parameter, and one for the score, over the steps of the run.

    Thin lines follow the weights: each joins a member to its parent, so that a line which ends was replaced, and one
    that forks was copied. The thick line is the winner. A CSV file beside the figure has the lineage.

    Args:
        result: what ``pbt`` returned.
        path: see ``save``.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    steps, names = result.population.steps, list(result.best.config)
    entries = {(m.generation, m.member): m for m in result.lineage}
    chosen = {(m.generation, m.member) for m in result.ancestors()}
    drawn, axes = figure(len(names) + 1, width=3.8)
    for axis, name in zip(axes, [*names, None], strict=True):
        values = {key: _value(m, name) for key, m in entries.items()}
        for key, m in sorted(entries.items(), key=lambda entry: entry[0] in chosen):
            style = {"color": COLOURS[1], "linewidth": 2.2} if key in chosen else {"color": "0.6", "linewidth": 0.8}
            place = (m.generation + (name is None)) * steps
            here = [(place, values[key]), *([] if name is None else [(place + steps, values[key])])]
            if m.parent is not None:
                here = [(place - (steps if name is None else 0), values[m.generation - 1, m.parent]), *here]
            axis.plot(*zip(*here, strict=True), marker="o" if name is None else None, markersize=2, **style)
        found = np.array([v for v in values.values() if np.isfinite(v)])
        log = found.size and found.min() > 0 and found.max() > 8 * found.min()
        axis.set(xlabel="step", ylabel=name or result.metric, yscale="log" if log else "linear")
    rows = [(m.generation, m.member, m.parent, m.seed, *m.config.values(), m.status, m.score) for m in result.lineage]
    return save(drawn, path, Table(("generation", "member", "parent", "seed", *names, "status", result.metric), rows))


def _value(member: Any, name: str | None) -> float:
    """Return a hyper-parameter of a member, or its score; NaN if it has none."""
    if name is not None:
        return float(member.config[name])
    return np.nan if member.score is None else float(member.score)
