"""Weights of a run into PyTorch, for a fully connected and a convolutional network.

    python examples/to_pytorch.py

trains both on the digits for two epochs, loads the checkpoint of each run, gives the weights to an ``nn.Sequential`` of
the corresponding modules, and shows that PyTorch computes the same scores. ``mn.to_torch`` knows the names and layouts
of both libraries, also that a flattened image has its channels first there. PyTorch gets the images with channels
first.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import minnet as mn


def train(layers: list[mn.Layer], data: mn.data.Data, path: Path, epochs: int) -> None:
    net = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=0)
    trainer = mn.Trainer(net, data, rule=mn.Adam(), lr=2e-3, batch_size=50, epochs=epochs, seed=0)
    trainer.run(progress=False)
    trainer.save(path)


def fully_connected(nn: Any) -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))


def convolutional(nn: Any) -> Any:
    features = nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12, eps=1e-5), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(4 * 4 * 12, 10))


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
    except ImportError as error:
        print(f"to_pytorch.py: nothing shown, since PyTorch is not installed ({error})")
        return 0
    data, test = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        for name, (layers, build) in NETWORKS.items():
            path = Path(folder) / "run.ckpt"
            train(layers, data, path, arguments.epochs)
            net = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy())
            mn.load_weights(net, path)
            model = build(torch.nn).eval()
            model.load_state_dict(mn.to_torch(net))
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
