"""Networks that read a play character by character, and write another one, beside a table of counts.

    python examples/char_lstm.py                Coriolanus, which is bundled: minutes on two cores
    python examples/char_lstm.py --data FOLDER  all of tinyshakespeare (FOLDER/tinyshakespeare/input.txt)

A recurrent layer (RNN) and an LSTM of equal width are trained by truncated backpropagation through time: the text is
cut into 32 streams side by side, and the state goes on from one batch to the next. The first nine tenths of the text
are for training, the rest is held out. The measure is bits per character, the mean of -log2 of the probability of the
character that came. The counts are of up to five characters, interpolated as Witten and Bell 1991 do. The figure goes
into the folder named by --out.
"""

import argparse
import math
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots
from minnet.data import Text

STREAMS, WINDOW = 32, 64
ORDER = 5


class Counts:
    """An n-gram model of characters with the smoothing of Witten and Bell, as Chen and Goodman 1996 write it.

    With N the number of times that the context was seen, and T the number of different characters that came after it::

        p(c | context) = (count(context c) + T * p(c | context without its first character)) / (N + T)

    Without any context, p(c | nothing) is interpolated with one of all characters of the vocabulary in the same way.
    """

    def __init__(self, text: Text, order: int) -> None:
        self.order, self.uniform = order, 1 / len(text.vocabulary)
        self.following: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for length in range(order):
            for i in range(length, len(text)):
                self.following[text.characters[i - length : i]][text.characters[i]] += 1
        self.seen = {context: sum(counts.values()) for context, counts in self.following.items()}

    def probability(self, character: str, context: str) -> float:
        """The probability of a character after a context of less than ``order`` characters."""
        p = self.uniform
        for start in range(len(context), -1, -1):  # the shortest context first
            counts = self.following.get(context[start:])
            if counts is None:  # nor was any longer one seen
                break
            p = (counts[character] + len(counts) * p) / (self.seen[context[start:]] + len(counts))
        return p

    def bits(self, text: Text) -> float:
        """Bits per character of a text."""
        characters, most = text.characters, self.order - 1
        contexts = (characters[max(0, i - most) : i] for i in range(len(characters)))
        return -sum(
            math.log2(self.probability(c, context)) for c, context in zip(characters, contexts, strict=True)
        ) / len(text)


def bits_of(net: mn.Net, text: Text, streams: int = 8) -> float:
    """Bits per character of a text that a net reads from its start on, cut in a few streams with the state kept."""
    x, y = text.streams(streams, net.input_shape[0])
    total = 0.0
    for start in range(0, len(x), streams):
        scores = net.forward(x[start : start + streams], continues=start > 0).astype(np.float64)
        scores -= scores.max(axis=-1, keepdims=True)
        right = np.take_along_axis(scores, y[start : start + streams, :, np.newaxis], axis=-1)[..., 0]
        total += float((np.log(np.exp(scores).sum(axis=-1)) - right).sum())
    return total / y.size / math.log(2)


class HeldOut(mn.Callback):
    """Measures the bits per character of a text after each epoch."""

    columns = ("val_bits",)

    def __init__(self, text: Text) -> None:
        self.text = text

    def on_epoch(self, trainer, row) -> None:
        row["val_bits"] = bits_of(trainer.net, self.text)


def train(layer: mn.Layer, train: Text, held_out: Text, epochs: int, rate: float) -> tuple[mn.Net, mn.History]:
    """Train a network with this recurrent layer."""
    size = len(train.vocabulary)
    net = mn.Net([mn.Embedding(size, 32), layer, mn.Dense(size)], WINDOW, mn.SoftmaxCrossEntropy(), seed=0)
    data = train.streams(STREAMS, WINDOW)
    steps = epochs * len(data[0]) // STREAMS
    history = mn.fit(
        net,
        data,
        rule=mn.Adam(),
        lr=mn.schedules.Cosine(rate, steps),
        batch_size=STREAMS,
        epochs=epochs,
        clip_norm=1.0,
        callbacks=[HeldOut(held_out)],
    )
    return net, history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="read tinyshakespeare from this folder")
    parser.add_argument("--epochs", type=int, default=15, help="%(default)s")
    parser.add_argument("--units", type=int, default=128, help="of the recurrent layer (%(default)s)")
    parser.add_argument("--characters", type=int, help="use the first ones of the text only")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for the figure")
    arguments = parser.parse_args()
    text = mn.datasets.coriolanus() if arguments.data is None else mn.datasets.shakespeare(arguments.data)
    if arguments.characters is not None:
        text = Text(text.characters[: arguments.characters])
    learnt, held_out = text.split(0.9)
    print(
        f"{len(learnt):,} characters to learn from, {len(held_out):,} held out, {len(text.vocabulary)} different ones"
    )

    counted = {order: Counts(learnt, order).bits(held_out) for order in range(1, ORDER + 1)}
    print("bits per character, held out:")
    for order, bits in counted.items():
        print(f"  counts of {order} characters {bits:>11.3f}")

    curves = {}
    for name, layer, rate in (
        ("RNN", mn.RNN(arguments.units, streams=STREAMS), 0.003),
        ("LSTM", mn.LSTM(arguments.units, streams=STREAMS), 0.01),
    ):
        begun = time.perf_counter()
        net, history = train(layer, learnt, held_out, arguments.epochs, rate)
        bits = history["val_bits"]
        print(f"  {name}, {net.params.size:,} parameters {bits[-1]:>11.3f}   ({time.perf_counter() - begun:.0f} s)")
        curves[f"{name}, held out"] = history["epoch"], bits
        curves[f"{name}, training"] = history["epoch"], [loss / math.log(2) for loss in history["loss"]]
        prompt = text.characters[: text.characters.index("\n") + 1]
        written = mn.generate(net, text.encode(prompt), 300, temperature=0.8, seed=0)
        print(f"\n{prompt}{text.decode(written)}\n")

    curves[f"counts of {ORDER}, held out"] = (1, arguments.epochs), (counted[ORDER], counted[ORDER])
    arguments.out.mkdir(parents=True, exist_ok=True)
    title = "Reading a play, character by character"
    plots.curves(arguments.out / "char_lstm.png", curves, title=title, xlabel="epoch", ylabel="bits per character")


if __name__ == "__main__":
    main()
