"""Functions of two variables with gradients by hand, on which the path of an update rule can be seen.

A landscape is a frozen description. Its formulas take coordinates x and y, numbers or arrays of one shape;
``value`` and ``gradient`` take points of shape (..., 2), a single one or a whole grid, and compute in float64.
``descend`` runs an update rule on one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import checks, streams
from ..schedules import Schedule
from .optimizer import Optimizer
from .rules import Rule

Pair = tuple[float, float]


class Landscape:
    """A function f(x, y): a frozen dataclass that defines ``height`` and ``slopes``.

    Attributes:
        minima: the points of the global minimum.
        lowest: the value there.
        window: ((x from, to), (y from, to)), the part that is worth drawing.
        starts: points to start from.
    """

    minima: ClassVar[tuple[Pair, ...]] = ((0.0, 0.0),)
    lowest: ClassVar[float] = 0.0
    window: ClassVar[tuple[Pair, Pair]]
    starts: ClassVar[tuple[Pair, ...]]

    def height(self, x: Any, y: Any) -> Any:
        """f(x, y)."""
        raise NotImplementedError(f"{type(self).__name__} must define height(x, y)")

    def slopes(self, x: Any, y: Any) -> tuple[Any, Any]:
        """(df/dx, df/dy)."""
        raise NotImplementedError(f"{type(self).__name__} must define slopes(x, y)")

    def noise(self, seed: int, step: int) -> np.ndarray | float:
        """What a step counted from 0 sees added to the gradient, of shape (2,): a function of seed and step alone."""
        return 0.0

    def value(self, points: Any) -> np.ndarray:
        """f at points (..., 2), of shape (...)."""
        return self.height(*self._coordinates(points))

    def gradient(self, points: Any) -> np.ndarray:
        """The exact gradient at points (..., 2), of their shape."""
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
    """(1 - x)^2 + 100 (y - x^2)^2: a curved valley, found at once and followed slowly.

    Rosenbrock 1960, who starts from (-1.2, 1).
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

    Beale 1958; the start (1, 1) is that of Moré, Garbow, Hillstrom 1981, problem 5.
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
    """x^2 / 2 + y^4 / 4 - y^2 / 2: a saddle at (0, 0) between two minima. Nesterov 2004, example 1.2.2.

    Gradient descent from any (x, 0) ends on the saddle; the starts lie beside that line.
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

    Boyd and Vandenberghe 2004, section 9.3.2, unturned. Turned, because a rule that scales each coordinate by itself
    undoes a valley along an axis.
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
    """(x^2 + condition * y^2) / 2, whose gradient comes with noise N(0, scale^2) in x, N(0, scale^2 * condition) in y.

    The model of Zhang et al. 2019 ("Which algorithmic choices matter at which batch sizes?", section 3), where the
    noise has the Hessian as its covariance: gradient descent at a constant rate stays at a distance from the minimum.
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
    """20 + x^2 - 10 cos(2 pi x) + y^2 - 10 cos(2 pi y): a bowl with a dent near each pair of integers.

    Rastrigin 1974, in two dimensions.
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
    """The path of ``rule`` from ``start``: shape (steps + 1, 2), float64, the start included.

    A path that diverges ends with its last point where point and gradient are finite; the rows after it are NaN.

    Args:
        landscape: the function.
        rule: any update rule, one of your own too; one that searches along a line takes several gradients a step.
        start: two finite numbers.
        lr: a number, or a schedule of the step.
        steps: number of updates.
        seed: of the landscape's noise, if it has any. All rules see the same noise at the same step.
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
