"""Checks of anybody's functions: plain NumPy code, and forward and backward pairs in the style of CS231n."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import streams
from .arguments import (
    Arguments,
    Replay,
    eps_of,
    gradients_of,
    is_discrete,
    is_floats,
    names,
    no_floats,
    paired,
    replayer,
)
from .conventions import takes_arguments
from .edges import run_inside
from .modes import How, Problem
from .numeric import Function
from .reading import accumulates, accumulating, changed, changes, least_move, unread
from .result import GradientCheck
from .subject import Subject, quiet

_COMPLEX_STEP = 1e-20  # nothing is subtracted, so it may be as short as one likes (Squire and Trapp 1998)


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
    """Check the gradient of anybody's function.

    Args:
        f: takes x and gives a number, or an array; then the check is of its elements' sum with random weights, the
            cotangent. An array of one element counts as a number. Or f gives (number, gradient), as losses in the
            style of CS231n do, and analytic is left out.
        x: where to check; f gets copies, so it may change its arguments. An array; or several, as a tuple for
            ``f(*x)`` or a dict for ``f(**x)``, of which those of floats are checked unless their gradient is None. A
            dict goes to f as it is, ``f(x)``, where f does not take its keys as keywords: a model's parameters.
            Python floats are checked where there is no array of floats. Use float64: in float32, also inside f, a
            check sees errors of a hundredth of the largest element or so, and says "round-off" where it does not.
        analytic: the gradient of f at x: an array like x, a tuple or a dict like it (the keys of a dict may have the d
            of ``"dw"``; it has one for each array of floats, None for one that is not to be checked). Or a function
            that gives these: of a cotangent of the shape of f's output, as a backward pass is, which an f that gives an
            array needs; or, where f gives a number, of x, as SciPy's ``jac`` is. Which of the two is seen from its
            parameters' names, if they are f's, and from what it gives. None where f gives the gradient.
        mode: ``"all"`` coordinates; a ``"sample"`` of each tensor; random ``"directions"``.
        samples: coordinates a tensor of a sample, one from each of as many strata, so that no tensor is skipped.
        directions: how many; a direction costs two evaluations for any number of coordinates. If one fails, directions
            within each tensor, then a sample of its coordinates, find the guilty one.
        h: the step; None for 1e-5 (0.008 in float32) times max(1, |x|), with steps from 0.1 to 1e-8 where that
            disagrees.
        method: ``"central"`` differences; ``"richardson"`` extrapolation of two, error of order h^4; the
            ``"complex"`` step Im f(x + ih) / h, without any round-off, for an f that is analytic and takes complex
            arrays (abs, max and comparisons are not).
        sweep: whether to measure the error against h too, on ``samples`` coordinates a tensor.
        in_place: whether to move the very arrays given as x and put them back after each evaluation, as CS231n's
            ``eval_numerical_gradient`` does: for an f that reads them from elsewhere, such as ``lambda _:
            model.loss(X)[0]`` with ``x=model.params["W"]``. An f that does not depend on its argument, but on the
            array, is checked so unasked, with a remark. Not with the complex step.
        replay: what noise f draws: a generator, or several, put back to where they stand now before every evaluation;
            or a function to be called before each, ``lambda: rng.seed(0)``.
        seed: of the sample, the directions and the cotangent.

    Returns:
        a ``GradientCheck``; its ``remark`` has what was noticed beside the numbers.

    Raises:
        TypeError, ValueError: for arguments that do not fit each other.
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
        subject = subject.moved_in_place()
    problem, adding, remarks = _problem(subject, analytic, seed)
    check = run_inside(problem, how).explained(adding).remarked(*remarks)
    if in_place or check.nondeterminism:
        return check
    ignored = unread(problem, check)
    if ignored and method != "complex" and subject.originals_matter(ignored):
        subject = subject.moved_in_place(all_of_them=False)
        problem, adding, remarks = _problem(subject, analytic, seed)
        moved = (
            f"f does not depend on its argument, but on the array that was given as {_listed(subject, ignored)}: that "
            "array was moved in place and put back (in_place=True does so from the start)."
        )
        check = run_inside(problem, how).explained(adding).remarked(moved, *remarks)
        ignored = [] if check.passed else unread(problem, check)
    elif check.passed:
        return check
    elif not ignored and subject.originals_matter(subject.names):
        return check.remarked(
            "f also reads, beside its argument, an array that was given as x, which stayed where it was: in_place=True "
            "moves that array itself."
        )
    elif not ignored and subject.read_only and check.verdict in ("wrong", "suspicious"):
        return check.remarked(_perhaps_read(subject.read_only))
    fixed = [name for name in ignored if name in subject.read_only]
    moving = [name for name in ignored if name not in fixed]
    words = [_ignores(problem, moving)] if moving else []
    if fixed:
        check = check.without(fixed, "not compared: f ignores its argument, and the array given is read-only")
        words.append(_unmoved(fixed))
    return check.remarked(*words)


def _listed(subject: Subject, ignored: list[str]) -> str:
    return ", ".join(name for name in ignored if name in subject.originals)


def _perhaps_read(fixed: list[str]) -> str:
    """What to say where a gradient is wrong and arrays were given that cannot be moved themselves."""
    listed = ", ".join(fixed)
    return (
        f"The analytic gradient is not that of f as a function of its arguments. The array given as {listed} is "
        "read-only: if f also reads that array itself, beside its argument, this part was not differentiated; then "
        "give an array that can be written to, such as x.copy(), with in_place=True."
    )


def _unmoved(fixed: list[str]) -> str:
    """What to say of read-only arrays that were given as arguments which f ignores."""
    listed = ", ".join(fixed)
    return (
        f"f does not depend on its argument {listed}: wherever a copy was moved, f gave the same value. If f reads the "
        f"array that was given, that could not be moved itself, since it is read-only. Let f use its argument; or give "
        "an array that can be written to, such as x.copy(), and let f read that one."
    )


def _problem(subject: Subject, analytic: Any, seed: int) -> tuple[Problem, str, list[str]]:
    """What is to be compared; a remark if gradients add up from call to call, and remarks on what is changed."""
    who, points = subject.who, subject.points
    if analytic is not None and not callable(analytic):
        gradients_of(who, subject.names, points, analytic)  # whether they fit, before anything is evaluated
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


def _ignores(problem: Problem, ignored: list[str]) -> str:
    """What to say of an f that does not depend on some of its arguments, whose gradients are not 0."""
    listed = ", ".join(ignored)
    far = least_move(problem.function, [problem.values[name] for name in ignored])
    if far is not None:
        return (
            f"f is constant around {listed} and differs only farther away, as a step function does (round, argmax, a "
            "cast to integers): its gradient is 0 there."
        )
    return (
        f"f does not depend on {listed}: wherever it was moved, f gave the same value. If f reads such values from "
        'elsewhere, as lambda _: model.loss(X)[0] does, give the very array that it reads (model.params["W"]; a copy '
        "does not count)."
    )


def check_backward(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *arguments: Any,
    replay: Replay = None,
    seed: int = 0,
    **options: Any,
) -> GradientCheck:
    """Check a pair in the style of CS231n's assignments, in one line: ``check_backward(forward, backward, x, w, b)``.

    Args:
        forward: ``forward(*arguments) -> (out, cache)``, or ``(out, other, ..., cache)`` with several outputs.
        backward: ``backward(dout, cache) -> grads``, or ``(dout, dother, ..., cache)``: one gradient for each argument
            that is an array of floats, or for each that is an array, or for each, in their order (one alone as it is);
            or a dict with one for each array of floats, by the argument's name, with or without a d before it; None
            for one that is not to be checked.
        arguments: of forward. Arrays of floats are checked, those of integers, such as labels, are not. All are copied
            for every call, so that what forward changes in place, running means or a cache in a dict of settings do not
            pass from one call to the next.
        replay, seed, options: as in ``check_gradient``, but for ``in_place``. For layers that keep their weights as
            ``self.W`` there is ``check_module``.

    Returns:
        a ``GradientCheck``; its ``remark`` says what of an argument or of dout the passes change in place.

    Raises:
        TypeError, ValueError: for arguments that do not fit each other.
        FloatingPointError: if forward's output is not finite.
    """
    who = "check_backward"
    how = How.checked(who, seed=seed, **options)
    if how.method == "complex":
        raise ValueError(f'{who}: expected method "central" or "richardson"; got "complex" (see check_gradient)')
    parameters = names(forward, len(arguments))
    everything = {
        name: np.array(a, order="C") if is_floats(a) else a for name, a in zip(parameters, arguments, strict=True)
    }
    points = {name: a for name, a in everything.items() if is_floats(a)}
    if not points:
        raise no_floats(who, "at least one argument as an array of floats", arguments)
    replayed = replayer(replay)

    def passed(fresh: dict[str, Any]) -> tuple[list[np.ndarray], Any]:
        replayed()
        made = forward(*fresh.values())
        if not isinstance(made, tuple) or len(made) < 2:
            raise TypeError(
                f"{who}: expected forward to give (out, cache); got {type(made).__name__} (a layer that keeps its "
                "cache as self.x is checked by check_module, a function alone by check_gradient)"
            )
        return [np.array(out) for out in made[:-1]], made[-1]

    def outputs() -> list[np.ndarray]:
        return passed(copy.deepcopy(everything))[0]

    first = outputs()
    rng = streams.generator(seed, "weights of a pair's outputs")
    cotangents = [rng.standard_normal(out.shape) for out in first]
    dtype = next(iter(points.values())).dtype
    remarks: dict[str, None] = {}  # in their order, each once

    def gradients() -> dict[str, np.ndarray]:
        fresh = copy.deepcopy(everything)
        _, cache = passed(fresh)
        remarks[changes("forward", changed(_arrays(fresh), everything))] = None
        before = {**_arrays(fresh), **{f"dout {i}": c.astype(dtype) for i, c in enumerate(cotangents, 1)}}
        if len(cotangents) == 1:
            before["dout"] = before.pop("dout 1")
        kept = {name: a.copy() for name, a in before.items()}
        given = backward(*(a for name, a in before.items() if name not in fresh), cache)
        remarks[changes("backward", changed(before, kept))] = None
        moved = paired(who, list(points), everything, given)
        discrete = [name for name, g in moved.items() if g is not None and is_discrete(everything[name])]
        if discrete:
            remarks[
                f"{discrete[0]} is an array of {everything[discrete[0]].dtype}, which are discrete: its gradient was "
                f"not checked. If it is to have one, give {discrete[0]}.astype(float)."
            ] = None
        return gradients_of(who, list(points), everything, given)

    once, nondeterminism, adding = accumulating(gradients)

    def terms() -> np.ndarray:
        return np.concatenate([(out * c).reshape(-1) for out, c in zip(outputs(), cotangents, strict=True)])

    function = Function(quiet(terms), eps=eps_of([*points.values(), *first]), guessed=True)
    checked = {name: points[name] for name in once}
    problem = Problem(function, checked, once, nondeterminism, poisoned=False)
    check = run_inside(problem, how).explained(accumulates("backward", adding))
    ignored = unread(problem, check) if not check.passed and not check.nondeterminism else []
    return check.remarked(*([_ignores(problem, ignored)] if ignored else []), *remarks)


def _arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: a for name, a in values.items() if isinstance(a, np.ndarray)}


def _value(made: Any) -> Any:
    """The number that an f gives together with its gradient."""
    if not isinstance(made, tuple) or len(made) != 2 or np.size(made[0]) != 1 or made[1] is None:
        raise TypeError(
            "check_gradient: expected analytic, or f to give (number, gradient); got analytic None and from f "
            f"{f'a tuple of {len(made)}' if isinstance(made, tuple) else type(made).__name__}"
        )
    return made[0]


def _checked_value(made: Any, analytic: Any) -> np.ndarray:
    """What f gave as an array; TypeError unless it is one of floats, of a kind that ``analytic`` goes with."""
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
    """The derivative of f with respect to one element of x, Im f(x + ih) / h."""
    moved = x.astype(np.complex128)
    moved.reshape(-1)[index] += 1j * _COMPLEX_STEP
    out = f(moved)
    if out.dtype.kind != "c":
        raise TypeError(
            f"check_gradient: expected complex values of f at a complex {name}, for the complex step; got "
            f"{out.dtype} (abs, max and float() lose the imaginary part)"
        )
    return float((out.imag * cotangent).sum() / _COMPLEX_STEP)
