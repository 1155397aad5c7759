"""``check_gradient``: the check of any function, with its gradient given or computed by a second function."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..base import streams
from .arguments import Arguments, Replay, eps_of, gradients_of
from .conventions import takes_arguments
from .domain import run_inside
from .modes import How, Problem
from .numeric import Function
from .reading import ignores, unread
from .result import GradientCheck
from .side_effects import accumulates, accumulating, changes
from .subject import Subject, quiet

_COMPLEX_STEP = 1e-20  # no difference is taken, so the step may be arbitrarily short (Squire and Trapp 1998)


def check_gradient(
    f: Callable[..., Any],
    x: Arguments,
    analytic: Any = None,
    *,
    mode: str = "all",
    samples: int = 16,
    directions: int = 3,
    h: float | None = None,
    method: str = "central",
    sweep: bool = False,
    in_place: bool = False,
    replay: Replay = None,
    seed: int = 0,
) -> GradientCheck:
    """Check the gradient of any function against a numerical gradient.

    Args:
        f: function of x. It returns a number, or an array of floats. For an array, the check weights the elements with
            random numbers, the cotangent, and differentiates their sum; an array of one element counts as a number.
            With ``analytic=None``, f returns (number, gradient), as losses in the style of CS231n do.
        x: where to check: an array, a tuple of arguments for ``f(*x)``, or a dict of arguments for ``f(**x)``. If f
            does not take the keys of a dict as keywords, it is called as ``f(x)``, as for a model's parameters. All
            arrays of floats are checked, unless their gradient is None; Python floats are checked if there is no array
            of floats. f receives copies and may change them. Use float64. In float32, also inside f, a check detects
            errors of about a hundredth of the largest element, and answers "round-off" where it cannot tell.
        analytic: the gradient of f at x: an array, tuple or dict like x, with one gradient for each array of floats and
            None for one that is not to be checked. Keys of a dict may have a leading d, as in ``"dw"``. Or a function
            that returns these. It takes the cotangent, of the shape of f's output, as a backward pass does; if f
            returns a number, it may take x instead, as SciPy's ``jac`` does. The check tells the two apart by the names
            of the function's parameters and by what it returns. An f that returns an array needs a function.
        mode: ``"all"`` coordinates, a ``"sample"`` of each tensor, or random ``"directions"``.
        samples: number of coordinates per tensor in a sample. Each tensor is divided into as many strata, and one
            coordinate is drawn from each.
        directions: number of directions. A direction costs two evaluations for any number of coordinates. If one fails,
            the check looks along directions within each tensor and then at a sample of its coordinates.
        h: step length. None for 1e-5 (0.008 in float32) times max(1, |x|); where the gradients disagree, the check
            then tries steps from 0.1 to 1e-8.
        method: ``"central"`` differences; ``"richardson"``, the extrapolation of two of them, with an error of order
            h^4; or ``"complex"``, the complex step Im f(x + ih) / h, which has no round-off. The complex step needs an
            analytic f that takes complex arrays (abs, max and comparisons are not analytic).
        sweep: whether to measure the error as a function of h too, on ``samples`` coordinates per tensor.
        in_place: whether to move the given arrays themselves and restore them after each evaluation, as CS231n's
            ``eval_numerical_gradient`` does. Use it for an f that reads the arrays from elsewhere, such as ``lambda _:
            model.loss(X)[0]`` with ``x=model.params["W"]``. If f depends on a given array but not on its argument,
            the check does this by itself and says so in a remark. Not available with the complex step.
        replay: how to repeat the noise that f draws. A generator, or several, whose states are restored before every
            evaluation; or a function that is called before every evaluation, such as ``lambda: rng.seed(0)``.
        seed: seed of the sample, the directions and the cotangent.

    Returns:
        A ``GradientCheck``. Its ``remark`` has observations beyond the numbers.

    Raises:
        TypeError, ValueError: if arguments do not fit each other.
        FloatingPointError: if f is not finite at x.
    """
    who = "check_gradient"
    how = How.checked(
        who,
        **{"mode": mode, "samples": samples, "directions": directions, "h": h, "method": method, "sweep": sweep},
        seed=seed,
    )
    if in_place and method == "complex":
        raise ValueError(f'{who}: expected method "central" or "richardson" with in_place=True; got "complex"')
    subject = Subject(who, f, x, replay)
    if in_place:
        return _compared(subject.moved_in_place(), analytic, how)[1]
    return _checked(subject, analytic, how)


def _checked(subject: Subject, analytic: Any, how: How) -> GradientCheck:
    """Compare both gradients. If f ignores an argument, see whether it reads the array that was given for it."""
    problem, check = _compared(subject, analytic, how)
    if check.nondeterminism:
        return check
    ignored = unread(problem, check)
    if ignored and how.method != "complex" and subject.originals_matter(ignored):
        itself = subject.moved_in_place(all_of_them=False)
        problem, check = _compared(itself, analytic, how, _moved_itself(subject, ignored))
        ignored = [] if check.passed else unread(problem, check)
    elif check.passed:
        return check
    elif not ignored:
        return check.remarked(_read_elsewhere(subject, check))
    return _without_ignored(check, problem, subject, ignored)


def _compared(subject: Subject, analytic: Any, how: How, *remarks: str) -> tuple[Problem, GradientCheck]:
    """Compare both gradients; return the comparison and its result, with these remarks first."""
    problem, adding, found = _problem(subject, analytic, how.seed)
    check = run_inside(problem, how).explained(adding)
    return problem, check.remarked(*remarks, *found, _flat(problem, check))


def _flat(problem: Problem, check: GradientCheck) -> str:
    """Return a remark if both gradients of an argument are exactly 0, as those of a piecewise constant function."""
    names = [
        t.name for t in check.tensors if t.checked and t.absolute == 0 and not np.any(problem.gradients.get(t.name, 1))
    ]
    if not names:
        return ""
    return (
        f"f did not change when {', '.join(names)} moved, so both gradients are exactly 0. If f is constant between "
        "jumps, like round, sign or an accuracy, the gradient is 0 wherever it exists."
    )


def _moved_itself(subject: Subject, ignored: list[str]) -> str:
    """Return the remark on arrays that f reads from elsewhere, and that were therefore moved in place."""
    listed = ", ".join(name for name in ignored if name in subject.originals)
    return (
        f"f does not depend on its argument, but on the array that was given as {listed}. That array was moved "
        "in place and restored (in_place=True does this from the start)."
    )


def _read_elsewhere(subject: Subject, check: GradientCheck) -> str:
    """Return a remark if f may read the given arrays besides its arguments, else ""."""
    if subject.originals_matter(subject.names):
        return (
            "f also reads, beside its argument, an array that was given as x. The check did not move this array. "
            "in_place=True moves it."
        )
    if subject.read_only and check.verdict in ("wrong", "suspicious"):
        listed = ", ".join(subject.read_only)
        return (
            f"The analytic gradient is not that of f as a function of its arguments. The array given as {listed} is "
            "read-only: if f also reads that array itself, beside its argument, this part was not differentiated; then "
            "give an array that can be written to, such as x.copy(), with in_place=True."
        )
    return ""


def _without_ignored(check: GradientCheck, problem: Problem, subject: Subject, ignored: list[str]) -> GradientCheck:
    """Add remarks on arguments that f ignores. Read-only ones are not judged: f may read the given array itself."""
    fixed = [name for name in ignored if name in subject.read_only]
    moving = [name for name in ignored if name not in fixed]
    remarks = [ignores(problem, moving)] if moving else []
    if fixed:
        check = check.without(fixed, "not compared: f ignores its argument, and the array given is read-only")
        listed = ", ".join(fixed)
        remarks.append(
            f"f does not depend on its argument {listed}: f returned the same value wherever a copy was moved. If f "
            "reads the array that was given, the check could not move it, because it is read-only. Let f use its "
            "argument; or give an array that can be written to, such as x.copy(), and let f read that one."
        )
    return check.remarked(*remarks)


def _problem(subject: Subject, analytic: Any, seed: int) -> tuple[Problem, str, list[str]]:
    """Return the comparison, a remark if gradients accumulate from call to call, and remarks on in-place changes."""
    who, points = subject.who, subject.points
    if analytic is not None and not callable(analytic):
        gradients_of(who, subject.names, points, analytic)  # raises if they do not fit, before f is evaluated
    made, touched = subject.evaluated(points), subject.restored()
    together = analytic is None
    first = _checked_value(_value(made) if together else made, analytic)
    takes_x = callable(analytic) and takes_arguments(subject, analytic, first)
    backward = callable(analytic) and not takes_x
    weighted = backward and first.ndim
    cotangent = (
        streams.generator(seed, "weights of a function's outputs").standard_normal(first.shape)
        if weighted
        else np.ones(first.shape)
    )
    dy = cotangent.copy()

    def given() -> Any:
        subject.replayed()
        if together:
            return subject.evaluated(points)[1]
        if takes_x:
            return subject.call(analytic, subject.copies(points))
        if backward:
            dy[...] = cotangent
            return analytic(dy)
        return analytic

    def gradients() -> dict[str, np.ndarray]:
        return gradients_of(who, subject.names, points, given())

    once, nondeterminism, adding = accumulating(gradients)
    remarks = [changes("f", touched), changes("analytic", subject.restored())]
    if not np.array_equal(dy, cotangent):
        remarks.append(changes("analytic", ["the cotangent"]))

    def value(values: Mapping[str, Any]) -> np.ndarray:
        made = subject.evaluated(values)
        return np.asarray(made[0] if together else made)

    checked = {name: points[name] for name in once}
    eps = eps_of([*checked.values(), first])
    function = Function(quiet(lambda: value(points) * cotangent), eps=eps, guessed=True)

    def complex_slope(name: str, index: int) -> float:
        function.evaluations += 1
        return _complex_step(lambda moved: value({**points, name: moved}), points[name], name, index, cotangent)

    problem = Problem(function, checked, once, nondeterminism, complex_slope=complex_slope, poisoned=False)
    return problem, accumulates("analytic" if callable(analytic) else "f", adding), remarks


def _value(made: Any) -> Any:
    """Return the number from an f that returns (number, gradient)."""
    if not isinstance(made, tuple) or len(made) != 2 or np.size(made[0]) != 1 or made[1] is None:
        raise TypeError(
            "check_gradient: expected analytic, or f to give (number, gradient); got analytic None and from f "
            f"{f'a tuple of {len(made)}' if isinstance(made, tuple) else type(made).__name__}"
        )
    return made[0]


def _checked_value(made: Any, analytic: Any) -> np.ndarray:
    """Return f's value as an array; raise TypeError if it is not numeric or does not fit the kind of ``analytic``."""
    if isinstance(made, tuple):
        raise TypeError(
            f"check_gradient: expected f to give a number or an array; got a tuple of {len(made)}. If that is (value, "
            "gradient), leave out analytic"
        )
    first = np.asarray(made)
    if first.dtype.kind not in "fiu":
        raise TypeError(f"check_gradient: expected f to give a number or an array of floats; got {first!r}")
    if first.size != 1 and analytic is not None and not callable(analytic):
        raise TypeError(
            f"check_gradient: expected analytic as a function of the cotangent, since f gives an array of shape "
            f"{first.shape}; got {type(analytic).__name__}"
        )
    return first


def _complex_step(
    f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, name: str, index: int, cotangent: np.ndarray
) -> float:
    """Return the derivative of f with respect to one element of x, Im f(x + ih) / h."""
    moved = x.astype(np.complex128)
    moved.reshape(-1)[index] += 1j * _COMPLEX_STEP
    out = f(moved)
    if out.dtype.kind != "c":
        raise TypeError(
            f"check_gradient: expected complex values of f at a complex {name}, for the complex step; got "
            f"{out.dtype} (abs, max and float() lose the imaginary part)"
        )
    return float((out.imag * cotangent).sum() / _COMPLEX_STEP)
