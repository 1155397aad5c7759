"""CS231n's two-layer network on CIFAR-10: 50 % on the validation images, which is what the assignment asks for.

MINNET_DATA=folder python examples/two_layer.py      folder/cifar10 holds the binary version's files

Data as in the course: 49,000 training images, the next 1,000 for validation, the first 1,000 test images, all minus the
mean training image. Width, rate and penalty are from a random search of a few runs of four epochs.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots, schedules

HELD_OUT = 1_000  # of 50,000
HIDDEN, BATCH, EPOCHS, RATE, L2 = 200, 200, 10, 0.1, 5e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures", help="folder for the figures")
    arguments = parser.parse_args()
    folder = os.environ.get("MINNET_DATA")
    if folder is None:
        sys.exit("two_layer.py: expected MINNET_DATA to name a folder with cifar10/ in it; it is not set")
    (x, y), (x_test, y_test) = mn.datasets.cifar10(Path(folder) / "cifar10")
    train, val = (x[:-HELD_OUT], y[:-HELD_OUT]), (x[-HELD_OUT:], y[-HELD_OUT:])
    measured = mn.data.Standardizer.fit(train[0])
    minus_mean_image = replace(measured, std=np.ones_like(measured.std))

    net = mn.Net(
        [mn.Flatten(), mn.Dense(HIDDEN), mn.ReLU(), mn.Dense(10)],
        input_shape=(32, 32, 3),
        loss=mn.SoftmaxCrossEntropy(),
        l2=L2,
        seed=0,
    )
    print(net.summary())
    history = mn.fit(
        net,
        train,
        rule=mn.Nesterov(0.9),
        lr=schedules.Cosine(RATE, arguments.epochs).in_epochs(),
        batch_size=BATCH,
        epochs=arguments.epochs,
        standardize=minus_mean_image,
        validation=val,
        seed=0,
    )
    for row in history.epochs.rows:
        print(f"epoch {row['epoch']:2d}  training {row['accuracy']:.2%}  validation {row['val_accuracy']:.2%}")
    test = net.evaluate(minus_mean_image(x_test), y_test)
    print(f"validation accuracy {history['val_accuracy'][-1]:.2%}, test accuracy {test['accuracy']:.2%}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    history.plot(arguments.out / "two_layer.png")
    filters = net.named_parameters()["1.W"].T.reshape(HIDDEN, 32, 32, 3)
    plots.images(arguments.out / "two_layer_filters.png", filters[:20], columns=10, title="Weights of 20 hidden units")


if __name__ == "__main__":
    main()
