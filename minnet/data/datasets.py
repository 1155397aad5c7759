"""Data sets: two that travel with the package, one that is computed, two read from a folder of the user's."""

import gzip
import io
import math
import zlib
from importlib import resources
from pathlib import Path

import numpy as np

from .. import checks, streams
from .arrays import Data

_SPECIES = ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
# The UCI file's own notes say what these two rows (counted from 1) are in Fisher's article.
_IRIS_CORRECTIONS = {35: (4.9, 3.1, 1.5, 0.2), 38: (4.9, 3.6, 1.4, 0.1)}


def iris() -> Data:
    """Fisher's flowers: x (150, 4) float32 in cm (sepal length and width, petal length and width); y (150,) int64,
    0 setosa, 1 versicolor, 2 virginica. UCI's file, with its two known errors corrected.
    """
    lines = (resources.files("minnet.data") / "bundled" / "iris.data").read_text(encoding="utf-8").split()
    rows = [line.split(",") for line in lines]
    x = np.array([row[:4] for row in rows], np.float32)
    y = np.array([_SPECIES.index(row[4]) for row in rows], np.int64)
    for number, values in _IRIS_CORRECTIONS.items():
        x[number - 1] = values
    return x, y


def digits() -> Data:
    """UCI's optical digits, the test part: x (1797, 8, 8, 1) float32 in [0, 1]; y (1797,) int64."""
    text = (resources.files("minnet.data") / "bundled" / "optdigits.tes").read_text(encoding="utf-8")
    table = np.array([line.split(",") for line in text.split()], np.int64)
    x = (table[:, :64] / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    return x, table[:, 64].copy()


def spirals(points: int = 100, arms: int = 3, noise: float = 0.2, *, seed: int = 0) -> Data:
    """CS231n's toy data: ``arms`` spirals of ``points`` each; x (points * arms, 2) float32, y int64.

    Arm j runs from radius 0 to 1 while its angle goes from 4 j to 4 (j + 1) radians, with N(0, noise^2) on the angle.
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


_IDX_UINT8 = 0x08
_IDX_MOST = 60_000 * 28 * 28  # bytes of data in the largest of the files; a small gzip file may unpack to any size
_MNIST = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def mnist(folder: str | Path) -> tuple[Data, Data]:
    """(train, test) from the original IDX files in ``folder``, gzipped or not.

    A file may also be called ``train-images.idx3-ubyte``, and may lie in a folder of its own name, as archives of MNIST
    unpack.
    Images are uint8 (60000, 28, 28, 1) and (10000, 28, 28, 1); labels int64. FileNotFoundError for a missing file;
    ValueError, naming the file, for one that is truncated, too long, or not what its name says.
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
    """One IDX file of unsigned bytes: magic 0, 0, type, axes; then each axis as a big-endian uint32; then the data."""
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
            # One byte more than there should be shows whether there are more.
            raw += _read_up_to(file, min(math.prod(shape), _IDX_MOST) + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"mnist: expected a whole gzip file; {path} is damaged or truncated ({error})") from error
    if len(raw) != header + math.prod(shape):
        raise ValueError(
            f"mnist: expected {header + math.prod(shape)} bytes in {path}, as its header says {shape}; got {len(raw)}"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy()  # what frombuffer gives is read-only


def _read_up_to(file: io.BufferedIOBase, most: int) -> bytes:
    """The file's bytes, at most so many; in parts, as asking for all at once would make memory for all."""
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
    """(train, test) from the binary version of CIFAR-10 in ``folder``: data_batch_1.bin to _5.bin and test_batch.bin.

    Images are uint8 (n, 32, 32, 3), channels last; labels int64, 0 airplane to 9 truck (``cifar10_classes()``). A file
    ``test_first1000.bin``, test_batch.bin's first 1,000 records, serves where that is missing. FileNotFoundError for a
    missing file; ValueError, naming the file, for one that has not its 10,000 records or holds labels above 9. The
    files may lie in the folder ``cifar-10-batches-bin`` that the archive makes.
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
    """Names of CIFAR-10's classes, by label."""
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
