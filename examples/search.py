"""CS231n's assignment: the learning rate and the regularisation of a two-layer network, found by a search.

    python examples/search.py                  on the digits
    MINNET_DATA=folder python examples/search.py --data     on CIFAR-10, folder/cifar10 holds the binary version's files
    python examples/search.py --store search.db --workers 2   can be killed and run again, and goes on

40 short runs at random, successive halving of 27 to 3, and 12 long runs in the space around the best. The report runs
the leaders again on fresh seeds. Test data are used once, for the configuration that is chosen.
"""

import argparse
import os
import sys
from functools import cache
from pathlib import Path

import minnet as mn
from minnet import plots, schedules
from minnet.experiments import Config, Halving, Log, Random, Space, Study

SPACE = Space(lr=Log(1e-4, 10.0), reg=Log(1e-6, 1.0))
SHORT, MIDDLE, LONG = 60, 180, 540
BATCH, HIDDEN = 50, 50
LOGS = ("lr", "reg")


@cache
def data() -> tuple[mn.data.Data, mn.data.Data, mn.data.Data]:
    """Training, validation and test data; worker processes read the same environment."""
    if "SEARCH_CIFAR10" not in os.environ:
        x, y = mn.datasets.digits()
        train, val, test = mn.data.split((x.reshape(len(x), -1), y), (0.6, 0.2, 0.2), seed=0)
        return train, val, test
    (x, y), (x_test, y_test) = mn.datasets.cifar10(Path(os.environ["MINNET_DATA"]) / "cifar10")
    shape = -1, x[0].size
    return (
        (x[:49_000].reshape(shape), y[:49_000]),
        (x[49_000:].reshape(shape), y[49_000:]),
        (x_test[:1000].reshape(shape), y_test[:1000]),
    )


def build(config: Config, seed: int) -> mn.Trainer:
    """The whole run of a configuration: a cosine schedule over all its steps."""
    train, val, _ = data()
    layers = [mn.Dense(HIDDEN), mn.ReLU(), mn.Dense(10)]
    net = mn.Net(layers, train[0].shape[1], mn.SoftmaxCrossEntropy(), l2=config.reg, seed=seed)
    return mn.Trainer(
        net,
        train,
        rule=mn.Nesterov(0.9),
        lr=schedules.Cosine(config.lr, LONG),
        batch_size=BATCH,
        steps=LONG,
        standardize=standardizer(),
        validation=val,
        seed=seed,
    )


@cache
def standardizer() -> mn.data.Standardizer:
    return mn.data.Standardizer.fit(data()[0][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="store_true", help="CIFAR-10 in the folder of MINNET_DATA, not the digits")
    parser.add_argument("--store", type=Path, help="file of the study, to go on from after a kill")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--fresh-seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures", help="folder for the figures")
    given = parser.parse_args()
    if given.data and "MINNET_DATA" not in os.environ:
        sys.exit("search.py: expected MINNET_DATA to name a folder with cifar10/ in it; it is not set")
    if given.data:
        os.environ["SEARCH_CIFAR10"] = "1"

    with Study(given.store, SPACE, build, metric="val_accuracy", seed=0) as study:
        study.run(Random(given.trials), steps=SHORT, workers=given.workers)
        study.run(Halving(27, rungs=(SHORT, MIDDLE, LONG)), workers=given.workers)
        study.run(Random(12, within=study.narrowed(top=8)), steps=LONG, workers=given.workers)
        report = study.report(fresh_seeds=given.fresh_seeds, workers=given.workers)
        print(report)

        given.out.mkdir(exist_ok=True)
        points = study.points()
        study.plot(given.out / "search_values.png")
        plots.study_plane(points, given.out / "search_plane.png", x="lr", y="reg", metric="val_accuracy", log=LOGS)
        rungs = [p for p in points if p["trial"] in {f"random {i}" for i in range(27)}]
        plots.study_rungs(rungs, given.out / "search_halving.png", metric="val_accuracy")

    chosen = report.leaders[0]
    trainer = build(Config(chosen.config), seed=12345)
    trainer.run(progress=False)
    x, y = data()[2]
    accuracy = trainer.net.evaluate(standardizer()(x), y)["accuracy"]
    print(f"test accuracy of {chosen.name}, measured once: {accuracy:.2%}")


if __name__ == "__main__":
    main()
