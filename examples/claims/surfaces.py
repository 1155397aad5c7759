"""L7: the loss surface with and without residual connections; ``loss_surface.py`` has it deeper and finer."""

from pathlib import Path

import numpy as np
from loss_surface import KINDS, digits, network, train

from minnet import plots
from minnet.diagnostics import loss_surface

from .base import JORDAN, Effort, Figure, Part, Result, Row, claim, difference, verdict

BLOCKS, WIDTH, EPOCHS, RATE, POINTS = 5, 32, 8, 0.05, 11  # 5 blocks: 12 linear layers


def surface_of(kind: str, seed: int) -> Result:
    data, shape = digits()
    net = network(shape, BLOCKS, WIDTH, KINDS[kind], seed)
    accuracy = train(net, data, EPOCHS, RATE, seed)
    surface = loss_surface(net, *data, points=POINTS, seed=seed, progress=False)
    return {
        "accuracy": accuracy,
        "concavity": surface.concavity,
        "x": np.array(surface.x),
        "y": np.array(surface.y),
        "losses": surface.losses,
    }


@claim(
    "L7",
    "residual connections smooth the loss",
    "Residual connections smooth the loss surface, as the pictures of Li et al. show.",
    JORDAN,
    parts=lambda effort: [Part(surface_of, (kind, seed)) for seed in range(effort.repeats(5, 15)) for kind in KINDS],
)
def residual_connections_smooth_the_loss(out: Path, effort: Effort, *found: Result) -> Row:
    by_kind = {kind: found[i :: len(KINDS)] for i, kind in enumerate(KINDS)}
    shown = {
        f"{kind}, seed {seed}": (run["x"], run["y"], run["losses"])
        for kind, runs in by_kind.items()
        for seed, run in enumerate(runs[:2])
    }
    plots.loss_surfaces(out / "l7_twelve_layers.png", shown, columns=2)
    concavity = {kind: np.array([run["concavity"] for run in runs]) for kind, runs in by_kind.items()}
    words, holds = difference(concavity["without"], concavity["with shortcuts"])
    return Row(
        "picture",
        f"curvature ratio without {concavity['without'].mean():.4f}, with {concavity['with shortcuts'].mean():.4f}; "
        f"more without {words}",
        verdict(holds),
        f"Digits, {2 * BLOCKS + 2} layers of width {WIDTH}, filter-normalised; mean ratio of negative to largest "
        "curvature, which is 0 for a convex surface. Training accuracy "
        + ", ".join(f"{kind} {np.mean([run['accuracy'] for run in runs]):.1%}" for kind, runs in by_kind.items())
        + f"; 95 % over {len(by_kind['without'])} seeds.",
        [
            Figure(
                "l7_twelve_layers.png",
                "Lines of equal loss around the weights at the end: rounder with shortcuts than without.",
            )
        ],
    )
