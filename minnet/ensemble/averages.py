"""A comparison of averages of the weights with the weights themselves."""

from collections.abc import Iterable, Mapping

from ..averaging import Average, refreshed_buffers
from ..averaging.base import applied
from ..data import Batches, Data
from ..net.net import Net
from . import answers
from .comparison import Comparison


def compare_averages(
    net: Net,
    averages: Mapping[str, Average] | Iterable[Average],
    data: Data,
    *,
    refresh: Data | Batches | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare a net ("raw") with averages of its weights on the same held-out data. Print the result for the report.

    The report says which entry is best, by how much, and how that compares with the noise of the held-out sample. The
    differences from "raw" are paired, sample by sample. Reports of several seeds, combined by
    ``Comparison.over_seeds``, include the noise of training as well. The raw net keeps the run's statistics of batch
    norm. With ``refresh`` there is a second entry, "raw, refreshed", which separates the effect of new statistics from
    that of averaging.

    Args:
        net: built with a loss, by which it is judged; it is not changed.
        averages: averages by name, or a list of them, whose names are their ``repr``.
        data: held-out (x, y).
        refresh: training data for ``refreshed_buffers``; None to keep the statistics of batch norm.
        seed: seed of the bootstrap.

    Returns:
        A ``Comparison`` with the entry "raw", with "raw, refreshed" if ``refresh`` is given, and an entry for each
        average.
    """
    named = list(averages.items()) if isinstance(averages, Mapping) else [(repr(each), each) for each in averages]
    own = ("raw", "raw, refreshed")
    for i, (name, average) in enumerate(named):
        if not isinstance(average, Average):
            raise TypeError(f"compare_averages: expected averages such as EMA(); got {average!r} as {name!r}")
        if name in (*own, *(other for other, _ in named[:i])):
            raise ValueError(f"compare_averages: expected different names, none of them of {own}; got {name!r} twice")
    (x, y), loss = data, net.loss_function
    judge = answers.judge("compare_averages", loss)
    found = {"raw": answers.entry(net.predict(x), loss)}
    if refresh is not None and net.buffers.size:
        with applied(net, net.params.copy(), refreshed_buffers(net, refresh)):
            found["raw, refreshed"] = answers.entry(net.predict(x), loss)
    for name, average in named:
        with average.applied(net, refresh):
            found[name] = answers.entry(net.predict(x), loss)
    return Comparison(found, y, loss=judge, seed=seed)
