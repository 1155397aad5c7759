"""The modes of a check: all coordinates, a stratified sample of them, or random directions."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ..base import checks, streams
from .judge import HIDDEN_KINKS, Steps, judge, not_finite, settle
from .numeric import Coordinate, Direction, Estimate, Function, Line, central, flat_view
from .result import GradientCheck, TensorCheck
from .sweep import StepSweep, sweep_steps
from .thresholds import CORRECT

MODES = ("all", "sample", "directions")
_FOLLOW_UP = 16  # coordinates per tensor that are checked after a direction has failed
_DRAWS = 20  # samples of a tensor that are drawn at most while all coordinates of a sample cross kinks
_NEAR = 1e-12  # distance of kinks that may stay unseen in a function in which other kinks were seen
_STRETCH = 10.0  # a direction of length 1 moves each element less than a coordinate moves


@dataclass(frozen=True)
class How:
    """Options of a check; ``check_gradient`` explains them."""

    mode: str = "all"
    samples: int = 16
    directions: int = 3
    h: float | None = None
    method: str = "central"
    seed: int = 0
    sweep: bool = False

    @classmethod
    def checked(cls, who: str, **options: object) -> "How":
        """Return checked options; raise TypeError or ValueError for bad ones."""
        unknown = set(options) - set(cls.__dataclass_fields__)
        if unknown:
            raise TypeError(f"{who}: expected options of {sorted(cls.__dataclass_fields__)}; got {sorted(unknown)}")
        how = cls(**options)  # type: ignore[arg-type]
        if how.mode not in MODES:
            raise ValueError(f'{who}: expected mode "all", "sample" or "directions"; got {how.mode!r}')
        if how.method not in ("central", "richardson", "complex"):
            raise ValueError(f'{who}: expected method "central", "richardson" or "complex"; got {how.method!r}')
        checks.count(who, "samples", how.samples)
        checks.count(who, "directions", how.directions)
        checks.count(who, "seed", how.seed, least=0)
        if how.h is not None:
            checks.positive(who, "h", how.h)
        return how


@dataclass
class Problem:
    """A function, the named tensors that it reads, and their analytic gradients.

    Attributes:
        function: the function to differentiate.
        values: tensors by name; the check moves them in place.
        gradients: analytic gradients by name.
        nondeterminism: largest difference between two backward passes.
        complex_slope: ``complex_slope(name, index)`` is a derivative by the complex step; None if unavailable.
        poisoned: whether gradients were filled with NaN beforehand, so that NaN means "not written".
        left_out: flat indices, by tensor, of coordinates that are not to be moved.
    """

    function: Function
    values: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    nondeterminism: float = 0.0
    complex_slope: Callable[[str, int], float] | None = None
    poisoned: bool = True
    left_out: dict[str, np.ndarray] = field(default_factory=dict)

    def flat(self, name: str) -> np.ndarray:
        return flat_view("gradient check", self.values[name])

    def analytic(self, name: str) -> np.ndarray:
        return np.asarray(self.gradients[name], np.float64).reshape(-1)


def run(problem: Problem, how: How) -> GradientCheck:
    """Check every tensor of the problem."""
    rng = streams.generator(how.seed, "coordinates and directions of a check")
    f = problem.function
    second = f.read()
    nondeterminism = max(problem.nondeterminism, float(np.abs(second.terms - f.base.terms).max(initial=0.0)))
    if _noisy(problem, nondeterminism):
        tensors = [_not_compared(name, value.size) for name, value in problem.values.items()]
        return GradientCheck(tuple(tensors), how.mode, f.evaluations, nondeterminism)
    spoilt = {
        name: bad for name, g in problem.gradients.items() if (bad := not_finite(name, np.asarray(g), problem.poisoned))
    }
    names = [name for name in problem.values if name not in spoilt]
    steps = Steps(how.h, how.method)
    if how.mode == "directions":
        tensors = along_directions(problem, names, how, steps, rng)
    else:
        tensors = [along_coordinates(problem, name, how, steps, rng) for name in names]
    tensors = [*spoilt.values(), *(_softened(tensor, f) for tensor in tensors)]
    sweep: StepSweep | None = None
    if how.sweep:
        lines = {name: coordinates(problem, name, how.samples, rng) for name in names}
        sweep = sweep_steps(f, lines, {name: problem.analytic(name)[_places(lines[name])] for name in names})
    return GradientCheck(tuple(tensors), how.mode, f.evaluations, nondeterminism, sweep)


def _softened(check: TensorCheck, f: Function) -> TensorCheck:
    """Change a bad verdict to ``"kink"`` if kinks that are too near to be seen may explain it.

    This applies to functions in which other kinks were seen. A bend that begins and ends within _NEAR of x can hide a
    slope of up to the round-off divided by _NEAR.
    """
    if not f.kinked or check.verdict not in ("wrong", "suspicious") or not check.absolute <= f.round_off / _NEAR:
        return check
    return replace(check, verdict="kink", note="; ".join(filter(None, (HIDDEN_KINKS, check.note))))


def _noisy(problem: Problem, nondeterminism: float) -> bool:
    """Return whether two evaluations differ by more than the order of sums explains, so that comparing is useless."""
    largest = max(float(np.nanmax(np.abs(g), initial=0.0)) for g in problem.gradients.values())
    return nondeterminism > max(problem.function.round_off, CORRECT * (largest if problem.nondeterminism else 0.0))


def _not_compared(name: str, size: int) -> TensorCheck:
    unknown = (math.nan, math.nan, math.nan, (), math.nan, math.nan, math.nan, 0.0)
    return TensorCheck(name, "suspicious", *unknown, 0, size, note="NOT DETERMINISTIC: not compared")


def _places(lines: list[Coordinate]) -> list[int]:
    return [line.index for line in lines]


def coordinates(problem: Problem, name: str, samples: int | None, rng: np.random.Generator) -> list[Coordinate]:
    """Return all coordinates of a tensor, or one drawn from each of ``samples`` strata of equal size.

    A stratum is a section of the flat array, such as neighbouring rows of a weight matrix.
    """
    flat, shape = problem.flat(name), problem.values[name].shape
    if samples is None or samples >= flat.size:
        chosen = np.arange(flat.size)
    else:
        edges = np.linspace(0, flat.size, samples + 1)
        chosen = np.minimum(rng.uniform(edges[:-1], edges[1:]).astype(int), flat.size - 1)
    chosen = np.setdiff1d(chosen, problem.left_out.get(name, ()), assume_unique=True)
    return [Coordinate(flat, int(i), shape) for i in chosen]


def along_coordinates(
    problem: Problem, name: str, how: How, steps: Steps, rng: np.random.Generator, note: str = ""
) -> TensorCheck:
    """Judge one tensor by its coordinates or a sample; draw another sample if all of the first cross kinks."""
    partial = how.mode == "sample" and how.samples < problem.values[name].size
    for _ in range(_DRAWS if partial and not problem.function.kinked else 1):
        check = _along(problem, name, how, steps, rng, note)
        if check.verdict != "kink":
            break
    return check


def _along(problem: Problem, name: str, how: How, steps: Steps, rng: np.random.Generator, note: str) -> TensorCheck:
    lines = coordinates(problem, name, how.samples if how.mode != "all" else None, rng)
    analytic, size = problem.analytic(name)[_places(lines)], problem.values[name].size
    if how.method == "complex" and problem.complex_slope is not None:
        slopes = [problem.complex_slope(name, line.index) for line in lines]
        # No difference is taken; only the slope itself is rounded.
        exact = [Estimate(slope, 32 * problem.function.eps * abs(slope), 1e-20) for slope in slopes]
        return settle(problem.function, name, lines, analytic, exact, Steps(), size, note)
    return judge(problem.function, name, lines, analytic, steps, size, note)


def draw(problem: Problem, names: list[str], number: int, rng: np.random.Generator) -> tuple[Direction, float]:
    """Return a random direction of length 1 in the space of these tensors, and the analytic derivative along it.

    Every element moves up or down, by 0.5 to 1.5 times the mean. With moves of equal size, random signs would cancel
    some mistakes half of the time. With normally distributed moves, elements with moves near 0 would hardly count.
    """
    sizes = [problem.values[name].size for name in names]
    whole = rng.uniform(0.5, 1.5, sum(sizes)) * rng.choice((-1.0, 1.0), sum(sizes))
    vectors = np.split(whole / np.sqrt(whole @ whole), np.cumsum(sizes)[:-1])
    for name, vector in zip(names, vectors, strict=True):
        vector[problem.left_out.get(name, [])] = 0.0
    slope = math.fsum(float(v @ problem.analytic(name)) for name, v in zip(names, vectors, strict=True))
    return Direction([problem.flat(name) for name in names], vectors, number, _STRETCH), slope


def along_directions(
    problem: Problem, names: list[str], how: How, steps: Steps, rng: np.random.Generator
) -> list[TensorCheck]:
    """Check directions in the space of all tensors, two evaluations each; if one fails, check each tensor by itself."""
    names = [name for name in names if problem.values[name].size]

    probed: dict[str, list[Direction]] = {}

    def probe(title: str, which: list[str], note: str = "") -> TensorCheck:
        drawn = [draw(problem, which, i, rng) for i in range(how.directions)]
        probed[title] = [line for line, _ in drawn]
        lines: list[Line] = [line for line, _ in drawn]
        size = sum(problem.values[name].size for name in which)
        return judge(problem.function, title, lines, np.array([slope for _, slope in drawn]), steps, size, note)

    if not names:
        return []
    whole = "all tensors" if len(names) > 1 else names[0]
    together = probe(whole, names, "random directions")
    if together.passed:
        return [together]
    parts = [probe(name, [name], "random directions") for name in names] if len(names) > 1 else []
    guilty = [part.name for part in parts if not part.passed] or (names if len(names) == 1 else [])
    look = How(mode="sample", samples=_FOLLOW_UP, seed=how.seed)
    located = ("wrong", "suspicious")
    for name in guilty:
        sample = along_coordinates(problem, name, look, steps, rng, "sample after a random direction failed")
        # With many units at their kinks, a direction crosses some on either side; a coordinate need not.
        kinks = any(part.name == name and part.verdict == "kink" for part in parts)
        failed = next((part for part in [*parts, together] if part.name == name and part.verdict in located), None)
        if sample.passed and failed is not None:
            sample = _bisected(problem, name, probed[name][failed.worst[0]], failed, steps) or sample
        if not sample.passed or kinks or together.verdict == "kink":
            parts = [part for part in parts if part.name != name] + [sample]
    explained = together.verdict == "kink" or any(not part.passed for part in parts)
    return parts if explained and parts else [together, *parts]


def _bisected(
    problem: Problem, name: str, direction: Direction, failed: TensorCheck, steps: Steps
) -> TensorCheck | None:
    """Find the worst coordinate of a direction that failed, by halving; return None if that coordinate is correct.

    Each step continues with the half that explains more of the difference. It takes two evaluations, because the other
    half explains the rest.
    """
    f, flat, analytic = problem.function, problem.flat(name), problem.analytic(name)
    vector, low, high, off = direction.vectors[0], 0, flat.size, failed.analytic - failed.numeric
    while high - low > 1:
        middle = (low + high) // 2
        half = slice(low, middle)
        line = Direction([flat[half]], [vector[half]], failed.worst[0], direction.scale)
        estimate = central(f, line, failed.step)
        part = float(vector[half] @ analytic[half]) - estimate.value if not estimate.excluded else 0.0
        if abs(part) >= abs(off - part):
            high, off = middle, part
        else:
            low, off = middle, off - part
    found = Coordinate(flat, low, problem.values[name].shape)
    check = judge(
        f, name, [found], analytic[[low]], steps, flat.size, "found by halving a random direction that failed"
    )
    return None if check.passed else check
