"""Batches, splits, augmentation and standardisation."""

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import checks, streams
from .kernels.arrays import aligned_empty
from .kernels.flat import all_finite
from .kernels.gather import collect

Data = tuple[np.ndarray, np.ndarray]


def check_data(who: str, data: Any, dtype: Any = None) -> Data:
    """``data`` as two arrays of one length: x (n, ...) of finite floats or of uint8, and y (n, ...).

    With ``dtype``, x must be finite in that precision too.
    """
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"{who}: expected data as a pair (x, y); got {type(data).__name__}")
    x, y = checks.array(who, "x", data[0]), checks.array(who, "y", data[1])
    if x.ndim == 0 or y.ndim == 0 or len(x) == 0:
        raise ValueError(f"{who}: expected at least one sample; got x of shape {x.shape}, y of shape {y.shape}")
    if len(x) != len(y):
        raise ValueError(f"{who}: expected x and y of one length; got {len(x)} and {len(y)}")
    if x.dtype.kind != "f" and x.dtype != np.uint8:
        raise TypeError(f"{who}: expected x of floating-point or uint8 values; got dtype {x.dtype}")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows shows as infinity
            values = np.ascontiguousarray(x, x.dtype if dtype is None else dtype)
        # Of the floats, kernels know float32 and float64.
        finite = all_finite(values) if values.dtype in (np.float32, np.float64) else np.isfinite(values).all()
        if not finite:
            raise ValueError(f"{who}: expected finite x; got NaN or infinity in sample {_first_non_finite(values)}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{who}: expected finite y; got NaN or infinity in sample {_first_non_finite(y)}")
    return x, y


def check_scales(who: str, x: np.ndarray, validation: np.ndarray) -> None:
    """ValueError for training and validation data of which one is bytes, read as x / 255, and the other not in [0, 1].

    Floats from 0 to 255 beside bytes would be seen at another scale than the net is trained at.
    """
    for name, floats, other in (("validation", validation, x), ("training", x, validation)):
        if other.dtype != np.uint8 or floats.dtype == np.uint8:
            continue
        low, high = float(floats.min()), float(floats.max())
        if low < 0 or high > 1:
            beside = "training" if name == "validation" else "validation"
            raise ValueError(
                f"{who}: expected {name} data from 0 to 1 beside {beside} data of uint8, which become x / 255; got "
                f"{floats.dtype} from {low:.4g} to {high:.4g}. Give both as uint8, or both as floats of one scale"
            )


def _first_non_finite(values: np.ndarray) -> int:
    return int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))


def split(data: Data, fractions: Sequence[float], *, seed: int = 0, stratified: bool = False) -> list[Data]:
    """Shuffle (x, y) together and cut it into parts without overlap, one a fraction; returns new arrays.

    Args:
        data: the pair (x, y).
        fractions: above 0, with a sum of at most 1 (what is left over is dropped); boundaries are rounded.
        seed: of the order.
        stratified: give each class of y the same share of every part as it has of the data, up to rounding. Parts have
            the same lengths as without it. y must then be labels of shape (n,).

    Raises:
        ValueError: a part would be empty, or y has another shape than (n,) and ``stratified`` is set.
        TypeError: ``stratified`` is set and y is not made of labels.
    """
    x, y = check_data("split", data)
    if not isinstance(fractions, Iterable):
        raise TypeError(f"split: expected a sequence of fractions; got {fractions!r}")
    shares = [checks.positive("split", "each fraction", fraction) for fraction in fractions]
    if not shares or math.fsum(shares) > 1 + 1e-9:
        raise ValueError(f"split: expected fractions that sum to at most 1; got {tuple(fractions)}")
    stream = streams.generator(checks.count("split", "seed", seed, least=0), "split")
    order = stream.permutation(len(x))
    if checks.truth("split", "stratified", stratified):
        order = _stratified(order, y)
    ends = [round(len(x) * math.fsum(shares[: i + 1])) for i in range(len(shares))]
    parts = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    if any(part.size == 0 for part in parts):
        raise ValueError(f"split: expected every part to get a sample; got {len(x)} samples for {tuple(fractions)}")
    if stratified:
        parts = [stream.permutation(part) for part in parts]
    return [(x[part], y[part]) for part in parts]


def _stratified(order: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The samples of ``order`` so that each class is spread evenly from the first to the last."""
    if y.ndim != 1:
        raise ValueError(f"split: expected labels of shape (n,) to stratify by; got y of shape {y.shape}")
    if y.dtype.kind not in "iubUS":
        raise TypeError(f"split: expected labels to stratify by; got y of dtype {y.dtype}")
    _, classes, counts = np.unique(y[order], return_inverse=True, return_counts=True)
    place = np.empty(len(y))
    for label, count in enumerate(counts):
        place[classes == label] = (np.arange(count) + 0.5) / count
    return order[np.argsort(place, kind="stable")]


@dataclass(frozen=True)
class Standardizer:
    """Shift and scale features to mean 0 and standard deviation 1, as measured on training data.

    ``fit`` on the training part only, then call it on every part: CS231n's warning about preprocessing is that the
    statistics of validation and test data must not be used.

    Attributes:
        mean, std: arrays that broadcast against samples; a feature that does not vary has std 1.
        sample_shape: shape of one sample.
    """

    mean: np.ndarray
    std: np.ndarray
    sample_shape: tuple[int, ...]

    @classmethod
    def fit(cls, x: np.ndarray, per: str = "feature") -> "Standardizer":
        """Measure x (n, ...), floats or uint8 (read as x / 255).

        ``per="feature"`` takes each element of a sample by itself, ``per="channel"`` each index of the last axis.
        """
        if per not in ("feature", "channel"):
            raise ValueError(f"Standardizer.fit: expected per='feature' or 'channel'; got {per!r}")
        values = _as_float(checks.array("Standardizer.fit", "x", x))
        if values.ndim < 2 or len(values) == 0:
            raise ValueError(f"Standardizer.fit: expected samples of shape (n, ...); got shape {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError(
                f"Standardizer.fit: expected finite samples; got NaN or infinity in sample {_first_non_finite(values)}"
            )
        axes = (0,) if per == "feature" else tuple(range(values.ndim - 1))
        # The mean of equal numbers may be off by a rounding, and their deviation then above 0: ask whether they vary.
        low, high = values.min(axis=axes), values.max(axis=axes)
        mean = np.where(low < high, values.mean(axis=axes, dtype=np.float64), low)
        std = np.where(low < high, values.std(axis=axes, dtype=np.float64), 1.0)
        return cls(mean, std, values.shape[1:])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(x - mean) / std in a new array, float32 for float32 and uint8 input, float64 for float64."""
        values = _as_float(checks.array("Standardizer", "x", x))
        if values.ndim == 0 or values.shape[1:] != self.sample_shape:
            wanted = ", ".join(map(str, self.sample_shape))
            raise ValueError(f"Standardizer: expected samples of shape (n, {wanted}); got shape {values.shape}")
        out = np.subtract(values, self.mean.astype(values.dtype))
        out /= self.std.astype(values.dtype)
        return out


def _as_float(x: np.ndarray) -> np.ndarray:
    if x.dtype == np.uint8:
        return np.divide(x, 255, dtype=np.float32)
    if x.dtype.kind != "f":
        raise TypeError(f"Standardizer: expected floating-point or uint8 samples; got dtype {x.dtype}")
    return x


@dataclass(frozen=True)
class Augment:
    """Random changes to images (H, W, C) that leave their class alone: the CIFAR recipe of He et al. 2016, section 4.2.

    Args:
        flip: mirror an image left to right with probability 1/2.
        crop: pad an image by so many zeros on every side and cut out a window of its own size at a random place, all
            (2 crop + 1)^2 places alike. As in torchvision's usual recipe the zeros are those of the raw image, before
            it is standardised.
    """

    flip: bool = False
    crop: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise TypeError(f"Augment: expected flip to be True or False; got {self.flip!r}")
        object.__setattr__(self, "crop", checks.count("Augment", "crop", self.crop, least=0))


def _check_augment(augment: Any, sample_shape: tuple[int, ...]) -> None:
    if not isinstance(augment, Augment):
        raise TypeError(f"Batches: expected augment to be an Augment or None; got {augment!r}")
    if len(sample_shape) != 3:
        raise ValueError(f"Batches: expected images (H, W, C) to augment; got samples of shape {sample_shape}")
    if augment.crop >= min(sample_shape[:2]):
        raise ValueError(f"Batches: expected images larger than crop={augment.crop}; got shape {sample_shape}")


def _check_standardizer(standardize: Any, sample_shape: tuple[int, ...]) -> None:
    if not isinstance(standardize, Standardizer):
        raise TypeError(f"Batches: expected standardize to be a Standardizer or None; got {standardize!r}")
    if standardize.sample_shape != sample_shape:
        raise ValueError(
            f"Batches: expected a Standardizer of samples of shape {sample_shape}; "
            f"got one of shape {standardize.sample_shape}"
        )


def _noise_options(seed: int, augment: Augment) -> tuple[np.uint64, np.uint64, int]:
    """(stream, flip, crop) as the kernel takes them."""
    return streams.key(seed, "augmentation"), np.uint64(2**63 if augment.flip else 0), augment.crop


def _value_options(
    x: np.ndarray, standardize: Standardizer | None, dtype: np.dtype
) -> tuple[Any, np.ndarray, np.ndarray]:
    """(scale, mean, std) as the kernel takes them, in the dtype of what comes out."""
    mean, std = (0, 1) if standardize is None else (standardize.mean, standardize.std)
    mean, std = (np.broadcast_to(values, x.shape[1:]).astype(dtype).reshape(-1) for values in (mean, std))
    return dtype.type(255 if x.dtype == np.uint8 else 1), mean, std


class Batches:
    """Batches of (x, y), shuffled anew each epoch without replacement, gathered into the same arrays each time.

    Args:
        data: pair (x, y) of one length. uint8 x counts as image bytes and becomes x / 255 as it is gathered.
        batch_size: samples a batch, all of them if there are fewer; the last batch of an epoch may be shorter.
        seed: the order of epoch e is a function of (seed, e) alone, so a position is two integers, not a state. What
            ``augment`` does to a sample is a function of (seed, e, place of the sample in the data).
        shuffle: False keeps the order of the data.
        drop_last: whether a last batch that would be shorter is left out. Shuffled, other samples are left out in each
            epoch.
        augment: changes to the images, drawn anew each epoch; None for none.
        standardize: applied to what comes out, after ``augment``; None for none. The data stay as they are.
        dtype: of the x that come out.

    Attributes:
        epoch_index, position: the epoch and the number of samples of it that have been given out.
        data: the pair (x, y) that batches are taken from; x standardised already where that has to be done only once.
    """

    def __init__(
        self,
        data: Data,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        augment: Augment | None = None,
        standardize: Standardizer | None = None,
        dtype: Any = np.float32,
    ) -> None:
        dtype = checks.precision("Batches", dtype)
        x, y = check_data("Batches", data, dtype)
        self.batch_size = min(checks.count("Batches", "batch_size", batch_size), len(x))
        self.seed = checks.count("Batches", "seed", seed, least=0)
        self.shuffle, self.augment, self.standardize = shuffle, augment, standardize
        self.drop_last = checks.truth("Batches", "drop_last", drop_last)
        if augment is not None:
            _check_augment(augment, x.shape[1:])
        if standardize is not None:
            _check_standardizer(standardize, x.shape[1:])
            if x.dtype != np.uint8 and augment is None:
                x, standardize = standardize(x), None  # these numbers never change: once will do
        self._x = np.ascontiguousarray(x if x.dtype == np.uint8 else x.astype(dtype, copy=False))
        self._y = np.ascontiguousarray(y)
        self._x_out = aligned_empty((self.batch_size, *x.shape[1:]), dtype)
        self._y_out = np.empty((self.batch_size, *y.shape[1:]), y.dtype)
        self._as_is = self._x.dtype != np.uint8 and augment is None
        # The kernel knows images only; a sample that is to stay whole is one of a single pixel.
        self._image_shape = (1, 1, math.prod(x.shape[1:])) if augment is None else x.shape[1:]
        self._options = (*_noise_options(self.seed, augment or Augment()), *_value_options(self._x, standardize, dtype))
        self._sorted = np.arange(len(x))
        self._order = self._sorted.copy()
        self.epoch_index = self.position = 0
        self._shuffle()

    @property
    def data(self) -> Data:
        return self._x, self._y

    def __len__(self) -> int:
        """Batches an epoch."""
        return math.ceil(self.per_epoch / self.batch_size)

    @property
    def per_epoch(self) -> int:
        """Samples that an epoch gives out."""
        return self.size - (self.size % self.batch_size if self.drop_last else 0)

    @property
    def shortest(self) -> int:
        """Samples of the smallest batch of an epoch, its last."""
        return self.per_epoch % self.batch_size or self.batch_size

    def seek(self, epoch_index: int, position: int = 0) -> None:
        """Go on from the given epoch and position, as if all before had been given out."""
        checks.count("Batches.seek", "epoch_index", epoch_index, least=0)
        if checks.count("Batches.seek", "position", position, least=0) >= self.per_epoch:
            raise ValueError(f"Batches.seek: expected position < {self.per_epoch}; got {position}")
        self.epoch_index, self.position = epoch_index, position
        self._shuffle()

    def twin(self) -> "Batches":
        """The same batches at the same position, on the same data: what one gives out does not move the other."""
        twin = copy.copy(self)
        twin._x_out = aligned_empty(self._x_out.shape, self._x_out.dtype)
        twin._y_out, twin._order = np.empty_like(self._y_out), self._order.copy()
        return twin

    @property
    def size(self) -> int:
        """Samples in the data."""
        return len(self._x)

    def samples(self, chosen: np.ndarray) -> Data:
        """(x, y) by their places in the data: standardised, but not augmented, in new arrays. Moves nothing on."""
        if self._as_is:
            return self._x[chosen], self._y[chosen]
        x = np.empty((len(chosen), *self._x.shape[1:]), self._x_out.dtype)
        images, out = (values.reshape(len(values), *self._image_shape) for values in (self._x, x))
        collect(images, chosen, 0, (*_noise_options(self.seed, Augment()), *self._options[3:]), out)
        return x, self._y[chosen]

    def everything(self) -> Data:
        """All samples as a net may evaluate them: as ``samples`` gives them, or the data themselves if those will do.

        uint8 x that are not to be standardised stay bytes, as a net divides them by 255 itself.
        """
        if self._as_is or self.standardize is None:
            return self._x, self._y
        return self.samples(self._sorted)

    @property
    def coming(self) -> np.ndarray:
        """Places in the data of the samples that ``next`` is about to give; valid until then."""
        return self._order[self.position : min(self.position + self.batch_size, self.per_epoch)]

    def _shuffle(self) -> None:
        np.copyto(self._order, self._sorted)
        if self.shuffle:
            streams.generator(self.seed, "order of an epoch", self.epoch_index).shuffle(self._order)

    def next(self) -> Data:
        """The next batch (x, y), epoch after epoch; valid until the next call."""
        chosen = self.coming
        x, y = self._x_out[: len(chosen)], self._y_out[: len(chosen)]
        # mode="clip" because "raise" would go through a copy of the whole result.
        if self._as_is:
            np.take(self._x, chosen, axis=0, out=x, mode="clip")
        else:
            images, out = (values.reshape(len(values), *self._image_shape) for values in (self._x, x))
            collect(images, chosen, self.epoch_index, self._options, out)
        np.take(self._y, chosen, axis=0, out=y, mode="clip")
        self.position += len(chosen)
        if self.position == self.per_epoch:
            self.epoch_index, self.position = self.epoch_index + 1, 0
            self._shuffle()
        return x, y

    def epoch(self) -> Iterator[Data]:
        """The batches that are left of the current epoch, all of them at its start; each valid until the next."""
        epoch = self.epoch_index
        while self.epoch_index == epoch:
            yield self.next()
