"""Images in folders, one folder for each class."""

from pathlib import Path
from typing import Any

import numpy as np

from ..base import checks
from .arrays import Data

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_DEEP = ("I", "F")  # Pillow's modes of more than 8 bits; those of 16 bits begin with I, too


def image_folder(
    folder: str | Path, size: tuple[int, int] | None = None, *, grey: bool = False
) -> tuple[Data, tuple[str, ...]]:
    """Load images from a folder that has one folder of images for each class.

    Files are taken in alphabetical order, class by class. Files of other endings than those of images, and hidden ones,
    are left out. Of an animation the first image counts. As in torchvision's and Keras's loaders, an orientation that a
    camera noted is not applied.

    Args:
        folder: folder with the folders of the classes.
        size: (height, width) to which all images are resized, bilinear and smoothed where they shrink, whatever their
            proportions; None for images that are all of one size.
        grey: whether to convert colours to grey, by ITU-R 601 (0.299 red, 0.587 green, 0.114 blue). False converts grey
            images to colours. Transparency is dropped.

    Returns:
        ((x, y), classes): x is float32 in [0, 1] of shape (n, height, width, 3), or (n, height, width, 1) with
        ``grey``. y is int64 of shape (n,), the place of each image's class in ``classes``, the names of the folders in
        alphabetical order.

    Raises:
        FileNotFoundError: if there is no such folder.
        TypeError, ValueError: for a bad argument; for a folder without folders, a class without images, images of
            different sizes without ``size``, a file that cannot be read, and one with more than 8 bits for a colour.
            The error names it.
    """
    folder, grey = Path(folder), checks.truth("image_folder", "grey", grey)
    if size is not None:
        size = _checked_size(size)
    if not folder.is_dir():
        raise FileNotFoundError(f"image_folder: expected a folder {folder}; there is none")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise ValueError(f"image_folder: expected a folder for each class in {folder}; got no folders")
    images: list[np.ndarray] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        paths = sorted(path for path in (folder / name).iterdir() if _is_image(path))
        if not paths:
            raise ValueError(
                f"image_folder: expected images ({', '.join(sorted(_ENDINGS))}) in {folder / name}; got none"
            )
        for path in paths:
            pixels = _read(path, size, "L" if grey else "RGB")
            if images and pixels.shape != images[0].shape:
                raise ValueError(
                    f"image_folder: expected images of {_size(images[0])}, as the first is; got {_size(pixels)} in "
                    f"{path}. size=(height, width) resizes all"
                )
            images.append(pixels)
            labels.append(label)
    x = np.empty((len(images), *images[0].shape[:2], 1 if grey else 3), np.float32)
    for place, pixels in zip(x, images, strict=True):
        np.divide(pixels.reshape(place.shape), np.float32(255), out=place)
    return (x, np.array(labels, np.int64)), tuple(classes)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]}"


def _checked_size(size: Any) -> tuple[int, int]:
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise TypeError(f"image_folder: expected size to be (height, width) or None; got {size!r}")
    height, width = (checks.count("image_folder", name, n) for name, n in zip(("height", "width"), size, strict=True))
    return height, width


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and path.is_file() and not path.name.startswith(".")


def _read(path: Path, size: tuple[int, int] | None, mode: str) -> np.ndarray:
    """Return the bytes of an image, of shape (height, width) or (height, width, 3)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(_DEEP):
                raise ValueError(f"mode {image.mode}, which has more than 8 bits for a colour")
            # A palette may have transparent colours, which Pillow converts by way of RGBA only.
            plain = image.convert("RGBA") if image.mode == "P" else image
            converted = plain.convert(mode)
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"image_folder: expected an image in {path}; got {error}") from error
    if size is not None and converted.size != (size[1], size[0]):
        converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(converted)
