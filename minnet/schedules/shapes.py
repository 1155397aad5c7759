"""The shapes that a fall may take: what is left of it, from 1 to 0, when a share from 0 to 1 of its time has passed.

A rise is the same towards something higher.
"""

import math
from collections.abc import Callable


def linear(share: float) -> float:
    """A straight line."""
    return 1 - share


def cosine(share: float) -> float:
    """Half a wave: level at both ends. Loshchilov and Hutter 2017, eq. 5."""
    return (1 + math.cos(math.pi * share)) / 2


def one_minus_sqrt(share: float) -> float:
    """1 - sqrt(share): steep at first. Haegele et al. 2024."""
    return 1 - math.sqrt(share)


SHAPES: dict[str, Callable[[float], float]] = {"linear": linear, "cosine": cosine, "1-sqrt": one_minus_sqrt}


def check_shape(who: str, name: str, shape: str) -> None:
    """ValueError unless ``shape`` is the name of one."""
    if not isinstance(shape, str) or shape not in SHAPES:
        raise ValueError(f"{who}: expected {name} to be one of {', '.join(map(repr, SHAPES))}; got {shape!r}")
