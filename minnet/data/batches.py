"""Batches of the data, shuffled, augmented and standardised as they are gathered."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import checks, streams
from ..kernels.arrays import aligned_empty
from ..kernels.passes.gather import collect
from .arrays import Data, check_data
from .augment import Augment
from .standardize import Standardizer


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
