"""Averages of the weights during a run.

Every average is a callback that only reads the net, so the run gives the same bits with and without it. Adding a point
is one pass over the flat vector, ``average = (1 - share) * average + share * params``; most averages differ in the
share only. ``LAWA`` copies the points, and computes the mean of its k points in k passes when it is asked for. ``SWAG``
makes five passes, also for its variances and deviations, by default once per epoch.

Buffers, such as the running statistics of batch norm, are averaged in the same way. Statistics belong to the weights
that they were measured with, so they should be measured again for averaged weights: ``refresh``.

In float32, a mean of n points resolves differences of about n * 3e-8 of the size of a weight, since rounding loses a
share 1 / n of anything smaller. The noise of the points averages out these losses.

If a rule trains at one point and predicts at another (``ScheduleFreeSGD``, which is an average itself), the points at
which it trains are averaged. ``Snapshots`` copy the points at which it predicts. This room may know runs and nets.
"""

from .base import Average
from .means import EMA, LAWA, SWA, PolyakRuppert
from .refresh import refreshed_buffers
from .swag import SWAG

__all__ = ["EMA", "LAWA", "SWA", "SWAG", "Average", "PolyakRuppert", "refreshed_buffers"]
