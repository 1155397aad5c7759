"""The data sets: the bundled ones against published figures, the readers on files in the original formats."""

import gzip
import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from minnet import datasets
from minnet.base import streams
from minnet.data import cifar as cifar_files


@pytest.fixture
def data_folder():
    folder = os.environ.get("MINNET_DATA")
    if not folder:
        pytest.skip("MINNET_DATA is unset: the readers are not tested on the real files")
    return Path(folder)


# Bundled and computed -----------------------------------------------------------------------------------


def test_iris_has_50_flowers_of_each_species_in_order():
    x, y = datasets.iris()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((150, 4), np.float32, (150,), np.int64)
    np.testing.assert_array_equal(y, [0] * 50 + [1] * 50 + [2] * 50)


def test_iris_has_its_two_wrong_rows_corrected():
    x, _ = datasets.iris()
    # As UCI's own notes to the file give them, rows counted from 1.
    np.testing.assert_array_equal(x[35 - 1], np.float32([4.9, 3.1, 1.5, 0.2]))
    np.testing.assert_array_equal(x[38 - 1], np.float32([4.9, 3.6, 1.4, 0.1]))
    # Row 10 equals what row 35 wrongly was: it is right and must stay.
    np.testing.assert_array_equal(x[10 - 1], np.float32([4.9, 3.1, 1.5, 0.1]))


def test_iris_has_the_means_of_fishers_table():
    # Fisher 1936, table 2: the species' means in cm, exact to the third decimal because each is a sum over 50.
    published = [[5.006, 3.428, 1.462, 0.246], [5.936, 2.770, 4.260, 1.326], [6.588, 2.974, 5.552, 2.026]]
    x, y = datasets.iris()
    for label, means in enumerate(published):
        # Each value is a tenth of a cm rounded to single precision: at most eps / 2 relative, the largest is 7.9.
        np.testing.assert_allclose(
            x[y == label].mean(axis=0, dtype=np.float64), means, 0, 4 * np.finfo(np.float32).eps, err_msg=str(label)
        )


def test_digits_are_1797_images_with_values_in_sixteenths():
    x, y = datasets.digits()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1797, 8, 8, 1), np.float32, (1797,), np.int64)
    assert (x.min(), x.max()) == (0, 1)
    np.testing.assert_array_equal(x * 16, np.round(x * 16))


def test_digits_have_the_label_counts_of_their_description():
    _, y = datasets.digits()
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_lie_in_rows_as_scikit_learn_shows_them():
    # The first image as the manual of scikit-learn's load_digits prints it, and the mean that its array has.
    first = """0 0 5 13 9 1 0 0
               0 0 13 15 10 15 5 0
               0 3 15 2 0 11 8 0
               0 4 12 0 0 8 8 0
               0 5 8 0 0 9 8 0
               0 4 11 0 1 12 7 0
               0 2 14 5 10 12 0 0
               0 0 6 13 10 0 0 0"""
    x, y = datasets.digits()
    assert (16 * x[0]).astype(int).ravel().tolist() == [int(value) for value in first.split()]
    assert y[:10].tolist() == list(range(10))
    assert (16 * x).mean(dtype=np.float64) == pytest.approx(4.884164579855314, rel=1e-15)


@pytest.mark.parametrize(("points", "arms", "noise", "seed"), [(100, 3, 0.2, 0), (7, 2, 0.0, 1), (2, 5, 1.0, 2)])
def test_spirals_follow_the_recipe_of_the_course(points, arms, noise, seed):
    rng = streams.generator(seed, "noise of spirals")
    xs, ys = [], []
    for j in range(arms):
        for i in range(points):
            r = i / (points - 1)
            t = j * 4 + ((j + 1) * 4 - j * 4) * i / (points - 1) + noise * rng.standard_normal()
            xs.append((r * math.sin(t), r * math.cos(t)))
            ys.append(j)
    x, y = datasets.spirals(points, arms, noise, seed=seed)
    assert (x.shape, x.dtype, y.dtype) == ((points * arms, 2), np.float32, np.int64)
    np.testing.assert_array_equal(y, ys)
    # Coordinates up to 1 in single precision: half an eps for the rounding, as much again where doubles differ.
    np.testing.assert_allclose(x, xs, rtol=0, atol=np.finfo(np.float32).eps)


def test_spirals_depend_on_the_seed_alone():
    first, again, other = (datasets.spirals(20, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


BAD_SPIRALS = [
    ({"points": 0}, ValueError, "points of at least 1; got 0"),
    ({"points": 2.5}, TypeError, "points to be a whole number; got 2.5"),
    ({"arms": 0}, ValueError, "arms of at least 1; got 0"),
    ({"noise": -0.1}, ValueError, "noise of at least 0; got -0.1"),
    ({"noise": math.nan}, ValueError, "noise to be finite; got nan"),
    ({"seed": -1}, ValueError, "seed of at least 0; got -1"),
    ({"seed": "a"}, TypeError, "seed to be a whole number; got 'a'"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD_SPIRALS, ids=[str(row[0]) for row in BAD_SPIRALS])
def test_bad_arguments_of_spirals_are_refused(arguments, error, text):
    with pytest.raises(error, match=f"^spirals: expected {text}"):
        datasets.spirals(**arguments)


@pytest.mark.parametrize("load", [datasets.iris, datasets.digits, datasets.spirals])
def test_each_call_gives_arrays_of_its_own_that_may_be_written_to(load):
    x, y = load()
    expected = x.copy(), y.copy()
    x[...] = 7
    y[...] = 7
    again = load()
    np.testing.assert_array_equal(again[0], expected[0])
    np.testing.assert_array_equal(again[1], expected[1])


# MNIST --------------------------------------------------------------------------------------------------

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def idx(values, type_code=0x08):
    """An IDX file: two zero bytes, the type's code, the number of axes, each axis big-endian, the bytes."""
    values = np.asarray(values, np.uint8)
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, type_code, values.ndim, *values.shape) + values.tobytes()


def write_mnist(folder, packed=True):
    """A small MNIST in its original format; returns what was written, by part."""
    rng = np.random.default_rng(0)
    written = {}
    for (part, names), n in zip(FILES.items(), (7, 4), strict=True):
        images, labels = rng.integers(0, 256, (n, 28, 28)), rng.integers(0, 10, n)
        written[part] = images, labels
        for name, values in zip(names, (images, labels), strict=True):
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
            else:
                (folder / name).write_bytes(idx(values))
    return written


def spoil(folder, name, change):
    """Rewrite one plain file as ``change`` of its bytes."""
    (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_mnist_reads_back_what_is_in_its_files(tmp_path, packed):
    written = write_mnist(tmp_path, packed)
    for (x, y), part in zip(datasets.mnist(tmp_path), ("train", "test"), strict=True):
        images, labels = written[part]
        assert (x.shape, x.dtype, y.dtype) == ((len(images), 28, 28, 1), np.uint8, np.int64)
        np.testing.assert_array_equal(x[..., 0], images)
        np.testing.assert_array_equal(y, labels)


def test_mnist_takes_the_folder_as_text_too(tmp_path):
    write_mnist(tmp_path)
    assert datasets.mnist(str(tmp_path))[0][0].shape == (7, 28, 28, 1)


UNPACKED = {
    "folders": lambda folder, name: folder / name / name,
    "folders and dots": lambda folder, name: folder / name.replace("-idx", ".idx") / name,
    "dots": lambda folder, name: folder / name.replace("-idx", ".idx"),
    "folders of dotted": lambda folder, name: folder / name / name.replace("-idx", ".idx"),
    "folders and gzip": lambda folder, name: folder / name / f"{name}.gz",
}


@pytest.mark.parametrize("way", UNPACKED)
def test_mnist_is_found_as_archives_unpack_it(tmp_path, way):
    written = write_mnist(tmp_path, packed="gzip" in way)
    for name in (name for names in FILES.values() for name in names):
        source = next(path for path in (tmp_path / name, tmp_path / f"{name}.gz") if path.exists())
        moved = source.rename(tmp_path / "moved")
        place = UNPACKED[way](tmp_path, name)
        place.parent.mkdir(exist_ok=True)
        moved.rename(place)
    for (x, y), part in zip(datasets.mnist(tmp_path), ("train", "test"), strict=True):
        np.testing.assert_array_equal(x[..., 0], written[part][0])
        np.testing.assert_array_equal(y, written[part][1])


def test_an_empty_folder_of_a_files_name_is_no_mnist_file(tmp_path):
    write_mnist(tmp_path, packed=False)
    (tmp_path / IMAGES).unlink()
    (tmp_path / IMAGES).mkdir()
    with pytest.raises(FileNotFoundError, match=f"^mnist: expected {IMAGES} or {IMAGES}.gz"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize("name", [name for names in FILES.values() for name in names])
def test_a_missing_mnist_file_is_named(tmp_path, name):
    write_mnist(tmp_path, packed=False)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"^mnist: expected {name} or {name}.gz in .*; found neither"):
        datasets.mnist(tmp_path)


IMAGES, LABELS = FILES["train"]
SPOILT_MNIST = {
    "labels in the images' place": (IMAGES, lambda raw: idx(np.arange(7)), "magic number 00000803; got 00000801"),
    "images in the labels' place": (LABELS, lambda raw: idx(np.zeros((7, 2, 2))), "number 00000801; got 00000803"),
    "another type of values": (IMAGES, lambda raw: idx(np.zeros((7, 28, 28)), 0x0D), "00000803; got 00000d03"),
    "little-endian magic": (LABELS, lambda raw: raw[:4][::-1] + raw[4:], "00000801; got 01080000"),
    "a text file": (IMAGES, lambda raw: b"404 not found", "00000803; got 34303420 in a file of 13 bytes"),
    "an empty file": (LABELS, lambda raw: b"", "00000801; got .*in a file of 0 bytes"),
    "half a header": (IMAGES, lambda raw: raw[:10], "got 00000803 in a file of 10 bytes"),
    "the header alone": (IMAGES, lambda raw: raw[:16], r"5504 bytes .*\(7, 28, 28\); got 16"),
    "one byte short": (IMAGES, lambda raw: raw[:-1], "5504 bytes .*; got 5503"),
    "one byte too long": (LABELS, lambda raw: raw + b"\0", r"15 bytes .*\(7,\); got 16"),
    "little-endian sizes": (LABELS, lambda raw: raw[:4] + raw[4:8][::-1] + raw[8:], "117440520 bytes"),
    "an absurd size": (IMAGES, lambda raw: raw[:4] + b"\xff" * 12 + raw[16:], r"4294967295\); got 5504"),
    "fewer labels": (LABELS, lambda raw: idx(np.zeros(6)), "as many labels as images; got 6 and 7"),
    "a label above 9": (LABELS, lambda raw: raw[:-1] + b"\x0a", f"labels from 0 to 9 in {LABELS}; got 10"),
    "images of another size": (IMAGES, lambda raw: idx(np.zeros((7, 5, 6))), r"28.*; got .*5, 6"),
}


@pytest.mark.parametrize("case", SPOILT_MNIST)
def test_a_spoilt_mnist_file_is_refused(tmp_path, case):
    name, change, text = SPOILT_MNIST[case]
    write_mnist(tmp_path, packed=False)
    spoil(tmp_path, name, change)
    with pytest.raises(ValueError, match=f"^mnist: expected .*{text}"):
        datasets.mnist(tmp_path)


def test_mnist_files_without_a_single_image_are_refused(tmp_path):
    write_mnist(tmp_path, packed=False)
    spoil(tmp_path, IMAGES, lambda raw: idx(np.zeros((0, 28, 28))))
    spoil(tmp_path, LABELS, lambda raw: idx(np.zeros(0)))
    with pytest.raises(ValueError, match=r"^mnist: expected at least one .*; got .*0"):
        datasets.mnist(tmp_path)


DAMAGED_GZIP = {
    "truncated": lambda raw: raw[: len(raw) // 2],
    "without its end": lambda raw: raw[:-3],
    "a wrong byte in the compressed part": lambda raw: raw[:10] + b"\xff" + raw[11:],
    "a wrong checksum": lambda raw: raw[:-8] + bytes(4) + raw[-4:],
    "not gzip at all": gzip.decompress,
    "empty": lambda raw: b"",
    "something after the end": lambda raw: raw + b"trailing",
}


@pytest.mark.parametrize("damage", DAMAGED_GZIP)
def test_a_damaged_gzip_file_is_refused_by_its_name(tmp_path, damage):
    write_mnist(tmp_path)
    spoil(tmp_path, f"{IMAGES}.gz", DAMAGED_GZIP[damage])
    with pytest.raises(ValueError, match=rf"^mnist: expected .*{IMAGES}\.gz"):
        datasets.mnist(tmp_path)


@pytest.mark.data
def test_the_real_mnist_has_its_known_figures(data_folder):
    (x, y), (test_x, test_y) = datasets.mnist(data_folder / "mnist")
    assert (x.shape, test_x.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert np.bincount(y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test_y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # Mean and deviation that everybody normalises MNIST with, and the first labels of the two parts.
    assert round(x.mean() / 255, 4) == 0.1307
    assert round(x.std() / 255, 4) == 0.3081
    assert y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test_y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


# CIFAR-10 -----------------------------------------------------------------------------------------------

RECORD = 1 + 3 * 1024
BATCHES = [f"data_batch_{i}.bin" for i in range(1, 6)]


@pytest.fixture
def small_cifar(monkeypatch):
    """Files of 2 records, the short one of 1, in place of 10,000 and 1,000."""
    monkeypatch.setattr(cifar_files, "_RECORDS", 2)


def write_cifar(folder, names=(*BATCHES, "test_batch.bin"), records=2, seed=0):
    """Small CIFAR-10 files: records of a label and three planes of 1024 bytes; returns all records, by file."""
    rng = np.random.default_rng(seed)
    written = {}
    for name in names:
        table = rng.integers(0, 256, (records, RECORD)).astype(np.uint8)
        table[:, 0] %= 10
        (folder / name).write_bytes(table.tobytes())
        written[name] = table
    return written


def assert_images_are_records(x, y, records):
    assert (x.shape, x.dtype, y.dtype) == ((len(records), 32, 32, 3), np.uint8, np.int64)
    assert y.tolist() == [int(record[0]) for record in records]
    for image, record in zip(x, records, strict=True):
        for row, column, channel in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 0, 2), (31, 31, 2), (17, 5, 1)]:
            assert image[row, column, channel] == record[1 + 1024 * channel + 32 * row + column]


@pytest.mark.usefixtures("small_cifar")
def test_cifar10_reads_back_what_is_in_its_files_with_channels_last(tmp_path):
    written = write_cifar(tmp_path)
    (x, y), (test_x, test_y) = datasets.cifar10(tmp_path)
    assert_images_are_records(x, y, np.concatenate([written[name] for name in BATCHES]))
    assert_images_are_records(test_x, test_y, written["test_batch.bin"])


@pytest.mark.usefixtures("small_cifar")
def test_cifar10_is_found_in_the_folder_that_its_archive_makes(tmp_path):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    written = write_cifar(tmp_path / "cifar-10-batches-bin")
    assert_images_are_records(*datasets.cifar10(tmp_path)[1], written["test_batch.bin"])


def test_cifar10_takes_the_first_1000_test_images_only_where_the_test_batch_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_files, "_RECORDS", 10)
    written = write_cifar(tmp_path, (*BATCHES, "test_batch.bin"), records=10)
    written |= write_cifar(tmp_path, ["test_first1000.bin"], records=1, seed=1)
    assert_images_are_records(*datasets.cifar10(tmp_path)[1], written["test_batch.bin"])
    (tmp_path / "test_batch.bin").unlink()
    assert_images_are_records(*datasets.cifar10(str(tmp_path))[1], written["test_first1000.bin"])


@pytest.mark.usefixtures("small_cifar")
@pytest.mark.parametrize("name", [*BATCHES, "test_batch.bin"])
def test_a_missing_cifar10_file_is_named(tmp_path, name):
    write_cifar(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"^cifar10: expected {name} in .*; it is not there"):
        datasets.cifar10(tmp_path)


SPOILT_CIFAR = {
    "one byte short": (lambda raw: raw[:-1], f"2 records of 3073 bytes in .*; got {2 * RECORD - 1} bytes"),
    "one byte too long": (lambda raw: raw + b"\0", f"2 records of 3073 bytes in .*; got {2 * RECORD + 1} bytes"),
    "empty": (lambda raw: b"", "2 records of 3073 bytes in .*; got 0 bytes"),
    "cut after a whole record": (lambda raw: raw[:RECORD], f"2 records of 3073 bytes in .*; got {RECORD} bytes"),
    "a label of 10": (lambda raw: raw[:RECORD] + b"\x0a" + raw[RECORD + 1 :], "labels from 0 to 9 in .*; got 10"),
}


@pytest.mark.usefixtures("small_cifar")
@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin"])
@pytest.mark.parametrize("case", SPOILT_CIFAR)
def test_a_spoilt_cifar10_file_is_refused_by_its_name(tmp_path, case, name):
    change, text = SPOILT_CIFAR[case]
    write_cifar(tmp_path)
    spoil(tmp_path, name, change)
    with pytest.raises(ValueError, match=f"^cifar10: expected {text}") as caught:
        datasets.cifar10(tmp_path)
    assert name in str(caught.value)


def test_cifar10_classes_are_named_in_the_order_of_the_labels():
    assert datasets.cifar10_classes() == (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )


@pytest.mark.data
def test_the_real_cifar10_has_its_known_figures(data_folder):
    (x, y), (test_x, test_y) = datasets.cifar10(data_folder / "cifar10")
    assert x.shape == (50000, 32, 32, 3)
    assert np.bincount(y).tolist() == [5000] * 10
    assert test_x.shape[1:] == (32, 32, 3)
    # Red, green and blue means that everybody normalises CIFAR-10 with: they differ, so the channels' order shows.
    assert np.round(x.mean(axis=(0, 1, 2)) / 255, 4).tolist() == [0.4914, 0.4822, 0.4465]
    # The first test images: cat, ship, ship, airplane, frog, frog, automobile, frog, cat, automobile.
    assert test_y[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]


@pytest.mark.data
def test_neighbouring_pixels_of_the_real_cifar10_are_alike(data_folder):
    """Planes read with a wrong row length or axes out of order would make neighbours strangers."""
    x = datasets.cifar10(data_folder / "cifar10")[1][0][:500].astype(float)
    spread = x.std()
    for axis in (1, 2):
        assert np.abs(np.diff(x, axis=axis)).mean() < spread / 4
    sky = x[:, :8].mean(axis=(0, 1, 2)) - x[:, -8:].mean(axis=(0, 1, 2))
    assert sky[2] > sky[0], "the sky is bluer than the ground"
