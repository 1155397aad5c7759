"""Figures, each with its data in a file beside it. Only this room imports Matplotlib, and only within functions.

``style`` has the common style and writes files. ``runs``, ``watching``, ``panels``, ``layers``, ``mistakes``,
``checks``, ``looking``, ``paths``, ``populations``, ``studies``, ``surfaces`` and ``through_time`` draw. ``subjects``
has protocols of the objects that are drawn, so that this room need not import them.
"""

from .checks import step_sweep
from .layers import filter_grid, filters_of, first_layer_filters, variance_by_layer
from .looking import image_rows
from .mistakes import confusion, worst_mistakes
from .panels import curves, histogram, images, learning_curves, range_test, range_test_panel, regions, schedules
from .paths import animation, trajectories
from .populations import population_lineage
from .runs import comparison
from .studies import study_plane, study_rungs, study_values
from .style import COLOURS, Arrays, Table, figure, legend, look, save
from .surfaces import loss_lines, loss_surfaces
from .through_time import gradients_through_time
from .watching import compare_batch_sizes, compare_rates, histograms, run_figures, training_curves, update_ratios

__all__ = [
    "COLOURS",
    "Arrays",
    "Table",
    "animation",
    "compare_batch_sizes",
    "compare_rates",
    "comparison",
    "confusion",
    "curves",
    "figure",
    "filter_grid",
    "filters_of",
    "first_layer_filters",
    "gradients_through_time",
    "histogram",
    "histograms",
    "image_rows",
    "images",
    "learning_curves",
    "legend",
    "look",
    "loss_lines",
    "loss_surfaces",
    "population_lineage",
    "range_test",
    "range_test_panel",
    "regions",
    "run_figures",
    "save",
    "schedules",
    "step_sweep",
    "study_plane",
    "study_rungs",
    "study_values",
    "training_curves",
    "trajectories",
    "update_ratios",
    "variance_by_layer",
    "worst_mistakes",
]
