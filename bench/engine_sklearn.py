"""Whole runs in scikit-learn: MLPClassifier.fit, from start weights like those of the other engines."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from trainings import Data, Problem


class Classifier(MLPClassifier):
    """MLPClassifier with the start weights of ``Problem.start``: scikit-learn's own need more steps on the spirals."""

    def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        weights = self._random_state.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)
        return weights.astype(dtype), np.zeros(fan_out, dtype)


class Sklearn:
    """No penalty, and no end before the last epoch."""

    def __init__(self, problem: Problem, data: Data, threads: int) -> None:
        self.problem, self.data = problem, data
        warnings.simplefilter("ignore", ConvergenceWarning)  # that the last epoch was reached

    def train(self, runs: np.ndarray) -> np.ndarray:
        return np.array([self.run(*pair) for pair in zip(runs.tolist(), self.problem.rate(runs).tolist(), strict=True)])

    def run(self, seed: int, rate: float) -> float:
        problem = self.problem
        model = Classifier(
            problem.units[1:-1], solver="adam" if problem.rule == "adam" else "sgd", alpha=0.0,
            batch_size=problem.batch, learning_rate_init=rate, max_iter=problem.epochs, random_state=seed, tol=0.0,
            momentum=0.9 if problem.rule == "momentum" else 0.0, nesterovs_momentum=False,
            n_iter_no_change=problem.epochs + 1,
        )  # fmt: skip
        model.fit(self.data.x, self.data.y)
        return float(model.score(self.data.held_x, self.data.held_y))
