"""A 784-1000-500-100-10 network on MNIST: 98 % on the test images within 10 epochs.

MINNET_DATA=folder python examples/mnist.py      folder/mnist holds the four IDX files, gzipped or not
"""

import argparse
import os
import sys
from pathlib import Path

import minnet as mn
from minnet import schedules

BATCH, EPOCHS = 128, 10


class Progress(mn.Callback):
    """One line an epoch, while it runs."""

    def on_epoch(self, trainer, row):
        print(
            f"epoch {row['epoch']:2d}  training loss {row['loss']:.4f}  validation accuracy {row['val_accuracy']:.2%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    epochs = parser.parse_args().epochs
    folder = os.environ.get("MINNET_DATA")
    if folder is None:
        sys.exit("mnist.py: expected MINNET_DATA to name a folder with mnist/ in it; it is not set")
    train, test = mn.datasets.mnist(Path(folder) / "mnist")
    train, val = mn.data.split(train, (0.9, 0.1), seed=0)

    net = mn.Net(
        [mn.Flatten(), mn.Dense(1000), mn.ReLU(), mn.Dense(500), mn.ReLU(), mn.Dense(100), mn.ReLU(), mn.Dense(10)],
        input_shape=(28, 28, 1),
        loss=mn.SoftmaxCrossEntropy(),
        l2=1e-4,
        seed=0,
    )
    print(net.summary())
    lr = schedules.Cosine(0.1, epochs).in_epochs()
    mn.fit(
        net, train, rule=mn.Nesterov(0.9), lr=lr, batch_size=BATCH, epochs=epochs, validation=val, seed=0,
        callbacks=[Progress()],
    )  # fmt: skip
    print(f"test accuracy {net.evaluate(*test)['accuracy']:.2%}")


if __name__ == "__main__":
    main()
