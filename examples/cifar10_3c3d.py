"""The 3c3d network on CIFAR-10, trained for 20 epochs on random crops and mirror images.

MINNET_DATA=folder python examples/cifar10_3c3d.py      folder/cifar10 holds the binary version's files

Three convolutions and three dense layers, as in DeepOBS (Schneider, Balles, Hennig 2019); data as in CS231n: 49,000
training images, the next 1,000 for validation after every epoch. The test images (the first 1,000 are enough) are
looked at once, at the end.
"""

import argparse
import os
import sys
from pathlib import Path

import minnet as mn
from minnet import schedules

HELD_OUT = 1_000  # of 50,000
BATCH, EPOCHS, WARM_UP, RATE, L2 = 128, 20, 1, 0.02, 1e-3


class Progress(mn.Callback):
    """One line an epoch, while it runs."""

    def on_epoch(self, trainer, row):
        print(
            f"epoch {row['epoch']:2d}  training loss {row['loss']:.4f}, accuracy {row['accuracy']:.2%}  "
            f"validation accuracy {row['val_accuracy']:.2%}",
            flush=True,
        )


def block(filters: int, kernel: int, padding: str) -> list[mn.Layer]:
    return [mn.Conv2D(filters, kernel, padding=padding), mn.ReLU(), mn.MaxPool2D(3, stride=2, padding=1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures", help="folder for the figure")
    arguments = parser.parse_args()
    folder = os.environ.get("MINNET_DATA")
    if folder is None:
        sys.exit("cifar10_3c3d.py: expected MINNET_DATA to name a folder with cifar10/ in it; it is not set")
    (x, y), (x_test, y_test) = mn.datasets.cifar10(Path(folder) / "cifar10")
    train, val = (x[:-HELD_OUT], y[:-HELD_OUT]), (x[-HELD_OUT:], y[-HELD_OUT:])
    standardize = mn.data.Standardizer.fit(train[0], per="channel")

    net = mn.Net(
        [
            *block(64, 5, "valid"),
            *block(96, 3, "valid"),
            *block(128, 3, "same"),
            *(mn.Flatten(), mn.Dense(512), mn.ReLU(), mn.Dense(256), mn.ReLU(), mn.Dense(10)),
        ],
        input_shape=(32, 32, 3),
        loss=mn.SoftmaxCrossEntropy(),
        l2=L2,
        seed=0,
    )
    print(net.summary())
    # Without batch normalisation the first steps have to be small ones.
    lr = schedules.Warmup(WARM_UP, schedules.Cosine(RATE, max(arguments.epochs - WARM_UP, 1)))
    history = mn.fit(
        net,
        train,
        rule=mn.Nesterov(0.9),
        lr=lr.in_epochs(),
        batch_size=BATCH,
        epochs=arguments.epochs,
        augment=mn.data.Augment(flip=True, crop=4),
        standardize=standardize,
        validation=val,
        seed=0,
        callbacks=[Progress()],
    )
    test = net.evaluate(standardize(x_test), y_test)
    print(
        f"validation accuracy {history['val_accuracy'][-1]:.2%}, accuracy on {len(x_test):,} test images "
        f"{test['accuracy']:.2%}"
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    history.plot(arguments.out / "cifar10_3c3d.png")


if __name__ == "__main__":
    main()
