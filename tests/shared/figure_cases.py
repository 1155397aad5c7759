"""What is drawn in more than one file of tests."""

import minnet as mn
from minnet import landscapes


def paths():
    bowl = landscapes.NoisyQuadratic(condition=1.0, scale=0.0)
    return {"bowl": (bowl, {"straight": [landscapes.descend(bowl, mn.SGD(), (2.0, 1.0), lr=0.5, steps=5)]})}


PNG = b"\x89PNG"


def only_a_mark(figure, file, *, format, **options):
    """In place of ``Figure.savefig``: where a figure goes, and in which format, is seen without its pixels.

    Matplotlib takes seconds for some figures.
    """
    file.write({"png": PNG}[format])
