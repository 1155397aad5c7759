"""Which average won, by how much, and against what noise."""

from collections.abc import Iterable, Mapping

from ..comparison import Comparison, probabilities_of
from ..data import Batches, Data
from ..net import Net
from .base import Average


def compare_averages(
    net: Net,
    averages: Mapping[str, Average] | Iterable[Average],
    data: Data,
    *,
    refresh: Data | Batches | None = None,
    seed: int = 0,
) -> Comparison:
    """The net as it is ("raw") beside averages of its weights, on the same held-out data. Print it for the report.

    Which one won, by how much, and how that compares with the noise of the held-out sample: the differences from "raw"
    are paired, sample by sample. Reports of several seeds together, ``Comparison.over_seeds``, hold the noise of
    training as well.

    Args:
        net: a classifier with SoftmaxCrossEntropy; stays as it is.
        averages: by name, or as a list, named as they print.
        data: held-out (x, y).
        refresh: training data for ``refreshed_buffers``; for "raw" the statistics of the run are used.
        seed: of the bootstrap.
    """
    named = list(averages.items()) if isinstance(averages, Mapping) else [(repr(each), each) for each in averages]
    for i, (name, average) in enumerate(named):
        if not isinstance(average, Average):
            raise TypeError(f"compare_averages: expected averages such as EMA(); got {average!r} as {name!r}")
        if name in ("raw", *(other for other, _ in named[:i])):
            raise ValueError(f"compare_averages: expected different names, none of them 'raw'; got {name!r} twice")
    x, y = data
    found = {"raw": probabilities_of(net, x)}
    for name, average in named:
        # Batches of one's own serve every average: each takes an epoch of its own.
        with average.applied(net, refresh):
            found[name] = probabilities_of(net, x)
    return Comparison(found, y, seed=seed)
