"""Readers of files that a user has: archives of NumPy, tables of text, folders of images; and CIFAR-100."""

import re
import zipfile

import numpy as np
import pytest
from PIL import Image

import minnet as mn
from minnet import datasets
from minnet.data import cifar as cifar_files

# NPZ ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz_reads_back_what_numpy_wrote(write, tmp_path):
    x, y = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4)
    write(tmp_path / "data.npz", x=x, y=y, more=np.zeros(7))
    found = datasets.npz(tmp_path / "data.npz")
    for ours, theirs in zip(found, (x, y), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_npz_takes_other_names_and_the_path_as_text(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_test=np.ones((2, 3)), y_test=np.zeros(2), x_train=np.ones((5, 3)))
    x, y = datasets.npz(str(tmp_path / "mnist.npz"), "x_test", "y_test")
    assert (x.shape, y.shape) == ((2, 3), (2,))


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "text")
        archive.writestr("y", "text")
    return path


def spoilt(path):
    saved(path, x=np.ones((50, 3)), y=np.ones(50))
    raw = bytearray(path.read_bytes())
    raw[300] ^= 0xFF
    path.write_bytes(raw)
    return path


def locked(path):
    """Set the bit of both headers of each file that says that it has a password."""
    raw = bytearray(saved(path, x=np.ones(3), y=np.ones(3)).read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(mark, bytes(raw)):
            raw[found.start() + flags] |= 1
    path.write_bytes(raw)
    return path


def headed(path, shape):
    """An array whose header says that it has this shape."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x.npy", "y.npy"):
            archive.writestr(name, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(80))
    return path


BAD_NPZ = {
    "no such array": (lambda p: saved(p, x=np.ones(3), z=np.ones(3)), r"arrays 'x' and 'y' in .*; got \['x', 'z'\]"),
    "lengths": (
        lambda p: saved(p, x=np.ones((3, 2)), y=np.ones(2)),
        r"'x' and 'y' of one length in .* shapes \(3, 2\) and \(2,\)",
    ),
    "no samples": (lambda p: saved(p, x=np.ones((0, 2)), y=np.ones(0)), "'x' and 'y' of one length"),
    "numbers": (lambda p: saved(p, x=np.float64(1), y=np.float64(1)), "'x' and 'y' of one length"),
    "objects": (lambda p: saved(p, x=np.array([{}, {}]), y=np.ones(2)), "whole arrays of numbers in .*Object arrays"),
    "text": (
        lambda p: p.write_text("x,y", encoding="utf-8") and p,
        "an archive of arrays in .*; got a file of another",
    ),
    "cut": (
        lambda p: p.write_bytes(saved(p, x=np.ones(9), y=np.ones(9)).read_bytes()[:200]) and p,
        "an archive of arrays in .*; got",
    ),
    "spoilt": (spoilt, "whole arrays of numbers in"),
    "other contents": (zipped, "'x' and 'y' in .* to be arrays of NumPy; got files of another kind"),
    "a password": (locked, "whole arrays of numbers in .*encrypted"),
    "too large": (lambda p: headed(p, f"({10**12}, {10**4})"), "whole arrays of numbers in"),
    "larger than any number": (lambda p: headed(p, f"({10**30},)"), "whole arrays of numbers in"),
    "an open bracket": (lambda p: headed(p, "(3"), "whole arrays of numbers in"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_a_bad_archive_is_refused_by_its_name(case, tmp_path):
    make, text = BAD_NPZ[case]
    path = make(tmp_path / "data.npz")
    with pytest.raises(ValueError, match=f"^npz: expected {text}") as caught:
        datasets.npz(path)
    assert "data.npz" in str(caught.value)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^npz: expected a file .*data\.npz; there is none"):
        datasets.npz(tmp_path / "data.npz")


# CSV ----------------------------------------------------------------------------------------------------

FLOWERS = """sepal, petal,species ,stem
5.1,1.4,setosa,1e2

6.3,-6.0,"virginica",.5
4.9,1.5, setosa ,0
"""


@pytest.fixture
def table(tmp_path):
    """A function that writes a table and returns its path."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
        return path

    return write


@pytest.mark.parametrize("target", ["species", 2, -2, np.int64(2)])
def test_a_table_has_features_and_labels_in_alphabetical_order(target, table):
    (x, y), classes = datasets.csv(table(FLOWERS), target)
    assert (x.dtype, y.dtype, classes) == (np.float32, np.int64, ("setosa", "virginica"))
    np.testing.assert_array_equal(x, np.float32([[5.1, 1.4, 100], [6.3, -6, 0.5], [4.9, 1.5, 0]]))
    assert y.tolist() == [0, 1, 0]


def test_the_last_column_is_the_target_by_default_and_a_number_if_asked_for(table):
    (x, y), classes = datasets.csv(table("a,b,price\n1,2,3.5\n4,5,6\n"), labels=False)
    assert (x.tolist(), y.tolist(), y.dtype, classes) == ([[1, 2], [4, 5]], [[3.5], [6]], np.float32, ())
    net = mn.Net([mn.Dense(1)], 2, mn.SquaredError())
    assert np.isfinite(net.evaluate(x, y)["loss"])


def test_labels_that_are_integers_are_in_the_order_of_their_values(table):
    (_, y), classes = datasets.csv(table("1,10\n1,9\n1,-1\n1,10\n"), header=False)
    assert (classes, y.tolist()) == (("-1", "9", "10"), [2, 1, 0, 2])


def test_labels_of_one_value_are_in_one_order_in_every_process(table):
    text = "a,b\n" + "".join(f"1,{label}\n" for label in ("2", "1", "0001", "+1", "01", "001"))
    assert datasets.csv(table(text))[1] == ("+1", "0001", "001", "01", "1", "2")  # a set of texts has no order


def test_the_largest_numbers_of_single_precision_are_read(table):
    (x, _), _ = datasets.csv(table("a,b,c\n3.4028235e+38,-3.4028235e+38,0\n"))
    np.testing.assert_array_equal(x, [[np.finfo(np.float32).max, np.finfo(np.float32).min]])
    with pytest.raises(ValueError, match="a finite number in column 'a'"):
        datasets.csv(table("a,b\n3.4028236e+38,0\n"))


def test_classes_may_be_an_array(table):
    assert datasets.csv(table("a,b\n1,x\n"), classes=np.array(["y", "x"]))[1] == ("y", "x")


def test_a_second_table_is_numbered_as_the_first(table):
    _, classes = datasets.csv(table(FLOWERS), "species")
    (_, y), again = datasets.csv(table("x,species\n1,virginica\n"), "species", classes=classes)
    assert (y.tolist(), again) == ([1], classes)
    (_, y), _ = datasets.csv(table("x,species\n1,b\n2,c\n"), "species", classes=["c", "b", "a"])
    assert y.tolist() == [1, 0]


def test_a_table_may_have_a_mark_at_its_start_other_ends_of_lines_and_another_delimiter(table):
    (x, y), _ = datasets.csv(table("﻿a;b\r\n1;0\r\n2;1\r\n", "utf-8"), "b", delimiter=";")
    assert (x.tolist(), y.tolist()) == ([[1], [2]], [0, 1])


def test_numbers_are_those_that_numpy_reads(table):
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((50, 4)) * 10.0 ** rng.integers(-30, 30, (50, 4))
    text = "\n".join(",".join([*map(repr, row.tolist()), "0"]) for row in numbers)
    (x, _), _ = datasets.csv(table(text), header=False)
    np.testing.assert_array_equal(x, np.loadtxt(table(text), delimiter=",", dtype=np.float64)[:, :4].astype(np.float32))


BAD_TABLES = {
    "a word": ("a,b\n1,0\nred,1\n", {}, r"a finite number in column 'a', line 3 of .*table\.csv; got 'red'"),
    "an empty cell": ("a,b\n,0\n", {}, "a finite number in column 'a', line 2 of .*; got ''"),
    "not a number": ("a,b\n\n\nnan,0\n", {}, "a finite number in column 'a', line 4 of .*; got 'nan'"),
    "infinity": ("1,0\ninf,0\n", {"header": False}, "a finite number in column '0', line 2 of .*; got 'inf'"),
    "too large": ("a,b\n1e39,0\n", {}, "a finite number in column 'a', line 2 of .*; got '1e39'"),
    "an underscore": ("a,b\n1_0,0\n", {}, "a finite number in column 'a', line 2 of .*; got '1_0'"),
    "a bad target": ("a,b\n1,x\n", {"labels": False}, "a finite number in column 'b', line 2 of .*; got 'x'"),
    "no label": ("a,b\n1, \n", {}, "a label in column 'b', line 2 of .*; got ''"),
    "an unknown label": ("a,b\n1,z\n", {"classes": ["x", "y"]}, r"one of \['x', 'y'\] in column 'b', line 2.*got 'z'"),
    "another delimiter": (
        "a;b\n1;0\n",
        {},
        r"columns of features beside the target in .*; got one column, 'a;b'. Is ',' the delimiter",
    ),
    "a short line": ("a,b,c\n1,2,0\n1,0\n", {}, "3 cells in line 3 of .*; got 2"),
    "a long line": ("a,b\n1,0\n1,2,0\n", {}, "2 cells in line 3 of .*; got 3"),
    "an empty file": ("", {}, "a table in .*; got an empty file"),
    "a header alone": ("a,b\n", {}, "at least one sample in .*; got none"),
    "no such column": ("a,b\n1,0\n", {"target": "c"}, r"target to be one of the columns \['a', 'b'\] of .*; got 'c'"),
    "a column twice": ("a,a\n1,0\n", {"target": "a"}, "target to be one of the columns"),
    "no such place": ("a,b\n1,0\n", {"target": 2}, "target to be one of the 2 columns of .*; got 2"),
    "a name without a header": ("1,0\n", {"target": "b", "header": False}, "target to be a place where header=False"),
    "an open quotation": ('a,b\n"1,0\n', {}, "a row of cells in line 2 of"),
    "Latin-1": ("a,b\n1,Größe\n".encode("latin-1"), {}, ".*in UTF-8; got"),
    "a long delimiter": ("a,b\n1,0\n", {"delimiter": "::"}, "delimiter to be one character; got '::'"),
    "classes of numbers": ("a,b\n1,0\n", {"labels": False, "classes": ["0"]}, "classes only with labels=True"),
    "classes twice": ("a,b\n1,0\n", {"classes": ["0", "0"]}, "different classes"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_by_its_line(case, table):
    text, given, words = BAD_TABLES[case]
    with pytest.raises(ValueError, match=rf"^csv: expected {words}"):
        datasets.csv(table(text), **given)


@pytest.mark.parametrize(
    "given", [{"target": 1.5}, {"target": None}, {"classes": "ab"}, {"classes": [1, 2]}, {"classes": {"a", "b"}}]
)
def test_a_bad_argument_of_a_table_is_refused(given, table):
    with pytest.raises(TypeError, match=r"^csv: expected (target|classes) to be"):
        datasets.csv(table(FLOWERS), **given)


@pytest.mark.parametrize("name", ["labels", "header"])
def test_a_switch_of_a_table_is_true_or_false(name, table):
    with pytest.raises(TypeError, match=rf"^csv: expected {name} to be True or False; got 'no'"):
        datasets.csv(table(FLOWERS), **{name: "no"})


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^csv: expected a file .*table\.csv; there is none"):
        datasets.csv(tmp_path / "table.csv")


# Folders of images --------------------------------------------------------------------------------------

RNG = np.random.default_rng(1)
RED_ISH, BLUE_ISH = (RNG.integers(0, 256, (6, 5, 3)).astype(np.uint8) for _ in range(2))


@pytest.fixture
def photos(tmp_path):
    """Two classes: dogs with two images, cats with one; and what is left out."""
    for path, pixels in (("dogs/b.PNG", RED_ISH), ("dogs/a.bmp", BLUE_ISH), ("cats/one.png", 255 - RED_ISH)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / path)
    (tmp_path / "dogs" / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "dogs" / ".hidden.png").write_bytes(b"")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / "readme.md").write_text("", encoding="utf-8")
    return tmp_path


def test_images_are_read_class_by_class_in_alphabetical_order(photos):
    (x, y), classes = datasets.image_folder(photos)
    assert (x.shape, x.dtype, y.dtype) == ((3, 6, 5, 3), np.float32, np.int64)
    assert (classes, y.tolist()) == (("cats", "dogs"), [0, 1, 1])
    np.testing.assert_array_equal(x, np.stack([255 - RED_ISH, BLUE_ISH, RED_ISH]).astype(np.float32) / np.float32(255))


def test_grey_images_are_weighted_colours(photos):
    (x, _), _ = datasets.image_folder(str(photos), grey=True)
    assert x.shape == (3, 6, 5, 1)
    # ITU-R 601; Pillow rounds to whole steps of 1/255.
    grey = BLUE_ISH.astype(np.float64) @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(x[1, ..., 0], grey, rtol=0, atol=1 / 255)


def test_images_are_resized_to_height_and_width(photos):
    Image.fromarray(np.full((9, 9, 3), 51, np.uint8)).save(photos / "dogs" / "c.png")
    (x, y), _ = datasets.image_folder(photos, size=(4, 7))
    assert (x.shape, len(y)) == ((4, 4, 7, 3), 4)
    np.testing.assert_array_equal(x[3], np.float32(0.2))


def test_resizing_by_two_is_bilinear_and_smooth(tmp_path):
    (tmp_path / "a").mkdir()
    steps = np.repeat(np.arange(0, 160, 20, dtype=np.uint8)[None], 8, axis=0)  # grows from left to right
    Image.fromarray(steps).save(tmp_path / "a" / "a.png")
    (x, _), _ = datasets.image_folder(tmp_path, size=(4, 4), grey=True)
    # Inside, the triangle of bilinear resizing by two weighs columns by 1, 3, 3, 1: the mean of the two in the middle.
    np.testing.assert_allclose(x[0, :, 1:3, 0] * 255, np.tile([50, 90], (4, 1)), rtol=0, atol=0.5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_images_of_any_mode_become_colours_or_grey(mode, tmp_path):
    (tmp_path / "a").mkdir()
    image = Image.fromarray(RED_ISH)
    ending = "tif" if mode == "CMYK" else "png"
    image.convert(mode).save(tmp_path / "a" / f"a.{ending}", **({"transparency": b"\x00\x80"} if mode == "P" else {}))
    assert datasets.image_folder(tmp_path)[0][0].shape == (1, 6, 5, 3)
    assert datasets.image_folder(tmp_path, grey=True)[0][0].shape == (1, 6, 5, 1)


def test_the_first_image_of_an_animation_counts(tmp_path):
    (tmp_path / "a").mkdir()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "a" / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(datasets.image_folder(tmp_path)[0][0], 1)


def damage(path):
    path.write_bytes(path.read_bytes()[:60])


BAD_FOLDERS = {
    "another size": (
        lambda f: Image.new("RGB", (5, 7)).save(f / "dogs" / "z.png"),
        r"6 x 5, .*; got 7 x 5 in .*z\.png",
    ),
    "a class without images": (lambda f: (f / "birds").mkdir(), r"images \(\.bmp, .*\) in .*birds; got none"),
    "damaged": (lambda f: damage(f / "dogs" / "b.PNG"), r"an image in .*b\.PNG; got"),
    "no image": (lambda f: (f / "cats" / "x.jpg").write_bytes(b"<html>"), r"an image in .*x\.jpg; got cannot identify"),
    "deep": (
        lambda f: Image.fromarray(np.full((6, 5), 4000, np.uint16)).save(f / "cats" / "x.png"),
        r"an image in .*x\.png; got mode I;16, which has more than 8 bits for a colour",
    ),
    "a bad header": (lambda f: (f / "cats" / "x.ppm").write_bytes(b"P6 2x 3 255 "), r"an image in .*x\.ppm; got"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_folder_is_refused_by_the_file(case, photos):
    spoil, text = BAD_FOLDERS[case]
    spoil(photos)
    with pytest.raises(ValueError, match=rf"^image_folder: expected .*{text}"):
        datasets.image_folder(photos)


def test_a_folder_without_classes_or_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^image_folder: expected a folder for each class in .*; got no folders"):
        datasets.image_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^image_folder: expected a folder .*none; there is none"):
        datasets.image_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("size", "error", "text"),
    [
        (32, TypeError, "size to be (height, width) or None; got 32"),
        ((32,), TypeError, "size to be (height, width) or None; got (32,)"),
        ((32, 0), ValueError, "width of at least 1; got 0"),
        ((32.0, 32), TypeError, "height to be a whole number; got 32.0"),
    ],
)
def test_a_bad_size_is_refused(size, error, text, photos):
    with pytest.raises(error, match=rf"^image_folder: expected {re.escape(text)}"):
        datasets.image_folder(photos, size=size)


# Fashion-MNIST and CIFAR-100 ----------------------------------------------------------------------------


def test_classes_have_names_in_the_order_of_the_labels():
    assert len(datasets.fashion_mnist_classes()) == 10
    assert datasets.fashion_mnist_classes()[9] == "Ankle boot"
    names = datasets.cifar100_classes()
    assert (len(names), names[0], names[99]) == (100, "apple", "worm")
    assert list(names) == sorted(set(names))


def test_errors_of_fashion_mnist_name_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^fashion_mnist: expected train-images-idx3-ubyte"):
        datasets.fashion_mnist(tmp_path)


@pytest.fixture
def cifar100(tmp_path, monkeypatch):
    """Files of 10 and of 2 records: a coarse and a fine label, then the three planes."""
    monkeypatch.setattr(cifar_files, "_RECORDS", 2)
    rng = np.random.default_rng(0)
    written = {}
    for name, n in (("train.bin", 10), ("test.bin", 2)):
        table = rng.integers(0, 256, (n, 2 + 3072)).astype(np.uint8)
        table[:, 0], table[:, 1] = rng.integers(0, 20, n), rng.integers(0, 100, n)
        (tmp_path / name).write_bytes(table.tobytes())
        written[name] = table
    return written


def test_cifar100_reads_back_what_is_in_its_files_with_channels_last(cifar100, tmp_path):
    parts = datasets.cifar100(tmp_path)
    for (x, y), table in zip(parts, cifar100.values(), strict=True):
        assert (x.shape, x.dtype, y.dtype) == ((len(table), 32, 32, 3), np.uint8, np.int64)
        assert y.tolist() == table[:, 1].tolist()
        for row, column, channel in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (31, 31, 2), (17, 5, 1)]:
            assert x[1, row, column, channel] == table[1, 2 + 1024 * channel + 32 * row + column]
    coarse = datasets.cifar100(tmp_path, coarse=True)
    assert coarse[0][1].tolist() == cifar100["train.bin"][:, 0].tolist()


def test_cifar100_is_found_in_the_folder_that_its_archive_makes(cifar100, tmp_path):
    (tmp_path / "cifar-100-binary").mkdir()
    for name in cifar100:
        (tmp_path / name).rename(tmp_path / "cifar-100-binary" / name)
    assert datasets.cifar100(tmp_path)[0][0].shape == (10, 32, 32, 3)


SPOILT_CIFAR100 = {
    "one byte short": (lambda raw: raw[:-1], "2 records of 3074 bytes in .*; got 6147 bytes"),
    "CIFAR-10's records": (lambda raw: raw[: 2 * 3073], "2 records of 3074 bytes in .*; got 6146 bytes"),
    "a coarse label of 20": (lambda raw: bytes([20]) + raw[1:], "labels from 0 to 19 in .*; got 20"),
    "a fine label of 100": (lambda raw: raw[:1] + bytes([100]) + raw[2:], "labels from 0 to 99 in .*; got 100"),
}


@pytest.mark.parametrize("case", SPOILT_CIFAR100)
def test_a_spoilt_cifar100_file_is_refused_by_its_name(case, cifar100, tmp_path):
    change, text = SPOILT_CIFAR100[case]
    path = tmp_path / "test.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=f"^cifar100: expected {text}") as caught:
        datasets.cifar100(tmp_path)
    assert "test.bin" in str(caught.value)


def test_a_missing_cifar100_file_is_named(cifar100, tmp_path):
    (tmp_path / "test.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"^cifar100: expected test\.bin in .*; it is not there"):
        datasets.cifar100(tmp_path)
