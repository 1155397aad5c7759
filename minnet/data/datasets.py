"""Data sets: iris, digits and a play are bundled, spirals are computed, others are read from a folder."""

import gzip
import io
import math
import zlib
from importlib import resources
from pathlib import Path

import numpy as np

from ..base import checks, streams
from .arrays import Data
from .text import Text

_SPECIES = ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
# Values of two rows (counted from 1) in Fisher's article, according to the notes of the UCI file.
_IRIS_CORRECTIONS = {35: (4.9, 3.1, 1.5, 0.2), 38: (4.9, 3.6, 1.4, 0.1)}


def iris() -> Data:
    """Load Fisher's iris data from UCI's file, with its two known errors corrected.

    Returns:
        (x, y): x of shape (150, 4), float32, is sepal length, sepal width, petal length and petal width in cm. y of
        shape (150,), int64, is 0 for setosa, 1 for versicolor and 2 for virginica.
    """
    lines = (resources.files("minnet.data") / "bundled" / "iris.data").read_text(encoding="utf-8").split()
    rows = [line.split(",") for line in lines]
    x = np.array([row[:4] for row in rows], np.float32)
    y = np.array([_SPECIES.index(row[4]) for row in rows], np.int64)
    for number, values in _IRIS_CORRECTIONS.items():
        x[number - 1] = values
    return x, y


def digits() -> Data:
    """Load the test part of UCI's optical recognition of handwritten digits.

    Returns:
        (x, y): x of shape (1797, 8, 8, 1), float32 in [0, 1]; y of shape (1797,), int64 labels from 0 to 9.
    """
    text = (resources.files("minnet.data") / "bundled" / "optdigits.tes").read_text(encoding="utf-8")
    table = np.array([line.split(",") for line in text.split()], np.int64)
    x = (table[:, :64] / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    return x, table[:, 64].copy()


def spirals(points: int = 100, arms: int = 3, noise: float = 0.2, *, seed: int = 0) -> Data:
    """Generate CS231n's toy data of interleaved spirals.

    The radius of arm j grows from 0 to 1 while its angle grows from 4 j to 4 (j + 1) radians, plus noise.

    Args:
        points: number of points in each arm.
        arms: number of arms, one class each.
        noise: standard deviation of the angle's noise, in radians.
        seed: seed of the noise.

    Returns:
        (x, y): x of shape (points * arms, 2), float32; y of shape (points * arms,), int64, the number of the arm.
    """
    checks.count("spirals", "points", points)
    checks.count("spirals", "arms", arms)
    checks.non_negative("spirals", "noise", noise)
    rng = streams.generator(checks.count("spirals", "seed", seed, least=0), "noise of spirals")
    radius = np.tile(np.linspace(0, 1, points), arms)
    label = np.repeat(np.arange(arms), points)
    angle = 4 * (label + radius) + noise * rng.standard_normal(label.size)
    x = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1).astype(np.float32)
    return x, label.astype(np.int64)


def coriolanus() -> Text:
    """Load the play Coriolanus by Shakespeare: 154,469 characters, 61 different ones.

    It is the first play of the file that ``shakespeare`` reads.
    """
    return Text((resources.files("minnet.data") / "bundled" / "coriolanus.txt").read_text(encoding="utf-8"))


def text(path: str | Path) -> Text:
    """Load a text file in UTF-8.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty or is not UTF-8. The error names it.
    """
    try:
        characters = Path(path).read_text(encoding="utf-8-sig")  # with or without a mark at its start
    except UnicodeDecodeError as error:
        raise ValueError(
            f"text: expected {path} in UTF-8; got byte {error.object[error.start]:#04x} at {error.start}"
        ) from error
    if not characters:
        raise ValueError(f"text: expected a text in {path}; got an empty file")
    return Text(characters)


def shakespeare(folder: str | Path) -> Text:
    """Load the 1.1 million characters of Shakespeare that are known as tinyshakespeare (Karpathy 2015).

    Args:
        folder: folder with ``input.txt``, or with the folder ``tinyshakespeare`` that has it.

    Raises:
        FileNotFoundError: if the file is missing.
    """
    places = [Path(folder) / "input.txt", Path(folder) / "tinyshakespeare" / "input.txt"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"shakespeare: expected input.txt or tinyshakespeare/input.txt in {folder}; found neither"
        )
    return text(path)


_IDX_UINT8 = 0x08
_IDX_MOST = 60_000 * 28 * 28  # bytes in the largest file; a small gzip file may expand to any size
_MNIST = {
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
    parts = []
    for images_name, labels_name in _MNIST.values():
        images = _read_idx(Path(folder), images_name, axes=3)
        labels = _read_idx(Path(folder), labels_name, axes=1)
        if len(images) != len(labels):
            raise ValueError(f"mnist: expected as many labels as images; got {len(labels)} and {len(images)}")
        if len(images) == 0 or images.shape[1:] != (28, 28):
            raise ValueError(
                f"mnist: expected at least one image of 28 x 28 in {images_name}; got shape {images.shape}"
            )
        if labels.max() > 9:
            raise ValueError(f"mnist: expected labels from 0 to 9 in {labels_name}; got {labels.max()}")
        parts.append((images[..., np.newaxis], labels.astype(np.int64)))
    return parts[0], parts[1]


def _read_idx(folder: Path, name: str, axes: int) -> np.ndarray:
    """Read an IDX file of bytes: magic number 0, 0, type, axes; each axis as a big-endian uint32; then the data."""
    names = [f"{spelling}{ending}" for spelling in (name, name.replace("-idx", ".idx")) for ending in ("", ".gz")]
    places = [folder, *(folder / inner for inner in names)]
    path = next((place / inner for inner in names for place in places if (place / inner).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"mnist: expected {name} or {name}.gz in {folder}; found neither")
    header = 4 + 4 * axes
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = _read_up_to(file, header)
            if len(raw) < header or raw[:4] != bytes((0, 0, _IDX_UINT8, axes)):
                raise ValueError(
                    f"mnist: expected {path} to start with the IDX magic number "
                    f"{bytes((0, 0, _IDX_UINT8, axes)).hex()}; got {raw[:4].hex()} in a file of "
                    f"{path.stat().st_size} bytes"
                )
            shape = tuple(int(axis) for axis in np.frombuffer(raw, ">u4", count=axes, offset=4))
            # Read one byte more than expected, to detect a file that is too long.
            raw += _read_up_to(file, min(math.prod(shape), _IDX_MOST) + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"mnist: expected a whole gzip file; {path} is damaged or truncated ({error})") from error
    if len(raw) != header + math.prod(shape):
        raise ValueError(
            f"mnist: expected {header + math.prod(shape)} bytes in {path}, as its header says {shape}; got {len(raw)}"
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


_CIFAR_RECORD = 1 + 3 * 32 * 32  # label, then the red, green and blue planes
_CIFAR_RECORDS = 10_000  # in each file
_CIFAR_ARCHIVE = "cifar-10-batches-bin"
_CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(folder: str | Path) -> tuple[Data, Data]:
    """Load CIFAR-10 from the files of its binary version.

    Args:
        folder: folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or with the archive's
            folder ``cifar-10-batches-bin``. If ``test_batch.bin`` is missing, ``test_first1000.bin`` is read, which has
            its first 1,000 records.

    Returns:
        (train, test), each a pair (x, y). x is uint8 of shape (n, 32, 32, 3), channels last. y is int64 of shape (n,),
        from 0 (airplane) to 9 (truck); ``cifar10_classes()`` has the names.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file does not have 10,000 records, or has labels above 9. The error names it.
    """
    folder = Path(folder)
    if (folder / _CIFAR_ARCHIVE).is_dir() and not (folder / "data_batch_1.bin").exists():
        folder /= _CIFAR_ARCHIVE
    train = [_read_cifar(folder / f"data_batch_{i}.bin", _CIFAR_RECORDS) for i in range(1, 6)]
    test, records = folder / "test_batch.bin", _CIFAR_RECORDS
    if not test.exists() and (folder / "test_first1000.bin").exists():
        test, records = folder / "test_first1000.bin", _CIFAR_RECORDS // 10
    images = np.concatenate([x for x, _ in train])
    return (images, np.concatenate([y for _, y in train])), _read_cifar(test, records)


def cifar10_classes() -> tuple[str, ...]:
    """Return the names of CIFAR-10's classes, in the order of the labels."""
    return _CIFAR_CLASSES


def _read_cifar(path: Path, records: int) -> Data:
    if not path.exists():
        raise FileNotFoundError(f"cifar10: expected {path.name} in {path.parent}; it is not there")
    size = path.stat().st_size
    if size != records * _CIFAR_RECORD:
        raise ValueError(
            f"cifar10: expected {records} records of {_CIFAR_RECORD} bytes in {path}; got {size} bytes (truncated?)"
        )
    table = np.frombuffer(path.read_bytes(), np.uint8).reshape(records, _CIFAR_RECORD)
    if table[:, 0].max() > 9:
        raise ValueError(f"cifar10: expected labels from 0 to 9 in {path}; got {table[:, 0].max()}")
    images = table[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), table[:, 0].astype(np.int64)
