"""SplitMix64, the twin of the kernels' noise, in integers of Python."""

import numpy as np

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
STREAM = np.uint64(0xFEDCBA9876543210)


def splitmix64(seed, count):
    """The published generator, stepped (Steele, Lea, Flood 2014, figure 17), in Python's unbounded integers."""
    for _ in range(count):
        seed = (seed + GOLDEN) & MASK
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def mixed(z):
    """SplitMix64's finaliser alone: what a generator puts out that stands one increment before z."""
    return next(splitmix64((z - GOLDEN) & MASK, 1))
