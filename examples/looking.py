"""What a convolutional network sees: saliency, images of classes, fooling images, and what its layers amplify.

    python examples/looking.py                the bundled digits: a minute
    python examples/looking.py --data FOLDER  CIFAR-10 (FOLDER/cifar10 has the binary version): minutes on two cores

A network is trained, and then looked at by gradients with respect to its input, as in CS231n's third assignment. Four
figures go into the folder named by --out:

    saliency  what the score of the right class depends on, for a test image of each class
    classes   images that climb the score of each class: by gradients alone, and with blur and jitter
    fooling   the smallest change found after which the network sees the next class
    layers    the same test images after some steps that amplify what a layer responds to
"""

import argparse
import time
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots
from minnet.diagnostics import amplify, fooling_images, saliency, visualise_classes

BATCH = 64


def block(channels: int) -> list[mn.Layer]:
    return [mn.Conv2D(channels, 3, bias=False), mn.BatchNorm(), mn.ReLU()]


def digits() -> tuple[mn.data.Data, mn.data.Data, list[mn.Layer], mn.data.Augment]:
    """Training data, test data, layers before the classifier, and random changes of the images."""
    train, test = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    return train, test, [*block(16), *block(32), mn.MaxPool2D(2), *block(32), mn.Flatten()], mn.data.Augment(crop=1)


def cifar10(folder: Path) -> tuple[mn.data.Data, mn.data.Data, list[mn.Layer], mn.data.Augment]:
    train, test = mn.datasets.cifar10(folder / "cifar10")
    layers = [*block(32), mn.MaxPool2D(2), *block(64), mn.MaxPool2D(2), *block(128), mn.GlobalAvgPool2D()]
    return train, test, layers, mn.data.Augment(flip=True, crop=4)


def train(
    data: mn.data.Data, layers: list[mn.Layer], augment: mn.data.Augment, standardize: mn.data.Standardizer, epochs: int
) -> mn.Net:
    """Train a network of these layers and a classifier on top."""
    shape = data[0].shape[1:]
    net = mn.Net([*layers, mn.Dense(10)], shape, mn.SoftmaxCrossEntropy(), l2=5e-4, seed=0)
    lr = mn.schedules.OneCycle(0.1, epochs).in_epochs()
    mn.fit(
        net, data, rule=mn.Nesterov(0.9), lr=lr, batch_size=BATCH, epochs=epochs, augment=augment,
        standardize=standardize, seed=0,
    )  # fmt: skip
    return net


def one_of_each(net: mn.Net, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the first sample of each class that the network classifies correctly; of the first if none is."""
    right = net.predict(x).argmax(axis=1) == y
    of_class = (np.flatnonzero(y == label) for label in range(10))
    return np.array([indices[np.argmax(right[indices])] for indices in of_class])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="look at CIFAR-10 in this folder")
    parser.add_argument("--epochs", type=int, help="of training; 15 on digits, 6 on CIFAR-10")
    parser.add_argument("--steps", type=int, default=200, help="of gradient ascent for a class (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for the figures")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    data, (x, y), layers, augment = digits() if arguments.data is None else cifar10(arguments.data)
    standardize = mn.data.Standardizer.fit(data[0], per="channel")
    net = train(data, layers, augment, standardize, arguments.epochs or (15 if arguments.data is None else 6))
    x = standardize(x)
    print(
        f"accuracy on {len(x):,} test images {net.evaluate(x, y)['accuracy']:.1%}, {time.perf_counter() - begun:.0f} s"
    )

    chosen = one_of_each(net, x, y)
    images, labels = x[chosen], y[chosen]
    names = [str(i) for i in range(10)] if arguments.data is None else list(mn.datasets.cifar10_classes())
    # Black and white, as the network takes them.
    black, white = (standardize(np.full((1, *x.shape[1:]), grey, np.float32))[0] for grey in (0, 1))
    bounds = black, white

    def shown(pictures: np.ndarray) -> np.ndarray:
        return (pictures - black) / (white - black)

    print("saliency", flush=True)
    figures: dict[str, tuple[dict[str, np.ndarray], list[str]]] = {}
    figures["saliency"] = {"image": shown(images), "saliency": saliency(net, images, labels)}, names

    print("images of classes", flush=True)
    jitter = max(x.shape[1] // 16, 1)
    ways = {
        "gradient": {"jitter": 0, "blur": 0.0, "l2": 0.0},
        "blur": {"jitter": 0},
        "blur, jitter": {"jitter": jitter},
    }
    rows = {}
    for way, options in ways.items():
        found = visualise_classes(net, np.arange(10), steps=arguments.steps, rate=0.1, bounds=bounds, **options)
        rows[way] = shown(found.x)
        seen = np.mean(net.predict(found.x).argmax(axis=1) == np.arange(10))
        print(
            f"  {way:<13} mean score {found.before.mean():6.1f} to {found.after.mean():6.1f}, {seen:.0%} seen as such"
        )
    figures["classes"] = rows, names

    print("fooling images", flush=True)
    fooled = fooling_images(net, images, (labels + 1) % 10, rate=0.005, steps=1000, bounds=bounds)
    print(fooled)
    changes = {"image": shown(images), "changed": shown(fooled.x), "change": shown(fooled.x - images + black)}
    figures["fooling"] = (
        changes,
        [f"{names[a]}\nto {names[b]}" for a, b in zip(fooled.before, fooled.after, strict=True)],
    )

    print("what layers amplify", flush=True)
    rows = {"image": shown(images)}
    convolutions = [i for i, layer in enumerate(net.layers.layers) if isinstance(layer, mn.Conv2D)]
    for layer in convolutions:
        rows[f"layer {layer}"] = shown(amplify(net, images, layer, steps=30, rate=0.05, bounds=bounds).x)
    figures["layers"] = rows, names

    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = "digits" if arguments.data is None else "cifar10"
    for figure, (rows, columns) in figures.items():
        plots.image_rows(arguments.out / f"looking_{stem}_{figure}.png", rows, names=columns)
    print(f"4 figures in {arguments.out}, {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
