"""Averages of the weights that a run goes through, kept beside it.

Every average is a callback that only reads the net: a run with it ends with the same bits as one without. Taking a
point in is one pass over the flat vector, ``average = (1 - share) * average + share * params``; what sets most averages
apart is the share. ``LAWA`` copies the point, and makes a pass for each of its k points whenever its mean is asked for.
``SWAG`` takes five passes, for its variances and deviations too, once an epoch unless told otherwise. Buffers, such as
the running statistics of batch norm, are averaged in the same way. Those belong to the weights that they were measured
with, so after a real mixture they had better be measured anew: ``refresh``.

In float32 a mean of n points resolves some n * 3e-8 of a weight's size, for a share of 1 / n of less than that is lost
in rounding; the points' own noise makes such losses even out.

With a rule that hands out another point than the one where it trains (``ScheduleFreeSGD``, itself an average) the
points where it trains are averaged; ``Snapshots`` copy the points that it hands out.
"""

from .base import Average
from .means import EMA, LAWA, SWA, PolyakRuppert
from .refresh import refreshed_buffers
from .swag import SWAG

__all__ = ["EMA", "LAWA", "SWA", "SWAG", "Average", "PolyakRuppert", "refreshed_buffers"]
