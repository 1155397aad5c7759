"""Do residual connections smooth the loss surface? Pictures and a measure, for several seeds (claim L7).

    python examples/loss_surface.py                    deep networks on digits
    python examples/loss_surface.py --blocks 5         shallower ones
    python examples/loss_surface.py --data cifar10     convolutional ones, 5,000 images of MINNET_DATA/cifar10

After Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the Loss Landscape of Neural Nets": two networks that differ
only in their shortcuts, trained alike, and the training loss on a square around each, along two random and
filter-normalised directions. The measure of smoothness beside the picture is the surface's *concavity*
(``diagnostics.LossSurface``): the mean ratio of negative to largest curvature, 0 where it is convex. Writes
l7_surfaces.png and l7_lines.png, the losses as CSV beside them, and l7_measures.json.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import minnet as mn
from minnet import plots, schedules
from minnet.diagnostics import LossSurface, loss_line, loss_surface
from minnet.storage.files import write_whole

BATCH, L2 = 100, 5e-4
KINDS = {"with shortcuts": True, "without": False}


def digits() -> tuple[mn.data.Data, tuple[int, ...]]:
    x, y = mn.datasets.digits()
    x = mn.data.Standardizer.fit(x, per="channel")(x).reshape(len(x), -1)
    return (x, y), (64,)


def cifar10() -> tuple[mn.data.Data, tuple[int, ...]]:
    folder = os.environ.get("MINNET_DATA")
    if folder is None:
        sys.exit("loss_surface.py: expected MINNET_DATA to name a folder with cifar10/ in it; it is not set")
    (x, y), _ = mn.datasets.cifar10(Path(folder) / "cifar10")
    x, y = x[:5000], y[:5000]
    return (mn.data.Standardizer.fit(x, per="channel")(x), y), (32, 32, 3)


def block(width: int, shortcut: bool, images: bool) -> mn.Layer:
    """Two linear layers with batch norm, around which the shortcut goes."""
    linear = [mn.Conv2D(width, 3, bias=False) if images else mn.Dense(width, bias=False) for _ in range(2)]
    inner = [linear[0], mn.BatchNorm(), mn.ReLU(), linear[1], mn.BatchNorm()]
    return mn.Residual(inner) if shortcut else mn.Chain(inner)


def network(shape: tuple[int, ...], blocks: int, width: int, shortcut: bool, seed: int) -> mn.Net:
    images = len(shape) == 3
    layers: list[mn.Layer] = [mn.Conv2D(width, 3, stride=2) if images else mn.Dense(width), mn.BatchNorm(), mn.ReLU()]
    for _ in range(blocks):
        layers += [block(width, shortcut, images), mn.ReLU()]
    layers += [mn.GlobalAvgPool2D()] if images else []
    return mn.Net([*layers, mn.Dense(10)], shape, mn.SoftmaxCrossEntropy(), l2=L2, seed=seed)


def train(net: mn.Net, data: mn.data.Data, epochs: int, rate: float, seed: int) -> float:
    """Training accuracy at the end."""
    lr = schedules.Cosine(rate, epochs).in_epochs()
    mn.fit(
        net, data, rule=mn.Nesterov(0.9), lr=lr, batch_size=BATCH, epochs=epochs, seed=seed, clip_norm=5.0,
        progress=False,
    )  # fmt: skip
    return net.evaluate(*data)["accuracy"]


def spread(values: list[float]) -> str:
    return f"{np.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("digits", "cifar10"), default="digits")
    parser.add_argument("--blocks", type=int, help="of two linear layers each; 20 on digits, 9 on CIFAR-10")
    parser.add_argument("--width", type=int, help="units or channels; 32 on digits, 16 on CIFAR-10")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=21, help="steps along each direction")
    parser.add_argument("--span", type=float, default=1.0, help="largest step, in norms of the filters")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "figures", help="folder for what is written"
    )
    arguments = parser.parse_args()
    start = time.perf_counter()
    data, shape = digits() if arguments.data == "digits" else cifar10()
    blocks = arguments.blocks or (20 if arguments.data == "digits" else 9)
    width = arguments.width or (32 if arguments.data == "digits" else 16)
    measured: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    surfaces: dict[str, LossSurface] = {}
    lines: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {kind: [] for kind in KINDS}
    with tqdm(total=arguments.seeds * len(KINDS), unit="net", disable=None) as bar:
        for seed in range(arguments.seeds):
            for kind, shortcut in KINDS.items():
                net = network(shape, blocks, width, shortcut, seed)
                accuracy = train(net, data, arguments.epochs, arguments.rate, seed)
                options = {"span": arguments.span, "seed": seed, "progress": False}
                surface = loss_surface(net, *data, points=arguments.points, **options)
                line = loss_line(net, *data, points=4 * (arguments.points // 2) + 1, **options)
                lines[kind].append((line.x, line.losses))
                if seed < 3:
                    surfaces[f"{kind}, seed {seed}"] = surface
                for name, value in (
                    ("training accuracy", accuracy),
                    ("training loss", float(surface.losses[arguments.points // 2, arguments.points // 2])),
                    ("concavity", surface.concavity),
                ):
                    measured[kind].setdefault(name, []).append(value)
                bar.update()
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = "l7" if arguments.data == "digits" else "l7_cifar10"
    ordered = {title: surfaces[title] for kind in KINDS for title in surfaces if title.startswith(f"{kind},")}
    plots.loss_surfaces(
        arguments.out / f"{stem}_surfaces.png",
        {title: (s.x, s.y, s.losses) for title, s in ordered.items()},
        columns=min(3, arguments.seeds),
    )
    plots.loss_lines(arguments.out / f"{stem}_lines.png", lines)
    write_whole(arguments.out / f"{stem}_measures.json", json.dumps(measured, indent=1))
    depth = 2 * blocks + 2
    print(f"{arguments.data}, {depth} layers of width {width}, {arguments.epochs} epochs, {arguments.seeds} seeds:")
    for kind, values in measured.items():
        print(f"  {kind:<15}", "; ".join(f"{name} {spread(runs)}" for name, runs in values.items()))
    fewer = np.mean(np.array(measured["with shortcuts"]["concavity"]) < np.array(measured["without"]["concavity"]))
    print(f"  less concave with shortcuts in {fewer:.0%} of seeds; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
