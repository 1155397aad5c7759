"""Whether the best values of a parameter lie at the edge of its range, so that the range should be moved.

"The best value is in the outer tenth" would warn of one idle parameter in five. The rule here asks for two things of
n trials: the mean place of the best fifth lies in the outer fifth of the range, on its scale, and the rank of the
distance from that edge correlates with the rank of the figure by more than 1.7 / sqrt(n).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .spaces import Range, Space

_LEAST = 8  # fewer trials tell nothing
_OUTER, _BEST, _CORRELATION = 0.2, 0.2, 1.7


@dataclass(frozen=True)
class Edge:
    """A parameter whose best values lie at an edge of its range.

    Attributes:
        name: the parameter.
        side: ``"lower"`` or ``"upper"``.
        range: its range.
        trials: number of trials that say so.
    """

    name: str
    side: str
    range: Range
    trials: int

    def __str__(self) -> str:
        return (
            f"{self.name}: the best of {self.trials} trials lie at the {self.side} edge of {self.range}; search "
            "further out, with Random(n, within=Space(...))"
        )


def edges(space: Space, configs: Sequence[Mapping[str, Any]], costs: np.ndarray) -> list[Edge]:
    """Return the parameters whose best values lie at an edge of their range.

    Args:
        space: the space that the configurations were drawn from.
        configs: configurations, some of which may lack a parameter that depends on another.
        costs: their figures, of which the least is best; infinity for trials that diverged.

    Returns:
        An ``Edge`` for each of these parameters; an empty list if there is none.
    """
    found = []
    for name in space.ranges:
        limits = space.plain(name)
        chosen = [i for i, config in enumerate(configs) if name in config]
        if not limits.ordered or len(chosen) < _LEAST:
            continue
        places = np.array([limits.unit(configs[i][name]) for i in chosen])
        side = int(at_edge(places[None], np.asarray(costs)[chosen][None])[0])
        if side:
            found.append(Edge(name, "lower" if side < 0 else "upper", limits, len(chosen)))
    return found


def at_edge(places: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Apply the rule to many studies at once.

    Args:
        places: places of the values in their range, 0 to 1, (studies, trials).
        costs: figures, of which the least is best, (studies, trials).

    Returns:
        -1 for the lower edge, 1 for the upper one, 0 for none, (studies,).
    """
    n = places.shape[1]
    best = np.argsort(costs, axis=1, kind="stable")[:, : max(round(_BEST * n), 1)]
    centre = np.take_along_axis(places, best, axis=1).mean(axis=1)
    correlation = _rank_correlation(places, costs)  # of the distance from the lower edge
    bound = _CORRELATION / np.sqrt(n)
    lower = (centre < _OUTER) & (correlation > bound)
    upper = (centre > 1 - _OUTER) & (-correlation > bound)
    return upper.astype(int) - lower.astype(int)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row; equal values take ranks in their order."""
    ranks = [np.argsort(np.argsort(v, axis=1, kind="stable"), axis=1).astype(float) for v in (a, b)]
    x, y = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    return (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
