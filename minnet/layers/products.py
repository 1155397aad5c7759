"""Products of rows of features with weights, for layers with several of them, and initial weights of several in one."""

from dataclasses import dataclass

import numpy as np

from ..kernels.vector.product import multiply
from .memory import Memory
from .spec import Initializer, Shape


@dataclass(frozen=True)
class PerGate:
    """An initializer that draws the columns of each gate by themselves, as if each had a matrix of its own."""

    init: Initializer
    gates: int

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        rows, columns = shape
        return np.concatenate([self.init(rng, (rows, columns // self.gates)) for _ in range(self.gates)], axis=1)


def product(m: Memory, A: np.ndarray, B: np.ndarray, bias: np.ndarray, C: np.ndarray) -> None:
    """C = A @ B + bias; bias may be empty."""
    multiply(A, A.shape[1], 1, B, B.shape[1], 1, bias, m.no_floor, C, A.shape[1], m.work)


def product_with_transpose(m: Memory, A: np.ndarray, B: np.ndarray, C: np.ndarray) -> None:
    """C = A @ B.T."""
    multiply(A, A.shape[1], 1, B, 1, B.shape[1], m.nothing, m.no_floor, C, A.shape[1], m.work)


def product_of_transpose(m: Memory, A: np.ndarray, B: np.ndarray, C: np.ndarray) -> None:
    """C = A.T @ B."""
    multiply(A, 1, A.shape[1], B, B.shape[1], 1, m.nothing, m.no_floor, C, len(A), m.work)
