"""Every figure. Matplotlib is imported here alone, and only when a figure is drawn."""

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
from .watching import (
    compare_batch_sizes,
    compare_rates,
    histograms,
    run_figures,
    training_curves,
    update_ratios,
)

__all__ = [
    "COLOURS",
    "animation",
    "compare_batch_sizes",
    "compare_rates",
    "comparison",
    "curves",
    "figure",
    "histogram",
    "histograms",
    "images",
    "learning_curves",
    "legend",
    "look",
    "range_test",
    "range_test_panel",
    "regions",
    "run_figures",
    "save",
    "schedules",
    "training_curves",
    "trajectories",
    "update_ratios",
]
