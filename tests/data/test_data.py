"""Batches, splits, augmentation and standardisation: who gets which sample, in which order, and as which number."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

import minnet as mn
from minnet.data import Augment, Batches, Standardizer, split


def numbered(n, dtype=np.float32):
    """Samples that carry their own number: x[i] = (i, 1000 + i), y[i] = 2 i."""
    ids = np.arange(n)
    return np.stack([ids, 1000 + ids], axis=1).astype(dtype), 2 * ids


def read_epoch(batches):
    """The numbers of the samples of the rest of this epoch, batch by batch, checked to be whole pairs."""
    result = []
    for x, y in batches.epoch():
        np.testing.assert_array_equal(x[:, 1], x[:, 0] + 1000)
        np.testing.assert_array_equal(y, 2 * x[:, 0])
        result.append(x[:, 0].astype(int).tolist())
    return result


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


# Batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "batch_size"), [(10, 5), (11, 4), (7, 1), (5, 5), (3, 10), (1, 1)])
def test_each_epoch_gives_out_every_sample_once(n, batch_size):
    batches = Batches(numbered(n), batch_size, seed=3)
    sizes = [batch_size] * (n // batch_size) + ([n % batch_size] if n % batch_size else [])
    assert len(batches) == len(sizes)
    for epoch in range(3):
        assert (batches.epoch_index, batches.position) == (epoch, 0)
        given = read_epoch(batches)
        assert [len(batch) for batch in given] == sizes
        assert sorted(flat(given)) == list(range(n))


def test_the_order_is_a_function_of_the_seed_and_the_epoch():
    def orders(seed):
        batches = Batches(numbered(20), 6, seed=seed)
        return [flat(read_epoch(batches)) for _ in range(4)]

    first = orders(5)
    assert first == orders(5)
    assert len({tuple(order) for order in first + orders(6)}) == 8, "two epochs or two seeds share an order"
    assert list(range(20)) not in first


def test_the_batch_size_does_not_change_the_order():
    assert flat(read_epoch(Batches(numbered(20), 6, seed=2))) == flat(read_epoch(Batches(numbered(20), 20, seed=2)))


def test_every_order_of_four_samples_is_equally_likely():
    batches = Batches(numbered(4), 4, seed=0)
    count = Counter(tuple(flat(read_epoch(batches))) for _ in range(2400))
    assert len(count) == 24
    # Each count is binomial with mean 100 and standard deviation 9.8: five of those, for 24 draws.
    assert all(abs(times - 100) < 49 for times in count.values())


def test_without_shuffling_the_order_is_that_of_the_data():
    batches = Batches(numbered(7), 3, shuffle=False)
    for _ in range(2):
        assert read_epoch(batches) == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_seek_goes_on_exactly_as_if_never_interrupted(shuffle):
    data = numbered(11)

    def follow(batches):
        places, given = [], []
        for _ in range(9):
            places.append((batches.epoch_index, batches.position))
            given.append(batches.next()[1].tolist())
        return places, given

    places, given = follow(Batches(data, 4, seed=7, shuffle=shuffle))
    for i, place in enumerate(places):
        other = Batches(data, 4, seed=7, shuffle=shuffle)
        other.next()  # whatever it did before
        other.seek(*place)
        again = [other.next()[1].tolist() for _ in range(9 - i)]
        assert again == given[i:]


def test_seek_into_the_middle_of_a_batch_gives_the_rest_of_the_epoch():
    whole = flat(read_epoch(Batches(numbered(11), 4, seed=7)))
    batches = Batches(numbered(11), 4, seed=7)
    batches.seek(0, 3)
    assert read_epoch(batches) == [whole[3:7], whole[7:11]]
    assert (batches.epoch_index, batches.position) == (1, 0)


def test_epoch_after_next_gives_what_is_left():
    batches = Batches(numbered(11), 4, seed=1)
    taken = (batches.next()[1] // 2).tolist()
    assert sorted(taken + flat(read_epoch(batches))) == list(range(11))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8], ids=["floats", "bytes"])
def test_batches_come_in_the_same_arrays_each_time(dtype):
    x = np.random.default_rng(0).integers(0, 256, (11, 2, 3)).astype(dtype)
    batches = Batches((x, np.arange(11)), 4)
    seen = [(bx.ctypes.data, by.ctypes.data, bx.flags.c_contiguous) for _ in range(3) for bx, by in batches.epoch()]
    assert len(set(seen)) == 1
    assert seen[0][2]


def test_writing_to_a_batch_leaves_the_data_alone():
    x, y = numbered(8)
    before = x.copy(), y.copy()
    for bx, by in Batches((x, y), 8, shuffle=False).epoch():
        bx[...] = -1
        by[...] = -1
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_floats_are_cast_to_the_dtype_asked_for(source, dtype):
    x = np.random.default_rng(1).standard_normal((6, 3)).astype(source)
    bx, _ = Batches((x, np.arange(6)), 6, shuffle=False, dtype=dtype).next()
    assert bx.dtype == dtype
    np.testing.assert_array_equal(bx, x.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_become_exactly_x_over_255(dtype):
    x = np.arange(256, dtype=np.uint8).reshape(64, 2, 2)
    bx, _ = Batches((x, np.arange(64)), 64, shuffle=False, dtype=dtype).next()
    assert bx.dtype == dtype
    # Python divides in double precision; rounding that to single once more is still the nearest single, because
    # a double has more than twice the digits and two.
    exact = np.array([value / 255 for value in range(256)]).astype(dtype).reshape(64, 2, 2)
    np.testing.assert_array_equal(bx, exact)


def test_bytes_train_and_evaluate_as_the_same_numbers():
    x = np.arange(256, dtype=np.uint8).reshape(64, 4)
    bx, _ = Batches((x, np.arange(64)), 64, shuffle=False).next()
    net = mn.Net(mn.Flatten(), 4)
    np.testing.assert_array_equal(net.predict(x), bx)


@pytest.mark.parametrize("y_dtype", [np.int64, np.uint8, np.float64])
def test_targets_keep_their_dtype_and_shape(y_dtype):
    y = np.arange(12).reshape(6, 2).astype(y_dtype)
    _, by = Batches((np.zeros((6, 1), np.float32), y), 6, shuffle=False).next()
    assert by.dtype == y_dtype
    np.testing.assert_array_equal(by, y)


BAD_SEEKS = [
    ((-1, 0), ValueError, "epoch_index.*at least 0; got -1"),
    ((1.0, 0), TypeError, "epoch_index.*whole number; got 1.0"),
    ((0, -1), ValueError, "position.*; got -1"),
    ((0, 10), ValueError, "position < 10; got 10"),
    ((0, 1.5), TypeError, "position.*whole number; got 1.5"),
    ((0, "3"), TypeError, "position.*whole number; got '3'"),
    ((0, None), TypeError, "position.*whole number; got None"),
]


@pytest.mark.parametrize(("place", "error", "text"), BAD_SEEKS, ids=lambda v: str(v) if isinstance(v, tuple) else "")
def test_a_bad_seek_says_so_and_moves_nothing(place, error, text):
    batches = Batches(numbered(10), 3, seed=1)
    batches.next()
    expected = (batches.epoch_index, batches.position)
    with pytest.raises(error, match=f"^Batches.seek: expected .*{text}"):
        batches.seek(*place)
    assert (batches.epoch_index, batches.position) == expected
    whole = flat(read_epoch(Batches(numbered(10), 3, seed=1)))
    assert flat(read_epoch(batches)) == whole[3:]


# Standardisation and augmentation on the way -------------------------------------------------------------


def pictures(n, shape=(6, 7, 3), dtype=np.uint8, seed=0):
    """Images of random bytes, or of floats with a mean and a spread of their own for each channel."""
    rng = np.random.default_rng(seed)
    if dtype == np.uint8:
        return rng.integers(0, 256, (n, *shape)).astype(np.uint8), np.arange(n)
    return (rng.standard_normal((n, *shape)) * np.arange(1, 4) + [5, 0, -2]).astype(dtype), np.arange(n)


def changed(image, flip, top, left, crop):
    """The recipe in NumPy, on the raw image."""
    rows, columns, _ = image.shape
    padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)))
    window = padded[top : top + rows, left : left + columns]
    return window[:, ::-1] if flip else window


@pytest.mark.parametrize("per", ["feature", "channel"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_gathering_standardizes_to_the_same_bits_as_the_standardizer(dtype, per):
    x, y = pictures(40, dtype=dtype)
    standardize = Standardizer.fit(x[:30], per=per)
    out = np.float64 if dtype == np.float64 else np.float32
    for bx, by in Batches((x, y), 16, standardize=standardize, dtype=out).epoch():
        np.testing.assert_array_equal(bx, standardize(x)[by])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_doubles_standardized_on_the_way_follow_the_standardizer_within_round_off(dtype):
    x, y = pictures(40, dtype=dtype)
    standardize = Standardizer.fit(x, per="channel")
    bx, by = Batches((x, y), 40, standardize=standardize, dtype=np.float64).next()
    # The standardizer computes in single precision: its own few roundings of numbers below 20, over stds above 0.2.
    np.testing.assert_allclose(bx, standardize(x)[by], rtol=0, atol=4 * 20 / 0.2 * float(np.finfo(np.float32).eps))


# 8 x 8 pixels that tell their place: of the windows of this image no two are alike.
MARKED = np.arange(1, 65, dtype=np.uint8).reshape(8, 8, 1)
CROP = 3
WINDOWS = {
    changed(MARKED, *how, CROP).tobytes(): how
    for how in itertools.product((False, True), range(2 * CROP + 1), range(2 * CROP + 1))
}


def seen(batches):
    """(flip, top, left) of every copy of MARKED in what is left of the epoch, by place in the data."""
    found = {}
    for x, y in batches.epoch():
        for image, i in zip(np.rint(x * 255).astype(np.uint8), y, strict=True):
            found[int(i)] = WINDOWS[image.tobytes()]  # a KeyError is a window that cannot be
    return [found[i] for i in sorted(found)]


def marked(n):
    return np.repeat(MARKED[np.newaxis], n, axis=0), np.arange(n)


def test_no_two_windows_of_the_marked_image_are_alike():
    assert len(WINDOWS) == 2 * (2 * CROP + 1) ** 2


def test_every_window_and_its_mirror_image_are_equally_likely():
    n = 98 * 200
    count = Counter(seen(Batches(marked(n), 100, augment=Augment(flip=True, crop=CROP))))
    assert len(count) == 98
    # Pearson's statistic has 97 degrees of freedom: mean 97, standard deviation 14; a one-sided bound of five of them.
    assert sum((times - 200) ** 2 / 200 for times in count.values()) < 97 + 5 * 14


def test_the_changes_of_samples_and_of_epochs_are_unrelated():
    n = 20_000
    batches = Batches(marked(n), 1000, augment=Augment(flip=True, crop=CROP))
    first, second = np.array(seen(batches), int), np.array(seen(batches), int)
    for a, b in ((first, second), (first[1:], first[:-1])):
        for i, j in itertools.product(range(3), range(3)):
            # Of independent numbers, sqrt(n) times the correlation is standard normal.
            assert abs(np.corrcoef(a[:, i], b[:, j])[0, 1]) < 5 / math.sqrt(n - 1)
    for i, j in itertools.combinations(range(3), 2):
        assert abs(np.corrcoef(first[:, i], first[:, j])[0, 1]) < 5 / math.sqrt(n)


def test_another_seed_changes_other_samples():
    def changes(seed):
        return seen(Batches(marked(50), 10, seed=seed, augment=Augment(flip=True, crop=CROP)))

    assert changes(4) == changes(4)
    assert changes(4) != changes(5)


@pytest.mark.parametrize(
    ("augment", "possible"),
    [
        (Augment(), {(False, CROP, CROP)}),
        (Augment(flip=True), {(False, CROP, CROP), (True, CROP, CROP)}),
        (Augment(crop=CROP), {how for how in WINDOWS.values() if not how[0]}),
        (Augment(crop=1), {(False, *at) for at in itertools.product((2, 3, 4), repeat=2)}),
    ],
    ids=["nothing", "flip", "crop", "a little"],
)
def test_only_what_was_asked_for_happens_and_all_of_it(augment, possible):
    assert set(seen(Batches(marked(2000), 100, augment=augment))) == possible


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_an_augmented_batch_is_the_recipe_on_raw_images_then_standardized(dtype):
    x, y = pictures(30, (8, 8, 3), dtype)
    standardize = Standardizer.fit(x, per="channel")
    out = np.float64 if dtype == np.float64 else np.float32
    augment = Augment(flip=True, crop=CROP)
    how = seen(Batches(marked(30), 7, seed=3, augment=augment))  # the same places, seed and epoch: the same noise
    expected = standardize(np.stack([changed(x[i], *how[i], CROP) for i in range(30)]))
    for bx, by in Batches((x, y), 7, seed=3, augment=augment, standardize=standardize, dtype=out).epoch():
        np.testing.assert_array_equal(bx, expected[by])


def test_what_happens_to_a_sample_does_not_depend_on_its_batch():
    augment = Augment(flip=True, crop=CROP)
    expected = seen(Batches(marked(60), 60, seed=1, augment=augment))
    assert seen(Batches(marked(60), 7, seed=1, augment=augment)) == expected
    assert seen(Batches(marked(60), 7, seed=1, augment=augment, shuffle=False)) == expected


def test_seek_brings_back_the_same_changes():
    data, augment = pictures(23), Augment(flip=True, crop=2)
    batches, places, given = Batches(data, 5, seed=2, augment=augment), [], []
    for _ in range(14):
        places.append((batches.epoch_index, batches.position))
        given.append(batches.next()[0].copy())
    other = Batches(data, 5, seed=2, augment=augment)
    for place, expected in zip(reversed(places), reversed(given), strict=True):
        other.seek(*place)
        np.testing.assert_array_equal(other.next()[0], expected)


@pytest.mark.parametrize("augment", [None, Augment(flip=True, crop=4)], ids=["plain", "augmented"])
def test_a_batch_has_the_same_bits_for_any_number_of_threads(augment):
    if mn.get_num_threads() < 2:
        pytest.skip("one core: there is no second thread to compare with")
    x, y = pictures(80, (32, 32, 3))
    standardize = Standardizer.fit(x, per="channel")
    given, before = [], mn.get_num_threads()
    # 64 images are work for two threads, 16 are not.
    for threads, batch_size in ((1, 64), (2, 64), (2, 16)):
        mn.set_num_threads(threads)
        try:
            batches = Batches((x, y), batch_size, augment=augment, standardize=standardize)
            given.append(np.concatenate([bx.copy() for bx, _ in batches.epoch()]))
        finally:
            mn.set_num_threads(before)
    np.testing.assert_array_equal(given[0], given[1])
    np.testing.assert_array_equal(given[0], given[2])


BAD_AUGMENTS = [
    ({"flip": 0.5}, TypeError, "Augment: expected flip to be True or False; got 0.5"),
    ({"crop": -1}, ValueError, "Augment: expected crop of at least 0; got -1"),
    ({"crop": 2.0}, TypeError, "Augment: expected crop to be a whole number; got 2.0"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD_AUGMENTS, ids=[str(row[0]) for row in BAD_AUGMENTS])
def test_bad_augmentation_is_refused(arguments, error, text):
    with pytest.raises(error, match=f"^{text}"):
        Augment(**arguments)


BAD_OPTIONS = [
    ((9,), {"augment": Augment()}, ValueError, r"images \(H, W, C\) to augment; got samples of shape \(9,\)"),
    ((4, 4), {"augment": Augment(flip=True)}, ValueError, r"images \(H, W, C\) to augment; got .* \(4, 4\)"),
    ((8, 4, 1), {"augment": Augment(crop=4)}, ValueError, r"images larger than crop=4; got shape \(8, 4, 1\)"),
    ((4, 4, 1), {"augment": True}, TypeError, "augment to be an Augment or None; got True"),
    ((4, 4, 1), {"augment": Augment}, TypeError, "augment to be an Augment or None; got <class"),
    ((4, 4, 1), {"standardize": True}, TypeError, "standardize to be a Standardizer or None; got True"),
    (
        (4, 4, 1),
        {"standardize": Standardizer.fit(np.zeros((2, 4, 5, 1)), per="channel")},
        ValueError,
        r"a Standardizer of samples of shape \(4, 4, 1\); got one of shape \(4, 5, 1\)",
    ),
]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("shape", "options", "error", "text"), BAD_OPTIONS, ids=[row[3][:30] for row in BAD_OPTIONS])
def test_options_that_do_not_fit_the_data_are_refused(shape, options, error, text, dtype):
    with pytest.raises(error, match=f"^Batches: expected {text}"):
        Batches((np.zeros((5, *shape), dtype), np.arange(5)), 2, **options)


# split --------------------------------------------------------------------------------------------------

SPLITS = [
    (10, (0.8, 0.2)),
    (10, (0.5, 0.3, 0.2)),
    (7, (0.5, 0.5)),
    (10, (0.1, 0.2, 0.7)),  # 0.1 + 0.2 is more than 0.3 in binary
    (100, (1 / 3, 1 / 3, 1 / 3)),
    (5, (1,)),
    (9, (0.3, 0.3)),  # the rest is dropped
]


@pytest.mark.parametrize(("n", "fractions"), SPLITS)
def test_the_parts_of_a_split_are_disjoint_and_as_large_as_asked(n, fractions):
    parts = split(numbered(n), fractions, seed=1)
    assert len(parts) == len(fractions)
    for (x, y), fraction in zip(parts, fractions, strict=True):
        assert abs(len(x) - fraction * n) <= 1, "more than one rounding away"
        np.testing.assert_array_equal(x[:, 1], x[:, 0] + 1000)
        np.testing.assert_array_equal(y, 2 * x[:, 0])
    ids = [int(i) for x, _ in parts for i in x[:, 0]]
    assert len(ids) == len(set(ids)), "a sample is in two parts"
    if math.isclose(sum(fractions), 1):
        assert sorted(ids) == list(range(n))
    else:
        assert abs(len(ids) - sum(fractions) * n) <= 1


def test_a_split_is_shuffled_and_depends_on_the_seed_alone():
    def order(seed):
        return [y.tolist() for _, y in split(numbered(30), (0.5, 0.5), seed=seed)]

    assert order(4) == order(4)
    assert order(4) != order(5)
    assert flat(order(4)) != list(range(0, 60, 2))


def test_the_parts_of_a_split_are_new_arrays_of_the_same_kind():
    x, y = numbered(6, np.uint8)
    before = x.copy(), y.copy()
    for part_x, part_y in split((x, y), (0.5, 0.5)):
        assert (part_x.dtype, part_y.dtype) == (x.dtype, y.dtype)
        part_x[...] = 0
        part_y[...] = 0
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


BAD_FRACTIONS = [
    ((0.7, 0.4), ValueError, r"sum to at most 1; got \(0.7, 0.4\)"),
    ((), ValueError, r"fractions.*; got \(\)"),
    ((0.5, 0.0), ValueError, "fraction above 0; got 0.0"),
    ((0.5, -0.1), ValueError, "fraction above 0; got -0.1"),
    ((math.nan,), ValueError, "fraction to be finite; got nan"),
    (("half",), TypeError, "fraction to be a number; got 'half'"),
    ((0.97, 0.03), ValueError, "every part to get a sample; got 10 samples"),
    (0.8, TypeError, "fractions.*; got 0.8"),
    (None, TypeError, "fractions.*; got None"),
]


@pytest.mark.parametrize(("fractions", "error", "text"), BAD_FRACTIONS, ids=[str(row[0]) for row in BAD_FRACTIONS])
def test_bad_fractions_are_refused(fractions, error, text):
    with pytest.raises(error, match=f"^split: expected .*{text}"):
        split(numbered(10), fractions)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError), ("a", TypeError)])
def test_a_bad_seed_of_a_split_is_refused(seed, error):
    with pytest.raises(error, match=f"^split: expected seed .*; got {seed!r}"):
        split(numbered(10), (0.5, 0.5), seed=seed)


def counts(y, classes):
    return [int((y == label).sum()) for label in classes]


STRATIFIED = {
    "balanced": (np.repeat(np.arange(3), 40), (0.5, 0.25, 0.25)),
    "rare": (np.array([0] * 90 + [1] * 10), (0.8, 0.1, 0.1)),
    "sorted by hand": (np.array([5] * 7 + [-2] * 7 + [9] * 7), (0.5, 0.5)),
    "text": (np.array(["cat"] * 30 + ["dog"] * 60), (0.7, 0.2)),
    "truth": (np.array([True] * 20 + [False] * 60), (0.9, 0.1)),
}


@pytest.mark.parametrize("name", STRATIFIED)
def test_a_stratified_split_gives_each_part_its_share_of_each_class(name):
    y, fractions = STRATIFIED[name]
    x = np.arange(float(len(y)))[:, np.newaxis]
    parts = split((x, y), fractions, seed=3, stratified=True)
    classes = np.unique(y)
    for (part_x, part_y), fraction in zip(parts, fractions, strict=True):
        for label, count in zip(classes, counts(y, classes), strict=True):
            assert abs(int((part_y == label).sum()) - fraction * count) <= 1
        np.testing.assert_array_equal(part_y, y[part_x[:, 0].astype(int)])
    taken = np.concatenate([part_x for part_x, _ in parts]).ravel()
    assert len(set(taken)) == len(taken)
    lengths = [len(part_y) for _, part_y in split((x, y), fractions, seed=3)]
    assert [len(part_y) for _, part_y in parts] == lengths


def test_a_stratified_split_is_shuffled_and_depends_on_the_seed_alone():
    y = np.repeat([0, 1], 20)

    def order(seed):
        x = np.arange(40.0)[:, np.newaxis]
        return [part.ravel().tolist() for part, _ in split((x, y), (0.5, 0.5), seed=seed, stratified=True)]

    assert order(1) == order(1)
    assert order(1) != order(2)
    for seed in range(3):
        for part in order(seed):
            classes = y[np.array(part, int)]
            assert len(set(part)) == 20
            assert part != sorted(part)
            assert (classes[::2] != classes[1::2]).any()
            assert (classes[::2] == classes[1::2]).any(), "classes take turns"


@pytest.mark.parametrize(
    ("y", "stratified", "error", "text"),
    [
        (np.eye(4), True, ValueError, r"labels of shape \(n,\).*; got y of shape \(4, 4\)"),
        (np.arange(4.0), True, TypeError, "labels.*; got y of dtype float64"),
        (np.arange(4), "yes", TypeError, "stratified to be True or False; got 'yes'"),
        (np.arange(4), np.arange(4), TypeError, "stratified to be True or False"),  # as scikit-learn has it
    ],
)
def test_what_a_split_cannot_stratify_by_is_refused(y, stratified, error, text):
    with pytest.raises(error, match=f"^split: expected {text}"):
        split((np.ones((4, 1)), y), (0.5, 0.5), stratified=stratified)


# Standardizer -------------------------------------------------------------------------------------------


def moments(values):
    """Mean and standard deviation of some numbers, in scalars."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_per_feature_each_feature_gets_mean_0_and_deviation_1(dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((40, 3, 2)) * [[1, 10], [0.1, 3], [5, 2]] + [[0, 100], [1, -5], [7, 0]]).astype(dtype)
    standardize = Standardizer.fit(x)
    out = standardize(x)
    assert out.dtype == dtype
    eps = np.finfo(dtype).eps
    for i, j in itertools.product(range(3), range(2)):
        mean, std = moments(x[:, i, j].astype(float).tolist())
        # Sums of 40 numbers in double precision: 40 roundings at most.
        assert standardize.mean[i, j] == pytest.approx(mean, rel=40 * np.finfo(float).eps, abs=1e-14)
        assert standardize.std[i, j] == pytest.approx(std, rel=40 * np.finfo(float).eps)
        # The mean is rounded to dtype before it is taken away (error eps |mean|), then three more roundings.
        bound = eps * (abs(mean) + np.abs(x[:, i, j]).max()) / std + 4 * eps * np.abs(out[:, i, j]).max()
        np.testing.assert_allclose(out[:, i, j], [(v - mean) / std for v in x[:, i, j].astype(float)], 0, bound)


def test_per_channel_all_places_share_the_statistics_of_their_channel():
    x = np.random.default_rng(1).standard_normal((5, 4, 3, 2)) * [1, 20] + [3, -40]
    standardize = Standardizer.fit(x, per="channel")
    assert standardize.mean.shape == standardize.std.shape == (2,)
    out = standardize(x)
    for c in range(2):
        mean, std = moments(x[..., c].ravel().tolist())
        assert (standardize.mean[c], standardize.std[c]) == pytest.approx((mean, std), rel=1e-13)
        np.testing.assert_allclose(out[..., c], (x[..., c] - mean) / std, rtol=0, atol=1e-13)


def test_other_parts_are_scaled_by_the_statistics_of_the_training_part():
    rng = np.random.default_rng(2)
    train, other = rng.standard_normal((30, 4)), 5 + 3 * rng.standard_normal((8, 4))
    standardize = Standardizer.fit(train)
    together = standardize(other)
    for i, j in itertools.product(range(8), range(4)):
        mean, std = moments(train[:, j].tolist())
        assert together[i, j] == pytest.approx((other[i, j] - mean) / std, rel=1e-12)
    one_by_one = np.concatenate([standardize(other[i : i + 1]) for i in range(8)])
    np.testing.assert_array_equal(together, one_by_one)


@pytest.mark.parametrize("per", ["feature", "channel"])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6 / 3])
@pytest.mark.parametrize("n", [3, 10, 1001])
def test_a_feature_that_does_not_vary_becomes_0_and_its_scale_stays(n, value, per):
    # The mean of equal numbers is not always that number in floating point: 0.1 three times has mean 0.1 + 1.4e-17.
    x = np.full((n, 2), value)
    x[:, 1] = np.arange(n)
    standardize = Standardizer.fit(x, per=per)
    assert standardize.std[0] == 1
    assert np.abs(standardize(x)[:, 0]).max() <= 4 * np.finfo(float).eps * abs(value)


@pytest.mark.parametrize("per", ["feature", "channel"])
def test_bytes_are_standardized_as_x_over_255(per):
    x = np.random.default_rng(3).integers(0, 256, (50, 2, 2, 3)).astype(np.uint8)
    floats = np.divide(x, 255, dtype=np.float32)
    ours, theirs = Standardizer.fit(x, per=per), Standardizer.fit(floats, per=per)
    np.testing.assert_array_equal(ours.mean, theirs.mean)
    np.testing.assert_array_equal(ours.std, theirs.std)
    out = ours(x)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, theirs(floats))


def test_standardizing_leaves_its_input_alone():
    x = np.random.default_rng(4).standard_normal((5, 2))
    before = x.copy()
    out = Standardizer.fit(x)(x)
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(out, x)


BAD_FITS = [
    (np.zeros((0, 3)), "feature", ValueError, r"samples of shape \(n, ...\); got shape \(0, 3\)"),
    (np.zeros(3), "feature", ValueError, r"samples of shape \(n, ...\); got shape \(3,\)"),
    (np.zeros((2, 3), int), "feature", TypeError, "floating-point or uint8 samples; got dtype int64"),
    (np.zeros((2, 3)), "row", ValueError, "per='feature' or 'channel'; got 'row'"),
    (np.array([[1.0, math.nan]]), "feature", ValueError, "finite .*; got NaN or infinity"),
    (np.array([[1.0, math.inf]]), "channel", ValueError, "finite .*; got NaN or infinity"),
]


@pytest.mark.parametrize(("x", "per", "error", "text"), BAD_FITS, ids=[row[3][:20] for row in BAD_FITS])
def test_a_standardizer_is_not_fitted_on_bad_data(x, per, error, text):
    with pytest.raises(error, match=f"^Standardizer(.fit)?: expected {text}"):
        Standardizer.fit(x, per=per)


@pytest.mark.parametrize("shape", [(6, 3), (6, 1), (6,), (6, 2, 4), ()], ids=str)
def test_a_standardizer_takes_no_samples_of_another_shape(shape):
    standardize = Standardizer.fit(np.random.default_rng(5).standard_normal((6, 4)))
    with pytest.raises(ValueError, match=r"^Standardizer: expected samples of shape \(n, 4\); got shape"):
        standardize(np.zeros(shape))


@pytest.mark.parametrize("standardize", [False, True])
def test_a_twin_gives_the_same_batches_and_moves_nothing(standardize):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (10, 3), np.uint8), np.arange(10)
    batches = mn.data.Batches(data, 4, seed=1, standardize=mn.data.Standardizer.fit(data[0]) if standardize else None)
    x, y = batches.next()
    held = x.copy(), y.copy()
    twin = batches.twin()
    given = [(a.copy(), b.copy()) for a, b in (twin.next() for _ in range(5))]  # into the next epoch
    assert np.array_equal(x, held[0])
    assert np.array_equal(y, held[1])
    assert (batches.epoch_index, batches.position) == (0, 4)
    for ours, theirs in given:
        x, y = batches.next()
        assert np.array_equal(x, ours)
        assert np.array_equal(y, theirs)
    assert twin.data[0] is batches.data[0]
