"""Layers with some of their inner layers changed."""

from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any

from .base import Layer


def changed(layer: Layer, change: Callable[[Layer], Layer]) -> Layer:
    """Return the layer with ``change`` applied to it and to all layers inside it; the layer itself does not change.

    Layers are inside another if they are fields of its dataclass, or in a list or tuple there.
    """
    changes: dict[str, Any] = {}
    declared: tuple[Field, ...] = fields(layer) if is_dataclass(layer) else ()
    for field in declared:
        value = getattr(layer, field.name)
        if isinstance(value, Layer):
            changes[field.name] = changed(value, change)
        elif isinstance(value, tuple | list) and any(isinstance(part, Layer) for part in value):
            changes[field.name] = tuple(changed(part, change) for part in value)
    return change(replace(layer, **changes) if changes else layer)  # type: ignore[type-var]  # dataclass if it has any
