"""L7: the loss surface with and without residual connections; ``loss_surface.py`` has it deeper and finer."""

from pathlib import Path

import numpy as np
from loss_surface import KINDS, digits, network, train

from minnet import plots
from minnet.diagnostics import LossSurface, loss_surface

from .base import Row, claim, difference, verdict

BLOCKS, WIDTH, EPOCHS, RATE, POINTS, SEEDS = 5, 32, 8, 0.05, 11, 5  # 5 blocks: 12 linear layers


@claim(
    "L7", "residual connections smooth the loss surface", 'Li et al., "Visualizing the Loss Landscape of Neural Nets"'
)
def residual_connections_smooth_the_loss(out: Path) -> Row:
    data, shape = digits()
    concavity: dict[str, list[float]] = {kind: [] for kind in KINDS}
    accuracy: dict[str, list[float]] = {kind: [] for kind in KINDS}
    shown: dict[str, LossSurface] = {}
    for kind, shortcut in KINDS.items():
        for seed in range(SEEDS):
            net = network(shape, BLOCKS, WIDTH, shortcut, seed)
            accuracy[kind].append(train(net, data, EPOCHS, RATE, seed))
            surface = loss_surface(net, *data, points=POINTS, seed=seed, progress=False)
            concavity[kind].append(surface.concavity)
            if seed < 2:
                shown[f"{kind}, seed {seed}"] = surface
    plots.loss_surfaces(out / "l7_twelve_layers.png", {t: (s.x, s.y, s.losses) for t, s in shown.items()}, columns=2)
    plain, residual = (np.array(concavity[kind]) for kind in ("without", "with shortcuts"))
    words, holds = difference(plain, residual)
    return Row(
        "picture",
        f"digits, {2 * BLOCKS + 2} layers of width {WIDTH}, filter-normalised; mean ratio of negative to largest "
        + "curvature: "
        + ", ".join(
            f"{kind} {np.mean(values):.4f} (training accuracy {np.mean(accuracy[kind]):.1%})"
            for kind, values in concavity.items()
        )
        + f"; more without by {words}, 95 % over {SEEDS} seeds",
        verdict(holds),
        ["l7_twelve_layers.png"],
    )
