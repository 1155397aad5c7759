"""``mn.sklearn.Classifier`` beside scikit-learn's ``MLPClassifier``, at equal settings: seconds a fit, and accuracy.

    python bench/sklearn_mlp.py [--rounds 5] [--threads 2]

Both have the same hidden layers, batch size and number of epochs, Adam with the same learning rate, no penalty and no
early end, and the same features, in float32. Hidden weights start from the same distribution. Their values and the
orders are each library's own, so accuracies are means over seeds, one for each round. The two take turns. A first fit
of each, which loads or compiles minnet's kernels, is reported apart.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

import minnet as mn
from minnet.layers.initializers import GlorotUniform
from minnet.sklearn import Classifier


@dataclass(frozen=True)
class Setting:
    """Data, and how a network is trained on them."""

    name: str
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    layers: tuple[int, ...]
    batch_size: int
    epochs: int
    lr: float

    def classifiers(self, seed: int) -> dict[str, Any]:
        """The two estimators."""
        same = {"batch_size": self.batch_size, "random_state": seed}
        theirs = {"alpha": 0.0, "n_iter_no_change": self.epochs, "tol": 0.0, "max_iter": self.epochs}
        ours = [layer for units in self.layers for layer in (mn.Dense(units, init=GlorotUniform()), mn.ReLU())]
        return {
            "minnet": Classifier(ours, rule=mn.Adam(eps_on_corrected=False), lr=self.lr, epochs=self.epochs, **same),
            "scikit-learn": MLPClassifier(self.layers, learning_rate_init=self.lr, **theirs, **same),
        }


def digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = mn.datasets.digits()
    return x.reshape(len(x), -1), y


def synthetic() -> tuple[np.ndarray, np.ndarray]:
    options = {"n_features": 100, "n_informative": 30, "n_classes": 10, "class_sep": 2.0}
    x, y = make_classification(20_000, **options, random_state=0)
    return x.astype(np.float32), y


SETTINGS = (
    Setting("iris, 150 x 4", mn.datasets.iris, (16,), 30, 100, 0.01),
    Setting("digits, 1,797 x 64", digits, (100,), 64, 30, 1e-3),
    Setting("synthetic, 20,000 x 100", synthetic, (256, 128), 200, 10, 1e-3),
)


def measure(setting: Setting, rounds: int) -> dict[str, tuple[float, np.ndarray, np.ndarray]]:
    """Return (seconds of the first fit, seconds of each round, accuracies) of each library."""
    x, y = setting.data()
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(rounds + 1):
        for name, classifier in setting.classifiers(seed).items():
            start = time.perf_counter()
            classifier.fit(train_x, train_y)
            seconds = time.perf_counter() - start
            assert classifier.n_iter_ == setting.epochs
            found.setdefault(name, []).append((seconds, classifier.score(test_x, test_y)))
    return {name: (rows[0][0], *np.array(rows[1:]).T) for name, rows in found.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=mn.get_num_threads())
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ConvergenceWarning)  # that the last epoch was reached
    mn.set_num_threads(options.threads)
    print(f"scikit-learn {sklearn.__version__}, {options.threads} threads, {options.rounds} rounds\n")
    print("| data | hidden units | library | ms a fit | first fit, ms | accuracy | time / minnet |")
    print("|---|---|---|---|---|---|---|")
    with threadpool_limits(options.threads):
        for setting in SETTINGS:
            found = measure(setting, options.rounds)
            for name, (first, seconds, accuracies) in found.items():
                ratio = np.median(seconds / found["minnet"][1])
                accuracy = f"{accuracies.mean():.3f} ± {accuracies.std():.3f}"
                units = ", ".join(map(str, setting.layers))
                figures = f"{1e3 * np.median(seconds):,.0f} | {1e3 * first:,.0f} | {accuracy} | {ratio:.1f}"
                print(f"| {setting.name} | {units} | {name} | {figures} |")


if __name__ == "__main__":
    main()
