"""What an average of the weights costs a training step.

    python bench/averaging.py                   mnist_mlp and cifar10_3c3d
    python bench/averaging.py mnist_mlp

Whole training steps with and without one or two EMAs, in turns within one process; medians, and the medians of the
ratios within each round, as a shared machine's speed moves between rounds.
"""

import argparse
import statistics
import time

from workloads import LEARNING_RATE, WORKLOADS

import minnet as mn

STEPS = 10  # in a row, before the others have their turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=["mnist_mlp", "cifar10_3c3d"])
    parser.add_argument("--seconds", type=float, default=8.0, help="for each workload")
    arguments = parser.parse_args()
    kinds: dict[str, list[mn.EMA]] = {
        "none": [],
        "EMA(0.999)": [mn.EMA(0.999)],
        "two decays": [mn.EMA(0.99), mn.EMA(0.999)],
        "EMA(0.999, every=4)": [mn.EMA(0.999, every=4)],
    }
    print("| workload | parameters | " + " | ".join(f"{kind}, us" for kind in kinds) + " | " + "share of the step |")
    for name in arguments.workloads:
        work = WORKLOADS[name]
        net, (x, y) = work.net(), work.data()
        optimizer = mn.Optimizer(net, work.rule)
        for averages in kinds.values():
            for average in averages:
                average.count = 0  # another net begins

        def run(averages: list[mn.EMA], net=net, optimizer=optimizer, x=x, y=y) -> float:
            start = time.perf_counter()
            for _ in range(STEPS):
                net.loss_and_grads(x, y)
                optimizer.step(LEARNING_RATE)
                for average in averages:
                    if optimizer.steps % average.every == 0:  # as a trainer would call it
                        average.update(net)
            return (time.perf_counter() - start) / STEPS

        for averages in kinds.values():
            run(averages)
        rounds: list[list[float]] = []
        end = time.perf_counter() + arguments.seconds
        while time.perf_counter() < end or len(rounds) < 5:
            rounds.append([run(averages) for averages in kinds.values()])
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        ratios = [statistics.median(r[i] / r[0] - 1 for r in rounds) for i in range(1, len(kinds))]
        shares = ", ".join(f"{kind} {ratio:+.1%}" for kind, ratio in zip(list(kinds)[1:], ratios, strict=True))
        cells = [name, f"{net.params.size:,}", *(f"{1e6 * median:.0f}" for median in medians), shares]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
