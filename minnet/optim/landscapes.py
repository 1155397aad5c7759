"""Functions of two variables with exact gradients, for looking at the path of an update rule.

A landscape is a frozen dataclass. Its formulas take coordinates x and y, which are numbers or arrays of one shape.
``value`` and ``gradient`` take points of shape (..., 2), one point or a grid, and compute in float64. ``descend`` runs
an update rule on a landscape.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..base import checks, streams
from ..schedules import Schedule
from .optimizer import Optimizer
from .rules import Rule

Pair = tuple[float, float]


class Landscape:
    """Base class of landscapes: a frozen dataclass that defines ``height`` and ``slopes``.

    Class attributes:
        minima: the points of the global minimum.
        lowest: the value at the global minimum.
        window: ((x from, to), (y from, to)), the part to draw.
        starts: points to start from.
    """

    minima: ClassVar[tuple[Pair, ...]] = ((0.0, 0.0),)
    lowest: ClassVar[float] = 0.0
    window: ClassVar[tuple[Pair, Pair]]
    starts: ClassVar[tuple[Pair, ...]]

    def height(self, x: Any, y: Any) -> Any:
        """Return f(x, y).

        Args:
            x, y: coordinates, numbers or arrays of one shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define height(x, y)")

    def slopes(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return (df/dx, df/dy).

        Args:
            x, y: coordinates, numbers or arrays of one shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define slopes(x, y)")

    def noise(self, seed: int, step: int) -> np.ndarray | float:
        """Return the noise of a step, counted from 0, of shape (2,). It depends on seed and step only.

        Args:
            seed: seed of the noise.
            step: the step, counted from 0.
        """
        return 0.0

    def value(self, points: Any) -> np.ndarray:
        """Return f at points (..., 2), in shape (...).

        Args:
            points: shape (..., 2).
        """
        return self.height(*self._coordinates(points))

    def gradient(self, points: Any) -> np.ndarray:
        """Return the exact gradient at points (..., 2), in their shape.

        Args:
            points: shape (..., 2).
        """
        return np.stack(self.slopes(*self._coordinates(points)), axis=-1)

    def _coordinates(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        points = checks.array(type(self).__name__, "points", points)
        if points.shape[-1:] != (2,) or points.dtype.kind not in "fiu":
            raise ValueError(
                f"{type(self).__name__}: expected points as numbers of shape (..., 2); "
                f"got shape {points.shape}, dtype {points.dtype}"
            )
        points = points.astype(np.float64, copy=False)
        return points[..., 0], points[..., 1]


@dataclass(frozen=True)
class Rosenbrock(Landscape):
    """(1 - x)^2 + 100 (y - x^2)^2: a curved valley, which is easy to reach and hard to follow.

    Source: Rosenbrock 1960, with the start (-1.2, 1).
    """

    minima = ((1.0, 1.0),)
    window = ((-2.0, 2.0), (-1.0, 3.0))
    starts = ((-1.2, 1.0), (0.0, -0.5))

    def height(self, x: Any, y: Any) -> Any:
        return (1 - x) ** 2 + 100 * (y - x * x) ** 2

    def slopes(self, x: Any, y: Any) -> tuple[Any, Any]:
        above = y - x * x
        return -2 * (1 - x) - 400 * x * above, 200 * above


@dataclass(frozen=True)
class Beale(Landscape):
    """(1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2: plateaus between steep walls.

    Source: Beale 1958, with the start (1, 1) of Moré, Garbow, Hillstrom 1981, problem 5.
    """

    minima = ((3.0, 0.5),)
    window = ((-1.5, 4.0), (-2.0, 2.0))
    starts = ((1.0, 1.0), (-1.0, -1.0))

    def height(self, x: Any, y: Any) -> Any:
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2

    def slopes(self, x: Any, y: Any) -> tuple[Any, Any]:
        first, second, third = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
        return (
            2 * (first * (y - 1) + second * (y**2 - 1) + third * (y**3 - 1)),
            2 * x * (first + 2 * y * second + 3 * y**2 * third),
        )


@dataclass(frozen=True)
class Saddle(Landscape):
    """x^2 / 2 + y^4 / 4 - y^2 / 2: a saddle at (0, 0) between two minima.

    Gradient descent from any point (x, 0) ends at the saddle. The starts are near this line.

    Source: Nesterov 2004, example 1.2.2.
    """

    minima = ((0.0, -1.0), (0.0, 1.0))
    lowest = -0.25
    window = ((-1.5, 1.5), (-1.5, 1.5))
    starts = ((1.0, 0.001), (-1.0, -0.1))

    def height(self, x: Any, y: Any) -> Any:
        return x**2 / 2 + y**2 * (y**2 - 2) / 4  # a product: far away it is inf, not inf - inf

    def slopes(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x, y**3 - y


@dataclass(frozen=True)
class LongValley(Landscape):
    """(u^2 + condition * v^2) / 2, where (u, v) are the axes turned by ``angle`` degrees.

    A rule that scales each coordinate by itself removes the difference between the axes if they are not turned.

    Args:
        condition: condition number of the Hessian, above 0.
        angle: angle in degrees.

    Source: Boyd and Vandenberghe 2004, section 9.3.2, where it is not turned.
    """

    condition: float = 100.0
    angle: float = 30.0
    window = ((-5.0, 5.0), (-4.0, 4.0))
    starts = ((-4.0, 0.0), (3.0, 3.0))

    def __post_init__(self) -> None:
        checks.positive("LongValley", "condition", self.condition)
        checks.number("LongValley", "angle", self.angle)

    def _turn(self) -> Pair:
        return math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))

    def height(self, x: Any, y: Any) -> Any:
        cos, sin = self._turn()
        return ((cos * x + sin * y) ** 2 + self.condition * (cos * y - sin * x) ** 2) / 2

    def slopes(self, x: Any, y: Any) -> tuple[Any, Any]:
        cos, sin = self._turn()
        u, v = cos * x + sin * y, self.condition * (cos * y - sin * x)
        return cos * u - sin * v, sin * u + cos * v


@dataclass(frozen=True)
class NoisyQuadratic(Landscape):
    """(x^2 + condition * y^2) / 2, with noise in the gradient: N(0, scale^2) in x and N(0, scale^2 * condition) in y.

    The covariance of the noise is proportional to the Hessian. Gradient descent with a constant learning rate stays at
    a distance from the minimum.

    Args:
        condition: condition number of the Hessian, above 0.
        scale: standard deviation of the noise in x, at least 0.

    Source: Zhang et al. 2019, "Which algorithmic choices matter at which batch sizes?", section 3.
    """

    condition: float = 10.0
    scale: float = 1.0
    window = ((-4.0, 4.0), (-3.0, 3.0))
    starts = ((-3.0, 2.0), (3.0, -1.0))

    def __post_init__(self) -> None:
        checks.positive("NoisyQuadratic", "condition", self.condition)
        checks.non_negative("NoisyQuadratic", "scale", self.scale)

    def height(self, x: Any, y: Any) -> Any:
        return (x * x + self.condition * y * y) / 2

    def slopes(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x, self.condition * y

    def noise(self, seed: int, step: int) -> np.ndarray | float:
        drawn = streams.generator(seed, "noise of a landscape", step).standard_normal(2)
        return drawn * (self.scale, self.scale * math.sqrt(self.condition))


@dataclass(frozen=True)
class Rastrigin(Landscape):
    """20 + x^2 - 10 cos(2 pi x) + y^2 - 10 cos(2 pi y): a bowl with a local minimum near each pair of integers.

    Source: Rastrigin 1974, in two dimensions.
    """

    window = ((-5.12, 5.12), (-5.12, 5.12))
    starts = ((-3.4, 2.6), (2.3, -4.4))

    def height(self, x: Any, y: Any) -> Any:
        return 20 + x**2 + y**2 - 10 * (np.cos(2 * np.pi * x) + np.cos(2 * np.pi * y))

    def slopes(self, x: Any, y: Any) -> tuple[Any, Any]:
        return 2 * x + 20 * np.pi * np.sin(2 * np.pi * x), 2 * y + 20 * np.pi * np.sin(2 * np.pi * y)


def descend(
    landscape: Landscape,
    rule: Rule,
    start: Any,
    *,
    lr: Schedule | Callable[[int], float] | float,
    steps: int,
    seed: int = 0,
) -> np.ndarray:
    """Return the path of an update rule on a landscape.

    Args:
        landscape: the function.
        rule: any update rule. A rule that searches along a line evaluates several gradients per step.
        start: point to start from, two finite numbers.
        lr: learning rate: a number, or a schedule of the step.
        steps: number of updates.
        seed: seed of the noise, if the landscape has any. The noise of a step does not depend on the rule.

    Returns:
        Points, float64 (steps + 1, 2), with the start first. If the path diverges, the rows after the last point with
        finite coordinates and a finite gradient are NaN.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """
    if not isinstance(landscape, Landscape):
        raise TypeError(f"descend: expected a landscape, such as Rosenbrock(); got {landscape!r}")
    given = checks.array("descend", "start", start)
    if given.shape != (2,) or given.dtype.kind not in "fiu" or not np.isfinite(given).all():
        raise ValueError(f"descend: expected start as two finite numbers; got {start!r}")
    params = np.array(given, np.float64)
    checks.count("descend", "seed", seed, least=0)
    path = np.full((checks.count("descend", "steps", steps) + 1, 2), np.nan)
    path[0] = params
    grads = np.empty(2)
    optimizer = Optimizer.over(params, grads, rule)

    def evaluate(step: int) -> float:
        noise = landscape.noise(seed, step)
        grads[:] = landscape.gradient(params) + noise
        return float(landscape.value(params) + np.sum(noise * params))  # that whose gradient this is

    with np.errstate(over="ignore", invalid="ignore"):  # where a path diverges, the row of NaN says so
        for step in range(steps):
            loss = evaluate(step)
            if not np.isfinite(grads).all():
                break
            try:
                optimizer.step(lr, loss=loss, evaluate=partial(evaluate, step))
            except FloatingPointError:  # a gradient that the rule refuses
                break
            if not np.isfinite(params).all():
                break
            path[step + 1] = params
    return path
