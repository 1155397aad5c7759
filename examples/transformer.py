"""A small transformer that reads a play character by character, beside recurrent networks of as many parameters.

    python examples/transformer.py                Coriolanus, which is bundled: minutes on two cores
    python examples/transformer.py --data FOLDER --epochs 10
                                                  all of tinyshakespeare (FOLDER/tinyshakespeare/input.txt)

The transformer has sinusoidal positions and blocks of causal attention and of two Dense layers with a GELU, each with
its norm first. It reads windows of 128 characters. Its matrices are trained by Muon, its embedding and its last layer
by Adam, with a warm-up and a cosine. The RNN and the LSTM are those of char_lstm.py, which carry their state on from
window to window and are trained with Adam and a cosine. All of them read as many characters.

The measure is bits per character of held-out text, the last tenth. There the transformer reads windows that overlap by
half, and only the second half of each counts, so that it has read at least 64 characters before. The recurrent networks
have read all of them. Counts of five characters, as in char_lstm.py, are a line to compare with. The figure goes into
the folder named by --out.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from char_lstm import ORDER, STREAMS, Counts, HeldOut
from char_lstm import train as train_recurrent

import minnet as mn
from minnet import plots
from minnet.data import Text

WINDOW, BATCH = 128, 8


def block(width: int, heads: int, dropout: float) -> list[mn.Layer]:
    """A block with its norms first: Radford et al. 2019."""
    attention = [mn.LayerNorm(), mn.SelfAttention(heads, causal=True), mn.Dropout(dropout)]
    mlp = [mn.LayerNorm(), mn.Dense(4 * width), mn.GELU(), mn.Dense(width), mn.Dropout(dropout)]
    return [mn.Residual(attention), mn.Residual(mlp)]


def transformer(vocabulary: int, width: int, blocks: int, heads: int, dropout: float) -> mn.Net:
    """A network that scores the next character at each position of a window."""
    layers = [mn.Embedding(vocabulary, width), mn.PositionalEncoding(), mn.Dropout(dropout)]
    layers += [layer for _ in range(blocks) for layer in block(width, heads, dropout)]
    return mn.Net([*layers, mn.LayerNorm(), mn.Dense(vocabulary)], WINDOW, mn.SoftmaxCrossEntropy(), seed=0)


def bits_of(net: mn.Net, text: Text) -> float:
    """Bits per character of a text behind its first half window, read in windows that overlap by half."""
    half = WINDOW // 2
    x, y = text.windows(WINDOW, step=half)
    scores = net.predict(x)[:, half:].astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    right = np.take_along_axis(scores, y[:, half:, np.newaxis], axis=-1)[..., 0]
    return float((np.log(np.exp(scores).sum(axis=-1)) - right).mean()) / math.log(2)


class HeldOutWindows(HeldOut):
    """Measures the bits per character of a text in windows after each epoch."""

    def on_epoch(self, trainer, row) -> None:
        row["val_bits"] = bits_of(trainer.net, self.text)


def train(net: mn.Net, learnt: Text, held_out: Text, epochs: int, rate: float) -> mn.History:
    """Train a transformer on windows of a text."""
    data = learnt.windows(WINDOW)
    steps, first, last = epochs * -(-len(data[0]) // BATCH), "0.", f"{len(net.layers.layers) - 1}."
    ends = mn.Group(lambda tensor: tensor.name.startswith((first, last)), rule=mn.Adam(), name="ends")
    return mn.fit(
        net,
        data,
        rule=mn.Muon(scale="match_rms_adamw"),  # so that one rate suits both rules
        groups=[ends],
        lr=mn.schedules.Warmup(steps // 20, mn.schedules.Cosine(rate, steps - steps // 20)),
        batch_size=BATCH,
        epochs=epochs,
        weight_decay=0.1,
        clip_norm=1.0,
        callbacks=[HeldOutWindows(held_out)],
    )


def units_for(parameters: int, vocabulary: int, gates: int) -> int:
    """Units of a recurrent net, with the embedding and the Dense of char_lstm.py, of at least as many parameters."""
    sizes = (gates * u * (32 + u + 1) + 32 * vocabulary + (u + 1) * vocabulary for u in itertools.count(1))
    return next(u for u, size in enumerate(sizes, start=1) if size >= parameters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="read tinyshakespeare from this folder")
    parser.add_argument("--epochs", type=int, default=30, help="%(default)s")
    parser.add_argument("--width", type=int, default=64, help="features of a position (%(default)s)")
    parser.add_argument("--blocks", type=int, default=2, help="%(default)s")
    parser.add_argument("--dropout", type=float, default=0.0, help="of the transformer (%(default)s)")
    parser.add_argument("--rate", type=float, default=0.01, help="largest learning rate of it (%(default)s)")
    parser.add_argument("--characters", type=int, help="use the first ones of the text only")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for the figure")
    arguments = parser.parse_args()
    text = mn.datasets.coriolanus() if arguments.data is None else mn.datasets.shakespeare(arguments.data)
    if arguments.characters is not None:
        text = Text(text.characters[: arguments.characters])
    learnt, held_out = text.split(0.9)
    size, epochs, curves = len(text.vocabulary), arguments.epochs, {}
    print(f"{len(learnt):,} characters to learn from, {len(held_out):,} held out, {size} different ones")

    net = transformer(size, arguments.width, arguments.blocks, heads=4, dropout=arguments.dropout)

    def recurrent(kind: type[mn.RNN] | type[mn.LSTM], gates: int, rate: float) -> tuple[mn.Net, mn.History]:
        layer = kind(units_for(net.params.size, size, gates), streams=STREAMS)
        return train_recurrent(layer, learnt, held_out, epochs, rate)

    runs: dict[str, Callable[[], tuple[mn.Net, mn.History]]] = {
        "transformer": lambda: (net, train(net, learnt, held_out, epochs, arguments.rate)),
        "LSTM": lambda: recurrent(mn.LSTM, 4, 0.01),
        "RNN": lambda: recurrent(mn.RNN, 1, 0.003),
    }
    print("bits per character, held out at the end, and the least after any epoch:")
    for name, run in runs.items():
        begun = time.perf_counter()
        trained, history = run()
        bits, seconds = history["val_bits"], time.perf_counter() - begun
        print(
            f"  {name:12} {trained.params.size:>9,} parameters {bits[-1]:>9.3f} {min(bits):>9.3f}   ({seconds:.0f} s)"
        )
        curves[f"{name}, held out"] = history["epoch"], bits
        curves[f"{name}, training"] = history["epoch"], [loss / math.log(2) for loss in history["loss"]]
    counted = Counts(learnt, ORDER).bits(held_out)
    print(f"  counts of {ORDER} characters {counted:>25.3f}")
    curves[f"counts of {ORDER}, held out"] = (1, epochs), (counted, counted)
    prompt = text.characters[: text.characters.index("\n") + 1]
    written = mn.generate(net, text.encode(prompt), 300, temperature=0.8, slide=True, seed=0)
    print(f"\n{prompt}{text.decode(written)}\n")

    arguments.out.mkdir(parents=True, exist_ok=True)
    title = "Reading a play with as many parameters"
    plots.curves(arguments.out / "transformer.png", curves, title=title, xlabel="epoch", ylabel="bits per character")


if __name__ == "__main__":
    main()
