"""The error of a gradient as a function of the step h, and what explains it at each step.

Round-off is proportional to 1 / h, and truncation to h^2. A kink disturbs all steps that are longer than its distance.
A wrong gradient is wrong at every step.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..storage.files import plain
from .ladder import climb
from .listening import listen
from .numeric import Estimate, Function, Line, StepError, central
from .thresholds import CORRECT, WRONG

STEPS = tuple(float(f"1e{power}") for power in range(-1, -13, -1))


@dataclass(frozen=True)
class StepCurve:
    """The error of one tensor's gradient as a function of h.

    Attributes:
        name: name of the tensor.
        errors: for each step, |a - n| / max(|a|, |n|) in Euclidean norm over the coordinates; infinity if f overflows.
        round_off: bound on the round-off of each error.
        crossed: for each step, the number of coordinates for which it changed a winner.
        labels: for each step, ``"correct"`` for an error below 1e-7, else the verdict that explains the error.
        best: step of least round-off and truncation, which does not depend on the analytic gradient.
        verdict: verdict on the tensor, with the best step for each coordinate.
    """

    name: str
    errors: tuple[float, ...]
    round_off: tuple[float, ...]
    crossed: tuple[int, ...]
    labels: tuple[str, ...]
    best: float
    verdict: str


@dataclass(frozen=True)
class StepSweep:
    """Errors of several tensors as functions of the step.

    Attributes:
        steps: step lengths, the longest first.
        curves: a ``StepCurve`` for each tensor.
    """

    steps: tuple[float, ...]
    curves: tuple[StepCurve, ...]

    def __str__(self) -> str:
        width = max(len(curve.name) for curve in self.curves)
        lines = [f"{'h':{width}}  " + "  ".join(f"{h:>11.0e}" for h in self.steps)]
        for curve in self.curves:
            lines.append(f"{curve.name:{width}}  " + "  ".join(f"{e:>11.1e}" for e in curve.errors))
            lines.append(f"{'':{width}}  " + "  ".join(f"{label:>11}" for label in curve.labels))
            lines.append(f"{'':{width}}  {curve.verdict}; surest step {curve.best:.0e}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep as numbers, strings, lists and dicts, with None for NaN and infinity."""
        return plain({"steps": self.steps, "curves": [vars(curve) for curve in self.curves]})

    def plot(self, path: Any = None) -> Any:
        """Draw the errors as functions of the step; see ``plots.step_sweep``.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.
        """
        from .. import plots

        return plots.step_sweep(self, path)


def sweep_steps(
    f: Function, lines: Mapping[str, Sequence[Line]], analytic: Mapping[str, np.ndarray], steps: Sequence[float] = STEPS
) -> StepSweep:
    """Measure the error of each tensor's analytic derivatives along these lines, at every step."""
    curves = (_curve(f, name, lines[name], analytic[name], steps) for name in lines if len(lines[name]))
    return StepSweep(tuple(steps), tuple(curves))


def _curve(f: Function, name: str, lines: Sequence[Line], analytic: np.ndarray, steps: Sequence[float]) -> StepCurve:
    listen(f, lines[0])
    surest = [climb(f, line) for line in lines]
    kept = [i for i, estimate in enumerate(surest) if not estimate.excluded]
    reference = np.array([surest[i].value for i in kept])
    doubt = np.array([surest[i].uncertainty for i in kept])
    a = np.asarray(analytic, np.float64)[kept]
    size = max(float(np.linalg.norm(a)), float(np.linalg.norm(reference)), np.finfo(float).tiny)
    off = np.maximum(np.abs(a - reference) - doubt, 0.0)
    excess = float(np.linalg.norm(off)) / size
    verdict = "wrong" if excess >= WRONG else "suspicious" if excess >= CORRECT else "correct" if kept else "kink"
    read = [[_plain(f, lines[i], h) for i in kept] for h in steps]
    errors, noises, crossings, labels = [], [], [], []
    values = np.array([[e.value for e in row] for row in read]).reshape(len(steps), len(kept))
    noise = np.array([[e.round_off for e in row] for row in read]).reshape(len(steps), len(kept))
    for k in range(len(steps)):
        crossed = np.array([e.crossed for e in read[k]], bool)
        error = float(np.linalg.norm(a - values[k])) / size
        errors.append(error if math.isfinite(error) else math.inf)
        noises.append(float(np.linalg.norm(noise[k])) / size)
        crossings.append(int(crossed.sum()))
        labels.append(_label(k, error, a, reference, values, noise, crossed, size, verdict))
    best = float(np.median([surest[i].step / lines[i].scale for i in kept])) if kept else math.nan
    return StepCurve(name, tuple(errors), tuple(noises), tuple(crossings), tuple(labels), best, verdict)


def _plain(f: Function, line: Line, h: float) -> Estimate:
    """Return the plain central difference, even if it crosses kinks."""
    told = f.winners
    try:
        estimate = central(f, line, h)
        if not estimate.crossed:
            return estimate
        f.winners = lambda: None
        plain = central(f, line, h)
        return Estimate(plain.value, plain.round_off, h, crossed=True)
    except (FloatingPointError, StepError):
        return Estimate(math.nan, math.inf, h)
    finally:
        f.winners = told


def _label(
    k: int,
    error: float,
    a: np.ndarray,
    reference: np.ndarray,
    values: np.ndarray,
    noise: np.ndarray,
    crossed: np.ndarray,
    size: float,
    verdict: str,
) -> str:
    if error < CORRECT:
        return "correct"
    deviation = np.abs(values[k] - reference)  # from the best estimates, independent of the analytic gradient
    if verdict != "correct" and np.linalg.norm(deviation) / size < max(0.1 * error, CORRECT):
        return verdict
    if np.linalg.norm(deviation) <= 2 * np.linalg.norm(noise[k]):
        return "round-off"
    i = int(np.nanargmax(deviation)) if np.isfinite(deviation).any() else 0
    if crossed[i]:
        return "kink"
    if k + 1 == len(values):
        return "truncation"
    # With a tenth of the step, truncation falls to a hundredth. The effect of a kink vanishes or stays.
    shorter = abs(values[k + 1, i] - reference[i])
    ratio = deviation[i] / max(shorter, noise[k + 1, i], np.finfo(float).tiny)
    return "truncation" if 8 <= ratio < 1e4 else "kink"
