"""Weights of networks of sequences to PyTorch and back, by safetensors files: an LSTM, and a transformer.

    python examples/sequences_and_pytorch.py

trains both for some steps on a task of words, gives the weights to PyTorch (``mn.to_torch``), and compares the scores.
Then PyTorch takes a step and writes a file, which minnet reads (``mn.from_torch``). The modules there are attributes of
a class instead of an ``nn.Sequential``, so ``names`` says which layer is which module.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import minnet as mn

VOCABULARY, TIME, WIDTH, UNITS, HEADS = 11, 12, 16, 24, 2
Names = dict[str, str]  # place of a layer here -> name of the module there


def lstm() -> tuple[list[mn.Layer], Names]:
    layers = [mn.Embedding(VOCABULARY, WIDTH), mn.LSTM(UNITS), mn.Dense(VOCABULARY)]
    return layers, {"0": "embedding", "1": "lstm", "2": "head"}


def transformer() -> tuple[list[mn.Layer], Names]:
    """A block of PyTorch's TransformerEncoderLayer with ``norm_first=True``."""
    layers = [
        mn.Embedding(VOCABULARY, WIDTH),
        mn.PositionalEncoding(learned=True),
        mn.Residual([mn.LayerNorm(), mn.SelfAttention(HEADS, causal=True)]),
        mn.Residual([mn.LayerNorm(), mn.Dense(UNITS), mn.GELU(), mn.Dense(WIDTH)]),
        mn.Dense(VOCABULARY),
    ]
    names = {"0": "embedding", "1.P": "places", "4": "head"}
    names |= {"2.layers.0": "block.norm1", "2.layers.1": "block.self_attn"}
    return layers, names | {"3.layers.0": "block.norm2", "3.layers.1": "block.linear1", "3.layers.3": "block.linear2"}


def models() -> dict[str, tuple[tuple[list[mn.Layer], Names], Any]]:
    """By name: the layers here with the names of their modules, and PyTorch's model."""
    import torch
    from torch import nn

    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.lstm = nn.LSTM(WIDTH, UNITS, batch_first=True)
            self.head = nn.Linear(UNITS, VOCABULARY)

        def forward(self, words: Any) -> Any:
            return self.head(self.lstm(self.embedding(words))[0])

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.places = nn.Parameter(torch.zeros(TIME, WIDTH))
            self.block = nn.TransformerEncoderLayer(
                WIDTH, HEADS, UNITS, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.head = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, words: Any) -> Any:
            hidden = nn.Transformer.generate_square_subsequent_mask(TIME)
            return self.head(self.block(self.embedding(words) + self.places, src_mask=hidden, is_causal=True))

    return {"LSTM": (lstm(), Lstm()), "transformer": (transformer(), Transformer())}


def difference(net: mn.Net, module: Any, words: np.ndarray) -> float:
    """The largest difference of two scores, as a share of the largest score."""
    import torch

    ours = net.predict(words)
    with torch.no_grad():
        theirs = module(torch.from_numpy(words)).numpy()
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    try:
        import torch
        from safetensors.numpy import load_file
        from safetensors.torch import save_file
    except ImportError as error:
        print(f"sequences_and_pytorch.py: nothing shown, since PyTorch is not installed ({error})")
        return 0
    words = np.random.default_rng(0).integers(0, VOCABULARY, (256, TIME))
    targets = np.concatenate([words[:, :1], words[:, :-1]], axis=1)  # the word before
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, ((layers, names), module) in models().items():
            net, path = mn.Net(layers, TIME, mn.SoftmaxCrossEntropy(), seed=0), Path(folder) / "weights.safetensors"
            mn.fit(
                net, (words, targets), rule=mn.Adam(), lr=0.01, batch_size=32, epochs=arguments.epochs, progress=False
            )
            module.load_state_dict(mn.to_torch(net, names=names))
            there = difference(net, module, words)

            scores = module(torch.from_numpy(words))
            torch.nn.functional.cross_entropy(scores.flatten(0, 1), torch.from_numpy(targets).flatten()).backward()
            torch.optim.SGD(module.parameters(), lr=0.1).step()
            save_file(module.state_dict(), path)
            moved = difference(net, module, words)
            mn.from_torch(net, load_file(path), names=names)  # this line needs no PyTorch
            back = difference(net, module, words)
            print(f"{name:12} {net.params.size:,} parameters; largest difference of scores: {there:.1e} in PyTorch, "
                  f"{moved:.1e} after its step, {back:.1e} with its weights back here")  # fmt: skip
            worst = max(worst, there, back)
    if worst > 1e-5:  # both round in float32, each in its own order
        print("sequences_and_pytorch.py: expected differences below 1e-5")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
