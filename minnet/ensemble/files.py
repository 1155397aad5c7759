"""The file of an ensemble: safetensors, whole or not at all, refused with a reason if it is not what was asked for.

``params`` (K, P) and ``buffers`` (K, B). The metadata hold, as JSON under "minnet", format and version, the
architecture (where each tensor lies in a row of params, among others) and what the ensemble says about itself; under
"sha256" the checksum of that text and of the arrays.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_whole
from ..net import Net

_FORMAT, _VERSION = "minnet ensemble", 1


def write(path: str | Path, net: Net, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write arrays, the net's architecture, and what else is to be known about them."""
    from safetensors.numpy import save

    contents = {"format": _FORMAT, "version": _VERSION, "architecture": _architecture(net), **about}
    text = json.dumps(contents, allow_nan=False)
    write_whole(path, save(dict(arrays), metadata={"minnet": text, "sha256": _checksum(text, arrays)}))


def read(path: Path, net: Net) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, about) of a file of networks like ``net``; ValueError otherwise."""
    metadata, arrays = _read(path)
    about = _check_contents(path, metadata, arrays)
    ours, theirs = _architecture(net), about["architecture"]
    for part in ours:
        if ours[part] != theirs.get(part):
            raise ValueError(
                f"Ensemble.load: expected networks like {net!r} in {path}; {part}: expected {ours[part]}; "
                f"got {theirs.get(part)}"
            )
    return arrays, about


def _architecture(net: Net) -> dict[str, Any]:
    """What two nets have to share for the weights of one to mean the same in the other, as JSON knows it."""
    tensors = [[tensor.name, list(tensor.shape), tensor.start] for tensor in net.tensors]
    kept = [[place.name, list(place.shape), place.start] for place in net.buffer_layout.places.values()]
    return {
        "input shape": list(net.input_shape),
        "tensors": tensors,
        "buffers": kept,
        "dtype": net.dtype.name,
        # Where functions stand in it, without the place in memory that Python prints.
        "layers": re.sub(r" at 0x[0-9a-f]+", "", repr(net.layers)),
        "loss": repr(net.loss_function),
    }


def _checksum(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"Ensemble.load: expected a file {path}; there is none")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "minnet" not in metadata:
                raise ValueError(
                    f"Ensemble.load: expected an ensemble that minnet saved in {path}; got a safetensors file without "
                    f"its metadata, with tensors {sorted(file.keys())[:5]}"
                )
            names = set(file.keys())
            if names != {"params", "buffers"}:
                raise ValueError(
                    f"Ensemble.load: expected tensors params and buffers in {path}; got {sorted(names)[:5]}"
                )
            return metadata, {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"Ensemble.load: expected a safetensors file in {path}; got {error}") from None


def _check_contents(path: str | Path, metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the file says about itself; ValueError unless it is whole, an ensemble, and of a version known here."""
    text = metadata["minnet"]
    try:
        about = json.loads(text)
    except ValueError as error:
        raise ValueError(f"Ensemble.load: expected JSON in the metadata of {path}; got {error}") from None
    kind = about.get("format") if isinstance(about, dict) else None
    if kind != _FORMAT:
        raise ValueError(f"Ensemble.load: expected the format {_FORMAT!r} in {path}; got {kind!r}")
    if about.get("version") != _VERSION:
        raise ValueError(
            f"Ensemble.load: expected version {_VERSION} in {path}; got {about.get('version')}, of another minnet"
        )
    if metadata.get("sha256") != _checksum(text, arrays):
        raise ValueError(f"Ensemble.load: expected contents with the checksum that {path} names; it is damaged")
    missing = {"architecture", "names", "weights", "steps", "all_steps"} - set(about)
    if missing or not isinstance(about["architecture"], dict):
        raise ValueError(f"Ensemble.load: expected an architecture and names in {path}; got {sorted(about)}")
    shapes = {name: array.shape for name, array in arrays.items()}
    if any(len(shape) != 2 for shape in shapes.values()) or shapes["params"][0] != shapes["buffers"][0]:
        raise ValueError(f"Ensemble.load: expected params (K, P) and buffers (K, B) in {path}; got {shapes}")
    return about
