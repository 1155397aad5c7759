"""Checks of anybody's functions: plain NumPy code, and forward and backward pairs in the style of CS231n."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .modes import How, Problem, run
from .numeric import Function
from .result import GradientCheck

_COMPLEX_STEP = 1e-20  # nothing is subtracted, so it may be as short as one likes (Squire and Trapp 1998)

Arguments = np.ndarray | Sequence[Any] | Mapping[str, Any]
Replay = Callable[[], object] | np.random.Generator | Iterable[np.random.Generator] | None


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
    replay: Replay = None,
    seed: int = 0,
) -> GradientCheck:
    """Check the gradient of anybody's function.

    Args:
        f: takes x and gives a number, or an array; then the check is of its elements' sum with random weights, the
            cotangent. Or it gives (number, gradient), as losses in the style of CS231n do, and analytic is left out.
        x: where to check; f gets copies, so it may change its arguments. An array; or several, as a tuple for
            ``f(*x)`` or a dict for ``f(**x)``, of which those of floats are checked unless their gradient is None.
            Python floats are checked where there is no array of floats. Use float64: in float32, also inside f, a
            check sees errors of a hundredth of the largest element or so, and says "round-off" where it does not.
        analytic: the gradient of f at x: an array like x, a tuple or a dict like it; or a function that gives these
            for a cotangent of the shape of f's output, as a backward pass does. An f that gives an array needs that.
            The keys of a dict may have the d of ``"dw"``. None where f gives it.
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
        replay: what noise f draws: a generator, or several, put back to where they stand now before every evaluation;
            or a function to be called before each, ``lambda: rng.seed(0)``.
        seed: of the sample, the directions and the cotangent.
    """
    how = How.checked(
        "check_gradient",
        **{"mode": mode, "samples": samples, "directions": directions, "h": h, "method": method, "sweep": sweep},
        seed=seed,
    )
    names, points, call = _arguments("check_gradient", f, x)
    replayed = _replayer(replay)

    def evaluated(values: Mapping[str, Any]) -> Any:
        replayed()
        return call({name: a.copy() if isinstance(a, np.ndarray) else a for name, a in values.items()})

    together, made = analytic is None, evaluated(points)
    if together:
        made, analytic = _value(made), lambda _: evaluated(points)[1]
    first = _checked_value(made, analytic)
    cotangent = np.ones(()) if first.ndim == 0 else np.random.default_rng((seed, 1)).standard_normal(first.shape)

    def gradients() -> dict[str, np.ndarray]:
        replayed()
        given = analytic(cotangent.copy()) if callable(analytic) else analytic
        return _gradients("check_gradient", names, points, given)

    def value(values: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(evaluated(values)[0] if together else evaluated(values))

    once, nondeterminism = _twice(gradients)
    checked = {name: points[name] for name in once}
    function = Function(lambda: value(points) * cotangent, eps=_eps([*checked.values(), first]), guessed=True)

    def complex_slope(name: str, index: int) -> float:
        function.evaluations += 1
        return _complex_step(lambda moved: value({**points, name: moved}), points[name], name, index, cotangent)

    return run(Problem(function, checked, once, nondeterminism, complex_slope=complex_slope, poisoned=False), how)


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
            that is an array of floats, in their order (one alone as it is); or a dict of them by the argument's name,
            with or without a d before it; None for one that is not to be checked.
        arguments: of forward. Arrays of floats are checked. All are copied for every call, so that what forward
            changes in place, running means or a cache in a dict of settings do not pass from one call to the next.
        replay, seed, options: as in ``check_gradient``.
    """
    who = "check_backward"
    how = How.checked(who, seed=seed, **options)
    if how.method == "complex":
        raise ValueError(f'{who}: expected method "central" or "richardson"; got "complex" (see check_gradient)')
    names = _names(forward, len(arguments))
    everything = {
        name: np.array(a, order="C") if _is_floats(a) else a for name, a in zip(names, arguments, strict=True)
    }
    points = {name: a for name, a in everything.items() if _is_floats(a)}
    if not points:
        raise TypeError(f"{who}: expected at least one argument as an array of floats; got {arguments!r}")
    replayed = _replayer(replay)

    def outputs() -> tuple[list[np.ndarray], Any]:
        replayed()
        fresh = [copy.deepcopy(a) for a in everything.values()]
        made = forward(*fresh)
        if not isinstance(made, tuple) or len(made) < 2:
            raise TypeError(f"{who}: expected forward to give (out, cache); got {type(made).__name__}")
        return [np.array(out) for out in made[:-1]], made[-1]

    rng = np.random.default_rng((seed, 1))
    first, _ = outputs()
    cotangents = [rng.standard_normal(out.shape) for out in first]
    dtype = next(iter(points.values())).dtype

    def gradients() -> dict[str, np.ndarray]:
        _, cache = outputs()
        return _gradients(who, list(points), points, backward(*(c.astype(dtype) for c in cotangents), cache))

    once, nondeterminism = _twice(gradients)

    def terms() -> np.ndarray:
        return np.concatenate([(out * c).reshape(-1) for out, c in zip(outputs()[0], cotangents, strict=True)])

    function = Function(terms, eps=_eps([*points.values(), *first]), guessed=True)
    checked = {name: points[name] for name in once}
    return run(Problem(function, checked, once, nondeterminism, poisoned=False), how)


def _value(made: Any) -> Any:
    """The number that an f gives together with its gradient."""
    if not isinstance(made, tuple) or len(made) != 2 or np.ndim(made[0]) or made[1] is None:
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
    if first.ndim and not callable(analytic):
        raise TypeError(
            f"check_gradient: expected analytic as a function of the cotangent, since f gives an array of shape "
            f"{first.shape}; got {type(analytic).__name__}"
        )
    return first


def _twice(gradients: Callable[[], dict[str, np.ndarray]]) -> tuple[dict[str, np.ndarray], float]:
    """The gradients of one call, and by how much another's differ, which may write into the same arrays."""
    once = {name: g.copy() for name, g in gradients().items()}
    return once, _difference(once, gradients())


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


def _is_floats(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _names(f: Callable[..., Any], count: int) -> list[str]:
    """The names of f's first parameters; "0", "1", ... where it does not tell."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [named[i] if i < len(named) else str(i) for i in range(count)]


def _arguments(
    who: str, f: Callable[..., Any], x: Arguments
) -> tuple[list[str], dict[str, Any], Callable[[Mapping[str, Any]], Any]]:
    """Names, copies of what f takes by name, and how to call f with such."""
    if isinstance(x, Mapping):
        given = dict(x)
        call = lambda values: f(**values)  # noqa: E731
    elif isinstance(x, tuple):
        given = dict(zip(_names(f, len(x)), x, strict=True))
        call = lambda values: f(*values.values())  # noqa: E731
    else:
        (name,) = _names(f, 1)
        given = {"x" if name == "0" else name: np.asarray(x)}
        (only,) = given.values()
        if only.dtype.kind != "f":
            raise TypeError(f"{who}: expected x of floating-point values; got dtype {only.dtype}")
        call = lambda values: f(*values.values())  # noqa: E731
    if not any(_is_floats(a) for a in given.values()):
        given = {name: np.array(a) if isinstance(a, float) else a for name, a in given.items()}
    points = {name: np.array(a, order="C") if _is_floats(a) else a for name, a in given.items()}
    names = [name for name, a in points.items() if _is_floats(a)]
    if not names:
        raise TypeError(f"{who}: expected x with at least one array of floats; got {x!r}")
    return names, points, call


def _gradients(who: str, names: list[str], points: Mapping[str, Any], given: Any) -> dict[str, np.ndarray]:
    """The gradient of each array of floats that has one, of its array's shape."""
    if isinstance(given, Mapping):
        found = {key[1:] if key not in points and key[:1] == "d" else key: g for key, g in given.items()}
        unknown = [name for name in found if name not in names and found[name] is not None]
        if unknown:
            raise ValueError(f"{who}: expected gradients of {names}; got one of {unknown[0]!r}")
    else:
        several = given if isinstance(given, (tuple, list)) and len(names) > 1 else (given,)
        if isinstance(given, tuple) and len(names) == 1 and len(given) == 1:
            several = given
        everything = list(points) if len(several) == len(points) else names
        if len(several) != len(everything):
            raise ValueError(
                f"{who}: expected {len(names)} gradients, of {', '.join(names)} (None for one not to be checked); got "
                f"{len(several)}"
            )
        found = dict(zip(everything, several, strict=True))
    gradients = {name: np.asarray(found[name]) for name in names if found.get(name) is not None}
    for name, gradient in gradients.items():
        if gradient.shape != points[name].shape:
            raise ValueError(f"{who}: expected analytic of {name}'s shape {points[name].shape}; got {gradient.shape}")
    if not gradients:
        raise ValueError(f"{who}: expected a gradient of at least one of {', '.join(names)}; got none")
    if not any(gradient.size for gradient in gradients.values()):
        raise ValueError(f"{who}: expected at least one element to check; got arrays without any")
    return gradients


def _replayer(replay: Replay) -> Callable[[], object]:
    if replay is None:
        return lambda: None
    if callable(replay):
        return replay
    generators = [replay] if isinstance(replay, np.random.Generator) else list(replay)
    states = [g.bit_generator.state for g in generators]

    def put_back() -> None:
        for generator, state in zip(generators, states, strict=True):
            generator.bit_generator.state = state

    return put_back


def _difference(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """Largest difference of two sets of gradients, 0 where both are not finite in the same way."""
    with np.errstate(invalid="ignore"):
        return max(
            float(np.nanmax(np.abs(np.where(one[name] == other[name], 0.0, one[name] - other[name])), initial=0.0))
            for name in one
        )


def _eps(arrays: Iterable[np.ndarray]) -> float:
    """Of the coarsest arithmetic that made one of them."""
    return max(float(np.finfo(a.dtype).eps) for a in arrays if a.dtype.kind == "f")
