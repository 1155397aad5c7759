"""CIFAR-10 and CIFAR-100: files of records, each of which has labels and an image of 32 x 32 in three planes."""

from pathlib import Path

import numpy as np

from .arrays import Data

_PLANES = 3 * 32 * 32  # bytes of the red, green and blue planes, after the labels
_RECORDS = (
    10_000  # in each file of CIFAR-10, and in the test file of CIFAR-100; its training file has five times as many
)
_CIFAR10_ARCHIVE, _CIFAR100_ARCHIVE = "cifar-10-batches-bin", "cifar-100-binary"
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100_CLASSES = (
    *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy"),
    *("bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee"),
    *("clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant"),
    *("flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower"),
    *("leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom"),
    *("oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate"),
    *("poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark"),
    *("shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower"),
    *("sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip"),
    *("turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"),
)


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
    folder = _unpacked(Path(folder), _CIFAR10_ARCHIVE, "data_batch_1.bin")
    train = [_read("cifar10", folder / f"data_batch_{i}.bin", _RECORDS) for i in range(1, 6)]
    test, records = folder / "test_batch.bin", _RECORDS
    if not test.exists() and (folder / "test_first1000.bin").exists():
        test, records = folder / "test_first1000.bin", _RECORDS // 10
    images = np.concatenate([x for x, _ in train])
    labels = np.concatenate([y for _, y in train])
    test_images, test_labels = _read("cifar10", test, records)
    return (images, labels[:, 0].copy()), (test_images, test_labels[:, 0].copy())


def cifar10_classes() -> tuple[str, ...]:
    """Return the names of CIFAR-10's classes, in the order of the labels.

    Returns:
        10 names.
    """
    return _CIFAR10_CLASSES


def cifar100(folder: str | Path, *, coarse: bool = False) -> tuple[Data, Data]:
    """Load CIFAR-100 (Krizhevsky 2009) from the files of its binary version.

    Args:
        folder: folder with ``train.bin`` and ``test.bin``, or with the archive's folder ``cifar-100-binary``.
        coarse: whether y has the 20 superclasses instead of the 100 classes.

    Returns:
        (train, test), each a pair (x, y). x is uint8 of shape (50000, 32, 32, 3) or (10000, 32, 32, 3), channels last.
        y is int64 of shape (n,), from 0 (apple) to 99 (worm); ``cifar100_classes()`` has the names.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file does not have its number of records, or has labels out of range. The error names it.
    """
    folder = _unpacked(Path(folder), _CIFAR100_ARCHIVE, "train.bin")
    column, parts = 0 if coarse else 1, []
    for name, records in (("train.bin", 5 * _RECORDS), ("test.bin", _RECORDS)):
        images, labels = _read("cifar100", folder / name, records, classes=(20, 100))
        parts.append((images, labels[:, column].copy()))
    return parts[0], parts[1]


def cifar100_classes() -> tuple[str, ...]:
    """Return the names of CIFAR-100's 100 classes, in the order of the labels, which is alphabetical.

    Returns:
        100 names.
    """
    return _CIFAR100_CLASSES


def _unpacked(folder: Path, archive: str, first: str) -> Path:
    """Return the folder with the files: ``folder``, or the one in it that the archive makes."""
    return folder / archive if (folder / archive).is_dir() and not (folder / first).exists() else folder


def _read(who: str, path: Path, records: int, classes: tuple[int, ...] = (10,)) -> Data:
    """Read records of one byte for each label, whose numbers of classes are given, and the planes of an image.

    Returns:
        (images, labels): labels are int64 of shape (records, len(classes)).
    """
    if not path.exists():
        raise FileNotFoundError(f"{who}: expected {path.name} in {path.parent}; it is not there")
    size, record = path.stat().st_size, len(classes) + _PLANES
    if size != records * record:
        raise ValueError(
            f"{who}: expected {records} records of {record} bytes in {path}; got {size} bytes (truncated?)"
        )
    table = np.frombuffer(path.read_bytes(), np.uint8).reshape(records, record)
    labels, images = table[:, : len(classes)].astype(np.int64), table[:, len(classes) :]
    for column, count in enumerate(classes):
        if labels[:, column].max() >= count:
            raise ValueError(f"{who}: expected labels from 0 to {count - 1} in {path}; got {labels[:, column].max()}")
    return np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels
