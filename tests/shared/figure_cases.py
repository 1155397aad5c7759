"""What is drawn in more than one file of tests."""

import minnet as mn
from minnet import landscapes
from minnet.experiments import Config, Member, Population, PopulationResult


def paths():
    bowl = landscapes.NoisyQuadratic(condition=1.0, scale=0.0)
    return {"bowl": (bowl, {"straight": [landscapes.descend(bowl, mn.SGD(), (2.0, 1.0), lr=0.5, steps=5)]})}


PNG = b"\x89PNG"


def only_a_mark(figure, file, *, format, **options):
    """In place of ``Figure.savefig``: where a figure goes, and in which format, is seen without its pixels.

    Matplotlib takes seconds for some figures.
    """
    file.write({"png": PNG}[format])


POINTS = [{"trial": "0", "steps": 10 * i, "figure": 1 / i, "lr": 0.1 * i, "decay": 0.2} for i in (1, 2)]  # of a study


def population():
    """The result of two members in two generations, which nobody has trained."""
    configs = Config({"lr": 0.1}), Config({"lr": 0.2})
    members = [
        Member(g, m, m if g else None, 3, (configs[m],) * (g + 1), "done", 1.0 + m) for g in (0, 1) for m in (0, 1)
    ]
    settings = Population(size=2, share=0.5, generations=2, steps=5)
    return PopulationResult(dict, settings, "val_loss", "min", tuple(members), members[2])
