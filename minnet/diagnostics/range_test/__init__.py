"""The learning-rate range test: train with a learning rate that rises from step to step, and see where the net learns.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3. The test trains a copy of the net with
its own rule state, order of the data and noise. A test in the middle of a run therefore does not change the run.

``run`` trains the copies, ``result`` holds what they recorded and its figure, ``shape`` reads regimes off a curve.
"""

from .result import RangeTest
from .run import lr_range_test
from .shape import moving_average

__all__ = ["RangeTest", "lr_range_test", "moving_average"]
