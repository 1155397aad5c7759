"""MNIST and the data sets in its format: four IDX files, gzipped or not."""

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np

from .arrays import Data

_UINT8 = 0x08
_MOST = 60_000 * 28 * 28  # bytes in the largest file; a small gzip file may expand to any size
_FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def mnist(folder: str | Path) -> tuple[Data, Data]:
    """Load MNIST from the original IDX files, gzipped or not.

    Args:
        folder: folder with the four files. A file may also be named like ``train-images.idx3-ubyte``, and may be in a
            folder of its own name, as some archives of MNIST unpack.

    Returns:
        (train, test), each a pair (x, y). x is uint8 of shape (60000, 28, 28, 1) or (10000, 28, 28, 1); y is int64.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is truncated, too long, or has other contents than its name says. The error names it.
    """
    return _read_parts("mnist", Path(folder))


def fashion_mnist(folder: str | Path) -> tuple[Data, Data]:
    """Load Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747), whose files have MNIST's names and format.

    Args:
        folder: folder with the four files, see ``mnist``.

    Returns:
        (train, test), as of ``mnist``. y is from 0 (T-shirt/top) to 9 (Ankle boot); ``fashion_mnist_classes()`` has the
        names.

    Raises:
        FileNotFoundError, ValueError: as ``mnist``.
    """
    return _read_parts("fashion_mnist", Path(folder))


def fashion_mnist_classes() -> tuple[str, ...]:
    """Return the names of Fashion-MNIST's classes, in the order of the labels.

    Returns:
        10 names.
    """
    return _FASHION_CLASSES


def _read_parts(who: str, folder: Path) -> tuple[Data, Data]:
    """Read training and test data from files of the names that MNIST has."""
    parts = []
    for images_name, labels_name in _FILES.values():
        images = _read_idx(who, folder, images_name, axes=3)
        labels = _read_idx(who, folder, labels_name, axes=1)
        if len(images) != len(labels):
            raise ValueError(f"{who}: expected as many labels as images; got {len(labels)} and {len(images)}")
        if len(images) == 0 or images.shape[1:] != (28, 28):
            raise ValueError(
                f"{who}: expected at least one image of 28 x 28 in {images_name}; got shape {images.shape}"
            )
        if labels.max() > 9:
            raise ValueError(f"{who}: expected labels from 0 to 9 in {labels_name}; got {labels.max()}")
        parts.append((images[..., np.newaxis], labels.astype(np.int64)))
    return parts[0], parts[1]


def _read_idx(who: str, folder: Path, name: str, axes: int) -> np.ndarray:
    """Read an IDX file of bytes: magic number 0, 0, type, axes; each axis as a big-endian uint32; then the data."""
    names = [f"{spelling}{ending}" for spelling in (name, name.replace("-idx", ".idx")) for ending in ("", ".gz")]
    places = [folder, *(folder / inner for inner in names)]
    path = next((place / inner for inner in names for place in places if (place / inner).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{who}: expected {name} or {name}.gz in {folder}; found neither")
    header = 4 + 4 * axes
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = _read_up_to(file, header)
            if len(raw) < header or raw[:4] != bytes((0, 0, _UINT8, axes)):
                raise ValueError(
                    f"{who}: expected {path} to start with the IDX magic number "
                    f"{bytes((0, 0, _UINT8, axes)).hex()}; got {raw[:4].hex()} in a file of "
                    f"{path.stat().st_size} bytes"
                )
            shape = tuple(int(axis) for axis in np.frombuffer(raw, ">u4", count=axes, offset=4))
            # Read one byte more than expected, to detect a file that is too long.
            raw += _read_up_to(file, min(math.prod(shape), _MOST) + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{who}: expected a whole gzip file; {path} is damaged or truncated ({error})") from error
    if len(raw) != header + math.prod(shape):
        raise ValueError(
            f"{who}: expected {header + math.prod(shape)} bytes in {path}, as its header says {shape}; got {len(raw)}"
        )
    return (
        np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy()
    )  # a copy, because frombuffer returns a read-only array


def _read_up_to(file: io.BufferedIOBase, most: int) -> bytes:
    """Read at most ``most`` bytes, in parts, because a single read would allocate memory for all of them."""
    parts: list[bytes] = []
    while most > 0 and (part := file.read(min(most, 2**16))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)
