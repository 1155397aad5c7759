"""Whether a gradient function takes the cotangent, as a backward pass does, or x, as SciPy's ``jac`` does."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .arguments import gradients_of, required
from .subject import Subject


def takes_arguments(subject: Subject, analytic: Callable[..., Any], value: np.ndarray) -> bool:
    """Return whether ``analytic`` takes f's arguments, rather than a cotangent.

    It does if its parameters have the names of f's parameters, or if it needs several. If f returns one number, there
    are two more signs: ``analytic`` fails or returns no gradient for a cotangent of 1, or its result for a cotangent
    of 0 is not 0.
    """
    needed = required(analytic)
    alike = bool(needed) and needed == required(subject.f)
    if value.size != 1:
        if alike:
            raise TypeError(
                f"{subject.who}: expected analytic as a function of the cotangent, which has the shape {value.shape} "
                f"of f's value; got one of {', '.join(needed)}, as f is (let f give a sum, or give analytic=lambda d: "
                "... for the gradient of the sum of d * f)"
            )
        return False
    if alike or len(needed) > 1:
        return True
    try:
        at_one, at_zero = (_gradients(subject, analytic(fill(value.shape))) for fill in (np.ones, np.zeros))
    except (TypeError, ValueError, LookupError, AttributeError):
        return True
    if any(g.any() for g in at_zero.values()):
        return True
    if len(subject.points) == 1 and not subject.points[subject.names[0]].ndim:
        _refuse_two_meanings(subject, analytic, at_one)
    return False


def _gradients(subject: Subject, given: Any) -> dict[str, np.ndarray]:
    return gradients_of(subject.who, subject.names, subject.points, given)


def _refuse_two_meanings(subject: Subject, analytic: Callable[..., Any], at_one: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError if both are possible: 2 * t may be the gradient at the number x = t, or for a cotangent t."""
    (name,) = subject.names
    at_x = _gradients(subject, analytic(subject.points[name].copy()))
    if not np.array_equal(at_one[name], at_x[name]):
        raise ValueError(
            f"{subject.who}: expected to see whether analytic takes {name} or the cotangent; got {at_x[name]} for "
            f"{name} and {at_one[name]} for a cotangent of 1, which may both be meant (call its parameter {name}, as f "
            "does, or give the gradient as a number)"
        )
