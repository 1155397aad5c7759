"""Data-parallel training on the digits that come with minnet: the same bits with 1, 2 and 4 processes.

    python examples/distributed.py
    mpiexec -n 4 python -m mpi4py examples/distributed.py       pip install 'minnet[mpi]' mpich

Started again, the run goes on from its last checkpoint, also with another number of processes.
"""

import argparse
import zlib
from pathlib import Path

import minnet as mn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for the checkpoints")
    arguments = parser.parse_args()

    train, val = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    layers = [
        *(mn.Conv2D(16, 3), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2)),
        *(mn.Flatten(), mn.Dropout(0.2), mn.Dense(10)),
    ]
    net = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=0)

    exchange = mn.distributed.MPI(shards=4)
    folder = arguments.out / "distributed"
    given = {"rule": mn.Momentum(0.9), "validation": val, "callbacks": [mn.Checkpoint(folder)], "exchange": exchange}
    if any(folder.glob("*.ckpt")):
        trainer = mn.Trainer.resume(folder, net, train, **given)
        trainer.steps = arguments.epochs * len(trainer.batches)
    else:
        trainer = mn.Trainer(net, train, lr=0.05, batch_size=64, epochs=arguments.epochs, **given)
    history = trainer.run()

    if trainer.writes:
        accuracy = history.epochs.rows[-1]["val_accuracy"]
        print(f"{exchange.ranks} ranks: validation accuracy {accuracy:.3f}, weights {zlib.crc32(net.params):08x}")


if __name__ == "__main__":
    main()
