"""Captions of images in miniature: strings of digits are drawn, and a network says them in words.

    python examples/captions.py               a minute on two cores
    python examples/captions.py --epochs 2    a rougher answer

As in CS231n's third assignment, features of the image are the first state of an LSTM, which reads the words of the
caption so far and scores the next one. Here the features come from convolutions that are trained with it. An image has
one to four of the bundled digits side by side, with gaps of random width. Images for the test are drawn from digits
that no image for training has.

Each step takes the likeliest word until the word <end>. Words are compared at their places. To see how much a caption
is worth that knows nothing of its image, the same captions are also compared with those of other images. The figure,
of test images and their captions, goes into the folder named by --out.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "<start>", "<end>"]
START, END = 10, 11
MOST = 4  # digits of an image
STEPS = MOST + 1  # words of a caption, with <end>
HEIGHT, WIDTH = 8, 8 * MOST + 8
PIXELS = HEIGHT * WIDTH


def draw(given: mn.data.Data, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw images (count, HEIGHT, WIDTH) and their captions (count, STEPS), filled up with -1 behind <end>."""
    images, captions = np.zeros((count, HEIGHT, WIDTH), np.float32), np.full((count, STEPS), -1)
    for image, caption, length in zip(images, captions, rng.integers(1, MOST + 1, count), strict=True):
        chosen = rng.integers(0, len(given[0]), length)
        spare = WIDTH - 8 * length  # columns between and beside the digits
        starts = np.sort(rng.integers(0, spare + 1, length)) + 8 * np.arange(length)
        for start, digit in zip(starts, chosen, strict=True):
            image[:, start : start + 8] = given[0][digit, :, :, 0]
        caption[:length], caption[length] = given[1][chosen], END
    return images, captions


def network_input(images: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """Samples (n, PIXELS + STEPS * words): the pixels, and the words before each place as rows of the identity."""
    before = np.concatenate([np.full((len(captions), 1), START), captions[:, :-1]], axis=1)
    rows = np.eye(len(WORDS), dtype=np.float32)[np.where(before < 0, END, before)]
    return np.concatenate([images.reshape(len(images), -1), rows.reshape(len(images), -1)], axis=1)


def captioner(units: int, width: int = 32) -> mn.Net:
    """A network that scores the next word at each place of a caption, given the image and the words before."""
    features = [
        *(mn.Slice(0, PIXELS), mn.Reshape((HEIGHT, WIDTH, 1))),
        *(mn.Conv2D(16, 3, bias=False), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2)),
        *(mn.Conv2D(32, 3, bias=False), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2)),
        *(mn.Flatten(), mn.Dense(units), mn.Tanh()),
    ]
    words = [
        *(mn.Slice(PIXELS, PIXELS + STEPS * len(WORDS)), mn.Reshape((STEPS, len(WORDS)))),
        mn.Dense(width, bias=False),  # of a row of the identity: an embedding
    ]
    layers = [mn.InitialState(mn.LSTM(units), state=features, inputs=words), mn.Dense(len(WORDS))]
    return mn.Net(layers, PIXELS + STEPS * len(WORDS), mn.SoftmaxCrossEntropy(ignored=-1), seed=0)


def describe(net: mn.Net, images: np.ndarray) -> np.ndarray:
    """The likeliest captions (n, STEPS), word by word, with -1 behind <end>."""
    captions = np.full((len(images), STEPS), -1)
    for step in range(STEPS):
        captions[:, step] = net.predict(network_input(images, captions))[:, step].argmax(axis=-1)
    behind = np.cumsum(captions == END, axis=1) - (captions == END) > 0
    return np.where(behind, -1, captions)


def accuracies(found: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """The share of the right words, <end> included, that were found at their places; the share of right captions."""
    return float((found == right)[right >= 0].mean()), float((found == right).all(axis=1).mean())


def text(caption: np.ndarray) -> str:
    return " ".join(WORDS[word] for word in caption if word not in (-1, END))


def digits(caption: np.ndarray) -> str:
    return "".join(str(word) for word in caption if word not in (-1, END))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15, help="%(default)s")
    parser.add_argument("--images", type=int, default=10_000, help="to learn from (%(default)s)")
    parser.add_argument("--units", type=int, default=128, help="of the LSTM (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for the figure")
    arguments = parser.parse_args()
    begun, rng = time.perf_counter(), np.random.default_rng(0)
    learnt, held_out = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    images, captions = draw(learnt, arguments.images, rng)
    test, right = draw(held_out, 1000, rng)
    net = captioner(arguments.units)
    print(f"{len(images):,} images of {len(learnt[0]):,} digits; {net.params.size:,} parameters")
    mn.fit(
        net,
        (network_input(images, captions), captions),
        validation=(network_input(test, right), right),
        rule=mn.Adam(),
        lr=mn.schedules.OneCycle(0.003, arguments.epochs).in_epochs(),
        batch_size=64,
        epochs=arguments.epochs,
        clip_norm=1.0,
    )
    found = describe(net, test)
    words, whole = accuracies(found, right)
    chance, _ = accuracies(found, np.roll(right, 1, axis=0))
    print(f"1,000 test images of other digits: {words:.1%} of the words right, {whole:.1%} of the captions whole")
    print(f"the same captions beside those of other images: {chance:.1%} of the words")
    print(f"({time.perf_counter() - begun:.0f} s)")

    shown = np.argsort((found == right).all(axis=1), kind="stable")[:3].tolist()  # three with a mistake, if there are
    shown += [i for i in range(len(test)) if i not in shown][: 12 - len(shown)]
    names = []
    for i in shown:
        same = (found[i] == right[i]).all()
        print(f"  {text(found[i])}" + ("" if same else f"   (right: {text(right[i])})"))
        names.append(digits(found[i]) + ("" if same else f" (right: {digits(right[i])})"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    plots.images(arguments.out / "captions.png", test[shown][..., np.newaxis], columns=3, names=names)


if __name__ == "__main__":
    main()
