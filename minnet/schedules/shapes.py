"""Shapes of a decay: functions of the share of its time that has passed, from 1 at share 0 to 0 at share 1.

A rise uses the same functions with a higher end.
"""

import math
from collections.abc import Callable


def linear(share: float) -> float:
    """A straight line."""
    return 1 - share


def cosine(share: float) -> float:
    """Half a cosine wave, with slope 0 at both ends. Loshchilov and Hutter 2017, eq. 5."""
    return (1 + math.cos(math.pi * share)) / 2


def one_minus_sqrt(share: float) -> float:
    """1 - sqrt(share), steep at the start. Haegele et al. 2024."""
    return 1 - math.sqrt(share)


SHAPES: dict[str, Callable[[float], float]] = {"linear": linear, "cosine": cosine, "1-sqrt": one_minus_sqrt}


def check_shape(who: str, name: str, shape: str) -> None:
    """Raise ValueError unless ``shape`` is the name of a shape."""
    if not isinstance(shape, str) or shape not in SHAPES:
        raise ValueError(f"{who}: expected {name} to be one of {', '.join(map(repr, SHAPES))}; got {shape!r}")
