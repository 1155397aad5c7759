"""Members of an ensemble as they are given, and their weights."""

from typing import Any

import numpy as np

from ..averaging import Average
from ..base import checks
from ..net.description import describe_architecture, differences
from ..net.net import Net

# A net, an average, a pair (params, buffers), or params alone, which are used with the buffers of the given net.
Member = Net | Average | tuple[np.ndarray, np.ndarray] | np.ndarray


def member_point(net: Net, i: int, member: Member) -> tuple[np.ndarray, np.ndarray]:
    """Return params and buffers of member ``i``, after checking that they are possible values and fit the net."""
    if isinstance(member, Net):
        found = differences("net", describe_architecture(member), describe_architecture(net), f"in member {i}")
        if found:
            raise ValueError(
                f"Ensemble: expected members like {net!r}; got another: {found} (to take the weights of a net that "
                "differs in training only, give (params, buffers))"
            )
        params, buffers = member.params, member.buffers
    elif isinstance(member, Average):
        params, buffers = member.params, member.buffers
    else:
        params, buffers = member if isinstance(member, tuple | list) else (member, net.buffers)
        params, buffers = checks.array("Ensemble", "params", params), checks.array("Ensemble", "buffers", buffers)
    for name, values, own in (("params", params, net.params), ("buffers", buffers, net.buffers)):
        if values.shape != own.shape or values.dtype != own.dtype:
            raise ValueError(
                f"Ensemble: expected member {i} to have {name} of {own.dtype} {own.shape}; "
                f"got {values.dtype} {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"Ensemble: expected finite members; got NaN or infinity in the {name} of member {i}")
    low = net.too_low(buffers)
    if low is not None:
        raise ValueError(
            f"Ensemble: expected member {i} to have {low}. No training pass measures less; refreshed_buffers(net, "
            "train, params=params) measures them again"
        )
    return params, buffers


def as_weights(weights: Any, k: int) -> np.ndarray:
    """Return the weights of ``k`` members, float64 (k,), which sum to 1."""
    if weights is None:
        return np.full(k, 1 / k)
    values = checks.array("Ensemble", "weights", weights)
    if values.dtype.kind not in "iuf" or values.shape != (k,):
        raise ValueError(f"Ensemble: expected {k} numbers as weights; got {weights!r:.200}")
    values = values.astype(np.float64)
    with np.errstate(over="ignore"):
        total = values.sum()
    if not np.isfinite(total) or values.min() < 0 or total == 0:
        raise ValueError(
            f"Ensemble: expected {k} finite weights of at least 0, not all 0, with a finite sum; got {weights!r:.200}"
        )
    return values / total
