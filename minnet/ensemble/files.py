"""The file of an ensemble: an archive with params (K, P), buffers (K, B) and a document.

The document contains the architecture of the net and the names, weights and steps of the members. A file is refused for
a net of another architecture.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..net.description import describe_architecture, differences
from ..net.net import Net
from ..storage import archive

_KIND = "minnet ensemble"


def write(path: str | Path, net: Net, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write the arrays with the architecture of the net and further entries of the document."""
    archive.write(path, {"architecture": describe_architecture(net), **about}, dict(arrays), _KIND)


def read(path: Path, net: Net) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (arrays, document) of a file of networks like ``net``; raise CheckpointError, a ValueError, for others."""
    try:
        about, arrays = archive.read(path, _KIND)
    except archive.CheckpointError as error:
        raise archive.CheckpointError(f"Ensemble.load: {error}") from None
    _check_contents(path, about, arrays)
    found = differences("net", about["architecture"], describe_architecture(net))
    if found:
        raise archive.CheckpointError(f"Ensemble.load: expected networks like {net!r} in {path}; got others: {found}")
    return arrays, about


def _check_contents(path: Path, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Raise CheckpointError unless the file has all entries of an ensemble, with shapes that fit."""
    missing = {"architecture", "names", "weights", "steps", "all_steps"} - set(about)
    if missing or not isinstance(about["architecture"], dict):
        raise archive.CheckpointError(
            f"Ensemble.load: expected an architecture and names in {path}; got {sorted(about)}"
        )
    names, weights, steps = about["names"], about["weights"], about["steps"]
    if not (
        isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and isinstance(weights, list)
        and all(isinstance(weight, float) for weight in weights)
        and isinstance(steps, list | None)
        and all(type(step) is int and step < 2**63 for step in steps or ())
        and type(about["all_steps"]) in (int, type(None))
        and (about["all_steps"] or 0) < 2**63
    ):
        raise archive.CheckpointError(
            f"Ensemble.load: expected names, weights as floats, and whole numbers of steps in {path}; got others"
        )
    if set(arrays) != {"params", "buffers"}:
        raise archive.CheckpointError(
            f"Ensemble.load: expected tensors params and buffers in {path}; got {sorted(arrays)[:5]}"
        )
    shapes = {name: array.shape for name, array in arrays.items()}
    if any(len(shape) != 2 for shape in shapes.values()) or shapes["params"][0] != shapes["buffers"][0]:
        raise archive.CheckpointError(
            f"Ensemble.load: expected params (K, P) and buffers (K, B) in {path}; got {shapes}"
        )
