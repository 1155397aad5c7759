"""What to look at before, during and after training. Nothing here touches the net that it is shown."""

from .variance import LayerVariance, VarianceByLayer, variance_by_layer

__all__ = [
    "LayerVariance",
    "VarianceByLayer",
    "variance_by_layer",
]
