"""Descriptions of nets, as text and numbers for a file, and the differences between two descriptions.

The arrays in a checkpoint or in the file of an ensemble fit only a net like the one that they came from. Each file
therefore contains a description of that net, which is compared with the description of the net that reads the file.
"""

import re
from collections.abc import Iterator
from typing import Any

from .net import Net

Document = dict[str, Any]
_SHOWN = 6  # most differences that an error names


def words(value: Any) -> str:
    """Return ``repr`` without the addresses of objects, which differ between processes."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def short(value: Any) -> str:
    """Return a value as text for an error, shortened if it is long."""
    text = value if isinstance(value, str) else "none" if value is None else repr(value)
    return text if len(text) < 300 else f"{text[:300]}..."


def describe_architecture(net: Net) -> Document:
    """Describe everything that two nets must share so that the flat vectors of one fit the other."""
    places = net.layout.places, net.buffer_layout.places
    parameters, buffers = ({name: list(place.shape) for name, place in part.items()} for part in places)
    return {
        "layers": [words(layer) for layer in net.layers.layers],
        "input_shape": list(net.input_shape),
        "loss": words(net.loss_function),
        "dtype": net.dtype.name,
        "parameters": parameters,
        "buffers": buffers,
        # A layer that tags a parameter differently may have the same repr, but its place in the vector differs.
        "start of": {name: place.start for part in places for name, place in part.items()},
    }


def differences(what: str, other: Any, given: Any, where: str = "in the file", here: str = "here") -> str:
    """Return the differences between two descriptions as text; "" if there are none.

    Args:
        what: what is described.
        other: the other description, such as that of a file.
        given: the description of the given object.
        where, here: where the other and the given description come from, for the text.
    """
    found = list(_differences(what, other, given, (where, here)))
    return "; ".join([*found[:_SHOWN], *([f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])])


def _differences(what: str, other: Any, given: Any, where: tuple[str, str]) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*other, *given]):
            yield from _differences(f"{what} {name}".strip(), other.get(name), given.get(name), where)
    elif isinstance(given, list) and isinstance(other, list) and len(given) == len(other) and _is_text(given):
        for i, pair in enumerate(zip(other, given, strict=True)):
            yield from _differences(f"{what} {i}", *pair, where)
    elif repr(other) != repr(given):  # distinguishes 1 from 1.0, and works for any value in a damaged file
        yield f"{what} is {short(other)} {where[0]}, {short(given)} {where[1]}"


def _is_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
