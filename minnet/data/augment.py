"""Random changes to training images."""

from dataclasses import dataclass

from .. import checks


@dataclass(frozen=True)
class Augment:
    """Random changes to images (H, W, C) that leave their class alone: the CIFAR recipe of He et al. 2016, section 4.2.

    Args:
        flip: mirror an image left to right with probability 1/2.
        crop: pad an image by so many zeros on every side and cut out a window of its own size at a random place, all
            (2 crop + 1)^2 places alike. As in torchvision's usual recipe the zeros are those of the raw image, before
            it is standardised.
    """

    flip: bool = False
    crop: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise TypeError(f"Augment: expected flip to be True or False; got {self.flip!r}")
        object.__setattr__(self, "crop", checks.count("Augment", "crop", self.crop, least=0))
