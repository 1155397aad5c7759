"""Random changes to training images."""

from dataclasses import dataclass

from ..base import checks
from ..base.guide import Guided


@dataclass(frozen=True)
class Augment(Guided):
    """Random flips and crops of images (H, W, C), as for CIFAR in He et al. 2016, section 4.2.

    Args:
        flip: whether to mirror an image left to right with probability 1/2.
        crop: number of zeros to pad on every side before a window of the image's size is cut out at a random place.
            All (2 crop + 1)^2 places are equally likely. As in torchvision's usual recipe, the image is padded before
            it is standardised.
    """

    flip: bool = False
    crop: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise TypeError(f"Augment: expected flip to be True or False; got {self.flip!r}")
        object.__setattr__(self, "crop", checks.count("Augment", "crop", self.crop, least=0))
