"""A list of ONNX's operators that grows, with the constants that they take. It needs no other package."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

OPSET = 17  # of June 2022, the first with LayerNormalization


class Value(NamedTuple):
    """What an operator returns.

    Attributes:
        name: its name in the graph.
        first: whether it is images with channels first.
    """

    name: str
    first: bool = False


class Graph:
    """Operators in their order, as (operator, inputs, outputs, attributes), and constants by name."""

    INPUT: ClassVar[str] = "input"
    OUTPUT: ClassVar[str] = "output"

    def __init__(self) -> None:
        self.operators: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def integers(self, numbers: Sequence[int]) -> str:
        """Add whole numbers, such as a shape, and return their name."""
        return self.constant(numbers, np.int64)

    def add(self, operator: str, *inputs: str, output: str | None = None, outputs: int = 1, **options: Any) -> str:
        """Add an operator and return the name of its output, the last of several (``outputs``).

        An output of another number has the same name with that number behind a dot, from 0.
        """
        name = output or f"{operator}{len(self.operators)}"
        names = [f"{name}.{i}" for i in range(outputs - 1)] + [name]
        self.operators.append((operator, list(inputs), names, options))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape samples; the axis of the batch stays."""
        return self.add("Reshape", x, self.integers([0, *shape]))

    def transpose(self, x: str, *axes: int) -> str:
        """Transpose; the axes include that of the batch."""
        return self.add("Transpose", x, perm=list(axes))

    def last(self, x: Value) -> Value:
        """Return images with channels last; other values as they are."""
        return Value(self.transpose(x.name, 0, 2, 3, 1)) if x.first else x

    def first(self, x: Value) -> str:
        """Return images with channels first."""
        return x.name if x.first else self.transpose(x.name, 0, 3, 1, 2)
