"""The learning-rate range test: train with a rate that rises from step to step, and read off where it helps and harms.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3. The test works on a copy of the net,
with a rule state, an order of the data and noise of its own, so that a run in the middle of which it is made cannot
notice.
"""

from .result import RangeTest
from .run import lr_range_test
from .shape import moving_average

__all__ = ["RangeTest", "lr_range_test", "moving_average"]
