"""A small transformer that reads a play character by character, beside an LSTM of as many parameters.

    python examples/transformer.py                Coriolanus, which is bundled: minutes on two cores
    python examples/transformer.py --data FOLDER  all of tinyshakespeare (FOLDER/tinyshakespeare/input.txt)

The transformer is GPT-2's in miniature: learned positions, blocks of causal attention and of two Dense layers with a
GELU, each with its norm first, and scores from the embeddings of the characters. It reads windows of 64 characters. The
LSTM is that of char_lstm.py, which carries its state on from window to window. Both are trained with Adam and a cosine
on as many characters.

The measure is bits per character of held-out text, the last tenth. There the transformer reads windows that overlap by
half, and only the second half of each counts, so that it has read at least 32 characters before. The LSTM has read all
of them. On Coriolanus, of 139,000 characters to learn from, the LSTM is ahead by four hundredths of a bit. The figure
goes into the folder named by --out.
"""

import argparse
import itertools
import math
import time
from pathlib import Path

import numpy as np
from char_lstm import STREAMS, WINDOW, HeldOut
from char_lstm import train as train_recurrent

import minnet as mn
from minnet import plots
from minnet.data import Text


def block(width: int, heads: int, dropout: float) -> list[mn.Layer]:
    """A block of GPT-2: Radford et al. 2019."""
    attention = [mn.LayerNorm(), mn.SelfAttention(heads, causal=True), mn.Dropout(dropout)]
    mlp = [mn.LayerNorm(), mn.Dense(4 * width), mn.GELU(), mn.Dense(width), mn.Dropout(dropout)]
    return [mn.Residual(attention), mn.Residual(mlp)]


def transformer(vocabulary: int, width: int, blocks: int, heads: int, dropout: float) -> mn.Net:
    """A network that scores the next character at each position of a window."""
    inner = [mn.PositionalEncoding(learned=True), mn.Dropout(dropout)]
    inner += [layer for _ in range(blocks) for layer in block(width, heads, dropout)]
    embedding = mn.Embedding(vocabulary, width, init=mn.initializers.Normal(0.02))
    tied = mn.TiedEmbedding(embedding, [*inner, mn.LayerNorm()])
    return mn.Net(tied, WINDOW, mn.SoftmaxCrossEntropy(), seed=0)


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
    steps = epochs * -(-len(data[0]) // STREAMS)
    return mn.fit(
        net,
        data,
        rule=mn.Adam(beta2=0.99),
        lr=mn.schedules.Warmup(steps // 20, mn.schedules.Cosine(rate, steps - steps // 20)),
        batch_size=STREAMS,
        epochs=epochs,
        weight_decay=0.1,
        clip_norm=1.0,
        callbacks=[HeldOutWindows(held_out)],
    )


def units_for(parameters: int, vocabulary: int) -> int:
    """Units of an LSTM with the embedding and the Dense of char_lstm.py, with at least as many parameters."""
    sizes = (4 * u * (32 + u + 1) + 32 * vocabulary + (u + 1) * vocabulary for u in itertools.count(1))
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
    size = len(text.vocabulary)
    print(f"{len(learnt):,} characters to learn from, {len(held_out):,} held out, {size} different ones")

    net = transformer(size, arguments.width, arguments.blocks, heads=4, dropout=arguments.dropout)
    begun = time.perf_counter()
    history, curves = train(net, learnt, held_out, arguments.epochs, arguments.rate), {}
    taken, parameters = time.perf_counter() - begun, net.params.size
    begun = time.perf_counter()
    layer = mn.LSTM(units_for(parameters, size), streams=STREAMS)
    recurrent, other = train_recurrent(layer, learnt, held_out, arguments.epochs, 0.01)
    print("bits per character, held out at the end, and the least after any epoch:")
    for name, run, count, seconds in (
        ("transformer", history, parameters, taken),
        ("LSTM", other, recurrent.params.size, time.perf_counter() - begun),
    ):
        bits = run["val_bits"]
        print(f"  {name:12} {count:>9,} parameters {bits[-1]:>9.3f} {min(bits):>9.3f}   ({seconds:.0f} s)")
        curves[f"{name}, held out"] = run["epoch"], bits
        curves[f"{name}, training"] = run["epoch"], [loss / math.log(2) for loss in run["loss"]]
    prompt = text.characters[: text.characters.index("\n") + 1]
    written = mn.generate(net, text.encode(prompt), 300, temperature=0.8, slide=True, seed=0)
    print(f"\n{prompt}{text.decode(written)}\n")

    arguments.out.mkdir(parents=True, exist_ok=True)
    title = "Reading a play with as many parameters"
    plots.curves(arguments.out / "transformer.png", curves, title=title, xlabel="epoch", ylabel="bits per character")


if __name__ == "__main__":
    main()
