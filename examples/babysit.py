"""A run with everything attached: what the monitors saw, and one HTML page about it, written as the run goes on.

    python examples/babysit.py                   digits: a small network with ReLU and tanh units
    python examples/babysit.py --rate 1.0        the same with a rate that is too high: see what the page says then
    python examples/babysit.py --cifar10 FOLDER  CIFAR-10: a small convolutional network, some minutes

The page, the monitors' data (JSON and CSV) and the figures with their data go into the folder named by --out.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots
from minnet.diagnostics import (
    Dashboard,
    DeadUnits,
    NoiseScale,
    Saturation,
    Sharpness,
    Statistics,
    UpdateRatios,
    log_spaced,
)


def digits() -> tuple[mn.Net, list[mn.data.Data]]:
    parts = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    layers = [mn.Flatten(), mn.Dense(100), mn.ReLU(), mn.Dense(50), mn.Tanh(), mn.Dense(10)]
    return mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), l2=1e-4), parts


def cifar10(folder: Path) -> tuple[mn.Net, list[mn.data.Data]]:
    train, _ = mn.datasets.cifar10(folder)
    parts = mn.data.split(train, (0.9, 0.1), seed=0)
    layers: list[mn.Layer] = []
    for channels in (16, 32, 64):
        layers += [mn.Conv2D(channels, 3), mn.ReLU(), mn.MaxPool2D(2)]
    layers += [mn.Flatten(), mn.Dense(128), mn.ReLU(), mn.Dense(10)]
    return mn.Net(layers, (32, 32, 3), mn.SoftmaxCrossEntropy(), l2=1e-4), parts


def report(history: mn.History, dashboard: Dashboard, out: Path) -> None:
    """Print what was seen; write data and figures."""
    print("\nverdicts:")
    for verdict in dashboard.verdicts:
        print(f"  {verdict.level:<6} {verdict.text}")
    ratios, statistics, _, dead, noise, curve = dashboard.monitors
    print("\nstep   median |update| / |weights|   noise scale (samples)   sharpness   2 / rate")
    for i, step in enumerate(noise.steps):
        near = int(np.searchsorted(ratios.steps, step))
        print(
            f"{step:<6} {ratios.median()[near]:>12.2e} {noise.scale()[i]:>26.3g} {curve['sharpness'][i]:>16.3g}"
            f" {2 / curve['lr'][i]:>10.3g}"
        )
    events = dead.events()
    print(f"\n{len(events)} deaths and revivals of ReLU units; the first:")
    for event in events[:8]:
        print(f"  step {event.step}, layer {event.layer}, unit {event.unit}: {event.kind}")
    for monitor in dashboard.monitors:
        monitor.save(out / f"{type(monitor).__name__}.json")
    ratios.save(out / "UpdateRatios.csv")
    history.save(out / "history.csv")
    plots.training_curves(out / "curves.png", history)
    plots.update_ratios(out / "ratios.png", {"run": ratios})
    plots.histograms(out / "histograms.png", statistics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, metavar="FOLDER", help="train on CIFAR-10 from this folder")
    parser.add_argument("--rate", type=float, default=0.05, help="learning rate (%(default)s)")
    parser.add_argument("--epochs", type=int, help="20 on digits, 10 on CIFAR-10")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "out", help="folder for page, data, figures"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    net, (train, validation) = digits() if arguments.cifar10 is None else cifar10(arguments.cifar10)
    epochs = arguments.epochs or (20 if arguments.cifar10 is None else 10)
    often, seldom = log_spaced(20), log_spaced(4)
    page = arguments.out / "babysit.html"
    dashboard = Dashboard(
        page,
        every=5 if arguments.cifar10 is None else 1,
        monitors=[
            UpdateRatios(often),
            Statistics(often),
            Saturation(often),
            DeadUnits(at=log_spaced(8)),
            NoiseScale(batch_size=50, parts=10, at=seldom),
            Sharpness(at=seldom),
        ],
        title="CIFAR-10" if arguments.cifar10 else "Digits",
    )
    print(net.summary(), f"page: {page}\n", sep="\n\n", flush=True)
    start = time.perf_counter()
    options = {"batch_size": 50, "epochs": epochs, "validation": validation, "callbacks": [dashboard]}
    try:
        history = mn.fit(net, train, rule=mn.Momentum(0.9), lr=arguments.rate, **options)
    except mn.DivergenceError as error:
        print(error)
        history = error.history
    print(f"{len(history.steps)} steps in {time.perf_counter() - start:.0f} s, with everything attached")
    report(history, dashboard, arguments.out)
    print(f"\npage, data and figures: {arguments.out}")


if __name__ == "__main__":
    main()
