"""Weights of networks of sequences to PyTorch and back, by safetensors files: an LSTM, and a transformer.

    python examples/sequences_and_pytorch.py

trains both for some steps on a task of words, writes a file, reads it with ``safetensors.torch``, and compares the
scores. Then PyTorch takes a step and writes a file, which minnet reads. What differs between the two libraries:

* All matrices but those of embeddings are transposes of each other.
* PyTorch's recurrent layers have two biases, which are added. Here is one, which goes to the first of them and becomes
  the sum of both on the way back. (Of a GRU, the part of the second for n is c here, and does not mix with b.)
* LayerNorm's gamma and beta are called weight and bias there.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import minnet as mn

VOCABULARY, TIME, WIDTH, UNITS, HEADS = 11, 12, 16, 24, 2
Names = dict[str, str]  # PyTorch's name of a tensor -> the name here


def lstm() -> tuple[list[mn.Layer], Names]:
    layers = [mn.Embedding(VOCABULARY, WIDTH), mn.LSTM(UNITS), mn.Dense(VOCABULARY)]
    names = {
        "embedding.weight": "0.W",
        "lstm.weight_ih_l0": "1.W",
        "lstm.weight_hh_l0": "1.U",
        "lstm.bias_ih_l0": "1.b",
    }
    return layers, names | {"head.weight": "2.W", "head.bias": "2.b"}


def transformer() -> tuple[list[mn.Layer], Names]:
    """A block of PyTorch's TransformerEncoderLayer with ``norm_first=True``."""
    attention = mn.Residual([mn.LayerNorm(), mn.SelfAttention(HEADS, causal=True)])
    mlp = mn.Residual([mn.LayerNorm(), mn.Dense(UNITS), mn.GELU(), mn.Dense(WIDTH)])
    layers = [
        mn.Embedding(VOCABULARY, WIDTH),
        mn.PositionalEncoding(learned=True),
        attention,
        mlp,
        mn.Dense(VOCABULARY),
    ]
    names = {"embedding.weight": "0.W", "places": "1.P"}
    for own, other in {"W_in": "in_proj_weight", "b_in": "in_proj_bias", "W_out": "out_proj.weight"}.items():
        names[f"block.self_attn.{other}"] = f"2.layers.1.{own}"
    names["block.self_attn.out_proj.bias"] = "2.layers.1.b_out"
    for other, own in {"block.linear1": "3.layers.1", "block.linear2": "3.layers.3", "head": "4"}.items():
        names |= {f"{other}.weight": f"{own}.W", f"{other}.bias": f"{own}.b"}
    for other, own in {"block.norm1": "2.layers.0", "block.norm2": "3.layers.0"}.items():
        names |= {f"{other}.weight": f"{own}.gamma", f"{other}.bias": f"{own}.beta"}
    return layers, names


def models() -> dict[str, tuple[tuple[list[mn.Layer], Names], Any]]:
    """By name: the layers here with the names of their weights, and PyTorch's module."""
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


def turned(name: str, array: Any) -> Any:
    """A tensor in the layout of the other library, in either direction."""
    same = array.ndim == 1 or name in ("embedding.weight", "places")
    return array if same else array.T


def to_pytorch(path: Path, names: Names, module: Any) -> None:
    """Load a file of minnet into a module. The second bias of an LSTM becomes 0."""
    import torch
    from safetensors.torch import load_file

    ours = load_file(path)
    state = {name: turned(name, ours[own]).contiguous() for name, own in names.items()}
    for name, there in module.state_dict().items():
        state.setdefault(name, torch.zeros_like(there))
    module.load_state_dict(state)


def from_pytorch(path: Path, names: Names, net: mn.Net) -> None:
    """Load a file of PyTorch into a net."""
    from safetensors.numpy import load_file

    theirs, parameters = load_file(path), net.named_parameters()
    for name, own in names.items():
        array = theirs[name]
        if name.startswith("lstm.bias_ih"):
            array = array + theirs[name.replace("bias_ih", "bias_hh")]
        parameters[own][...] = turned(name, array)


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
            mn.save_weights(net, path)
            to_pytorch(path, names, module)
            there = difference(net, module, words)

            scores = module(torch.from_numpy(words))
            torch.nn.functional.cross_entropy(scores.flatten(0, 1), torch.from_numpy(targets).flatten()).backward()
            torch.optim.SGD(module.parameters(), lr=0.1).step()
            save_file(module.state_dict(), path)
            moved = difference(net, module, words)
            from_pytorch(path, names, net)
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
