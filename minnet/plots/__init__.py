"""Every figure. Matplotlib is imported here alone, and only when a figure is drawn."""

from .checks import step_sweep
from .panels import (
    curves,
    histogram,
    images,
    learning_curves,
    range_test,
    range_test_panel,
    regions,
    schedules,
)
from .paths import animation, trajectories
from .runs import comparison
from .style import COLOURS, figure, legend, look, save

__all__ = [
    "COLOURS",
    "animation",
    "comparison",
    "curves",
    "figure",
    "histogram",
    "images",
    "learning_curves",
    "legend",
    "look",
    "range_test",
    "range_test_panel",
    "regions",
    "save",
    "schedules",
    "step_sweep",
    "trajectories",
]
