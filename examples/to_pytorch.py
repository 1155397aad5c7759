"""Weights out of a checkpoint and into PyTorch, by name, for a fully connected and a convolutional network.

    python examples/to_pytorch.py

trains both on the digits for two epochs, saves each run, reads the files with ``safetensors.torch`` (minnet has no part
in that) and shows that PyTorch computes the same scores. What differs between the two libraries is the layout:

* Dense keeps W as (inputs, units), Linear as (units, inputs): transpose.
* Conv2D keeps W as (kernel rows, kernel columns, channels, filters), torch's as (filters, channels, rows, columns).
* Images are (rows, columns, channels) here and (channels, rows, columns) there, so what Flatten makes of an image has
  another order, and so have the rows of the Dense behind it.
* BatchNorm's gamma and beta are called weight and bias there; the running mean and variance have the same names.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import minnet as mn


def train(layers: list[mn.Layer], data: mn.data.Data, path: Path, epochs: int) -> mn.Net:
    net = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=0)
    trainer = mn.Trainer(net, data, rule=mn.Adam(), lr=2e-3, batch_size=50, epochs=epochs, seed=0)
    trainer.run(progress=False)
    trainer.save(path)
    return net


def dense_rows(weights: Any, rows: int, columns: int, channels: int) -> Any:
    """A Dense's W behind a Flatten of images, with its inputs in torch's order: channels first."""
    return weights.reshape(rows, columns, channels, -1).permute(2, 0, 1, 3).reshape(rows * columns * channels, -1)


def fully_connected(tensors: dict[str, Any]) -> Any:
    import torch

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 40), torch.nn.ReLU(), torch.nn.Linear(40, 10))
    names = {
        # The images have one channel, so their order is the same.
        **{"1.weight": tensors["1.W"].T, "1.bias": tensors["1.b"]},
        **{"3.weight": tensors["3.W"].T, "3.bias": tensors["3.b"]},
    }
    model.load_state_dict(names)
    return model.eval()


def convolutional(tensors: dict[str, Any]) -> Any:
    import torch

    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 12, 3, padding=1),
        torch.nn.BatchNorm2d(12, eps=1e-5),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 4 * 12, 10),
    )
    names = {
        **{"0.weight": tensors["0.W"].permute(3, 2, 0, 1), "0.bias": tensors["0.b"]},
        **{"1.weight": tensors["1.gamma"], "1.bias": tensors["1.beta"]},
        **{f"1.running_{name}": tensors[f"1.running_{name}"] for name in ("mean", "var")},
        **{"5.weight": dense_rows(tensors["5.W"], 4, 4, 12).T, "5.bias": tensors["5.b"]},
        "1.num_batches_tracked": torch.tensor(0),
    }
    model.load_state_dict(names)
    return model.eval()


NETWORKS = {
    "fully connected": ([mn.Flatten(), mn.Dense(40), mn.ReLU(), mn.Dense(10)], fully_connected),
    "convolutional": (
        [mn.Conv2D(12, 3), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(10)],
        convolutional,
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    try:
        import torch
        from safetensors.torch import load_file
    except ImportError as error:
        print(f"to_pytorch.py: nothing shown, since PyTorch is not installed ({error})")
        return 0
    data, test = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        for name, (layers, build) in NETWORKS.items():
            path = Path(folder) / "run.ckpt"
            net = train(layers, data, path, arguments.epochs)
            model = build(load_file(path))
            with torch.no_grad():
                theirs = model(torch.from_numpy(test[0].transpose(0, 3, 1, 2).copy())).numpy()
            ours = net.predict(test[0])
            difference = float(np.abs(ours - theirs).max())
            bound = 1e-5 * float(np.abs(ours).max())  # both round in float32, each in its own order
            same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
            print(f"{name:16} accuracy {net.evaluate(*test)['accuracy']:.1%}; largest difference of any score "
                  f"{difference:.1e} of {np.abs(ours).max():.1f}; {same} of {len(ours)} classes the same")  # fmt: skip
            if difference > bound:
                print(f"to_pytorch.py: expected differences below {bound:.1e}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
