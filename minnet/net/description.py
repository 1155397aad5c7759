"""What a net is, as text and numbers that a file can hold; and in which words two such descriptions differ.

A checkpoint and the file of an ensemble hold arrays that only a net like the one they came from can use. So each has a
description of it, which is compared with that of the net that the file is read for.
"""

import re
from collections.abc import Iterator
from typing import Any

from .net import Net

Document = dict[str, Any]
_SHOWN = 6  # differences that an error names


def words(value: Any) -> str:
    """``repr`` without the places of objects in memory, which are others in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def short(value: Any) -> str:
    """A value as an error shows it."""
    text = value if isinstance(value, str) else "none" if value is None else repr(value)
    return text if len(text) < 300 else f"{text[:300]}..."


def describe_architecture(net: Net) -> Document:
    """What two nets have to share for the weights, and vectors beside them, of one to mean the same in the other."""
    places = net.layout.places, net.buffer_layout.places
    parameters, buffers = ({name: list(place.shape) for name, place in part.items()} for part in places)
    return {
        "layers": [words(layer) for layer in net.layers.layers],
        "input_shape": list(net.input_shape),
        "loss": words(net.loss_function),
        "dtype": net.dtype.name,
        "parameters": parameters,
        "buffers": buffers,
        # In the flat vectors: a layer that tags a parameter otherwise, and prints the same, has it elsewhere.
        "start of": {name: place.start for part in places for name, place in part.items()},
    }


def differences(what: str, other: Any, given: Any, where: str = "in the file") -> str:
    """In which words another description of ``what``, a file's, is not that of what was given; "" if in none.

    ``where`` says in the text whose description the other is.
    """
    found = list(_differences(what, other, given, where))
    return "; ".join([*found[:_SHOWN], *([f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])])


def _differences(what: str, other: Any, given: Any, where: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*other, *given]):
            yield from _differences(f"{what} {name}".strip(), other.get(name), given.get(name), where)
    elif isinstance(given, list) and isinstance(other, list) and len(given) == len(other) and _is_text(given):
        for i, pair in enumerate(zip(other, given, strict=True)):
            yield from _differences(f"{what} {i}", *pair, where)
    elif repr(other) != repr(given):  # which tells 1 from 1.0, and does not mind what a spoilt file may have here
        yield f"{what} is {short(other)} {where}, {short(given)} here"


def _is_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
