"""Data: batches, splits, augmentation and standardisation, and readers of data sets.

``batches`` gathers the batches of an epoch. ``datasets`` reads the bundled data and files in their original formats.
This room knows arrays and kernels, and nothing of networks.
"""

from .arrays import Data, check_data
from .augment import Augment
from .batches import Batches
from .splits import split
from .standardize import Standardizer
from .text import Text, padded

__all__ = ["Augment", "Batches", "Data", "Standardizer", "Text", "check_data", "padded", "split"]
