"""Weights in the layout of libraries that keep images as (C, H, W), and back.

minnet keeps images as (H, W, C), weights of convolutions as (kh, kw, in, out), of dense layers as (in, out). With
channels first they are (out, in, kh, kw), and the rows of the dense layer behind a Flatten come in another order.
"""

import numpy as np
from workloads import Workload

import minnet as mn


def flattened_images(work: Workload) -> dict[str, tuple[int, ...]]:
    """Shape (H, W, C) of the images that reach a dense layer through a Flatten, by the name of its weights."""
    found, shape, image = {}, work.input_shape, None
    for child in mn.Chain(work.layers).plan(work.input_shape).children:
        if isinstance(child.layer, mn.Flatten):
            image = shape
        elif image is not None and isinstance(child.layer, mn.Dense):
            found[f"{child.name}.W"], image = image, None
        shape = child.plan.out
    return found


def channels_first(work: Workload, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    images = flattened_images(work)

    def convert(name: str, value: np.ndarray) -> np.ndarray:
        if value.ndim == 4:
            return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
        if name in images:
            return value.reshape(*images[name], -1).transpose(2, 0, 1, 3).reshape(value.shape)
        return value

    return {name: convert(name, value) for name, value in values.items()}


def channels_last(work: Workload, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of ``channels_first``."""
    images = flattened_images(work)

    def convert(name: str, value: np.ndarray) -> np.ndarray:
        if value.ndim == 4:
            return np.ascontiguousarray(value.transpose(2, 3, 1, 0))
        if name in images:
            rows, columns, channels = images[name]
            return value.reshape(channels, rows, columns, -1).transpose(1, 2, 0, 3).reshape(value.shape)
        return value

    return {name: convert(name, value) for name, value in values.items()}


def images_first(x: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C) as (n, C, H, W); anything else as it is."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim == 4 else x
