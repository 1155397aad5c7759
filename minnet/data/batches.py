"""Batches of the data: shuffled, gathered, augmented and standardised."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..base import checks, streams
from ..base.guide import Guided
from ..kernels.arrays import aligned_empty
from ..kernels.passes.gather import collect, shuffle, take
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


def _is_words(dtype: Any) -> bool:
    """Return whether a dtype, as a user gives it, is int64."""
    return not isinstance(dtype, str) and dtype is not None and dtype == np.int64


def _check_standardizer(standardize: Any, sample_shape: tuple[int, ...]) -> None:
    if not isinstance(standardize, Standardizer):
        raise TypeError(f"Batches: expected standardize to be a Standardizer or None; got {standardize!r}")
    if standardize.sample_shape != sample_shape:
        raise ValueError(
            f"Batches: expected a Standardizer of samples of shape {sample_shape}; "
            f"got one of shape {standardize.sample_shape}"
        )


def _noise_options(seed: int, augment: Augment) -> tuple[np.uint64, np.uint64, int]:
    """Return (stream, flip, crop), arguments of the kernel."""
    return streams.key(seed, "augmentation"), np.uint64(2**63 if augment.flip else 0), augment.crop


def _value_options(
    x: np.ndarray, standardize: Standardizer | None, dtype: np.dtype
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return (scale, mean, std), arguments of the kernel, in the dtype of the batches."""
    mean, std = (0, 1) if standardize is None else (standardize.mean, standardize.std)
    mean, std = (np.broadcast_to(values, x.shape[1:]).astype(dtype).reshape(-1) for values in (mean, std))
    return dtype.type(255 if x.dtype == np.uint8 else 1), mean, std


_TAKEN = tuple(map(np.dtype, (np.float32, np.float64, np.int64)))  # dtypes that the kernel is compiled for


def _take(values: np.ndarray, order: np.ndarray, position: int, out: np.ndarray) -> None:
    """Fill ``out`` with the samples of ``values`` whose indices are in ``order`` from ``position`` on."""
    if values.dtype in _TAKEN:
        take(values.reshape(len(values), -1), order, position, out.reshape(len(out), -1))
    else:
        # mode="clip" because "raise" would copy the whole result.
        np.take(values, order[position : position + len(out)], axis=0, out=out, mode="clip")


class Batches(Guided):
    """Batches of (x, y) without replacement, shuffled again in each epoch.

    All batches are gathered into the same arrays.

    Args:
        data: pair (x, y) of arrays of equal length. If x is uint8, it is read as bytes of images, and batches have
            x / 255.
        batch_size: number of samples in a batch, at most all. The last batch of an epoch may be shorter.
        seed: seed of the order. The order of epoch e depends on (seed, e) only, so two integers describe the position.
            The augmentation of a sample depends on (seed, e, index of the sample in the data).
        shuffle: whether to shuffle. False keeps the order of the data.
        drop_last: whether to leave out a shorter last batch. With ``shuffle``, each epoch leaves out other samples.
        augment: augmentation of the images, drawn again in each epoch; None for none.
        standardize: standardisation of the batches, after augmentation; None for none. The data do not change.
        dtype: dtype of x in the batches: float32 or float64, or int64 for words, which may then have any integer dtype
            and are not read as bytes of images.

    Attributes:
        epoch_index: the present epoch, counted from 0.
        position: number of samples of the present epoch that were already returned.
        data: pair (x, y) that the batches are gathered from. x is standardised if this needs to be done only once.

    Raises:
        TypeError, ValueError: for bad arguments.
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
        dtype = np.dtype(np.int64) if _is_words(dtype) else checks.precision("Batches", dtype)
        x, y = check_data("Batches", data, dtype)
        self.batch_size = min(checks.count("Batches", "batch_size", batch_size), len(x))
        self.seed = checks.count("Batches", "seed", seed, least=0)
        self.shuffle, self.augment, self.standardize = shuffle, augment, standardize
        self.drop_last = checks.truth("Batches", "drop_last", drop_last)
        if dtype == np.int64 and not (augment is None and standardize is None):
            raise ValueError("Batches: expected words without augment and standardize; got one of them")
        if augment is not None:
            _check_augment(augment, x.shape[1:])
        if standardize is not None:
            _check_standardizer(standardize, x.shape[1:])
            if x.dtype != np.uint8 and augment is None:
                x, standardize = standardize(x), None  # without augmentation these values never change
        is_bytes = x.dtype == np.uint8 and dtype != np.int64
        self._x = np.ascontiguousarray(x if is_bytes else x.astype(dtype, copy=False))
        self._y = np.ascontiguousarray(y)
        self._x_out = aligned_empty((self.batch_size, *x.shape[1:]), dtype)
        self._y_out = np.empty((self.batch_size, *y.shape[1:]), y.dtype)
        self._weights: np.ndarray | None = None
        self._as_is = self._x.dtype != np.uint8 and augment is None
        # The kernel takes images. Without augmentation, a sample is an image of one pixel.
        self._image_shape = (1, 1, math.prod(x.shape[1:])) if augment is None else x.shape[1:]
        self._options = (*_noise_options(self.seed, augment or Augment()), *_value_options(self._x, standardize, dtype))
        self._order_stream = streams.key(self.seed, "order of an epoch")
        self._order = np.arange(len(x))
        self.epoch_index = self.position = 0
        self._shuffle(0, 0)

    @property
    def data(self) -> Data:
        """The data (x, y) that the batches are of."""
        return self._x, self._y

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(self.per_epoch / self.batch_size)

    @property
    def per_epoch(self) -> int:
        """The number of samples that an epoch returns."""
        return self.size - (self.size % self.batch_size if self.drop_last else 0)

    @property
    def shortest(self) -> int:
        """The number of samples in the last batch of an epoch, the smallest one."""
        return self.per_epoch % self.batch_size or self.batch_size

    def seek(self, epoch_index: int, position: int = 0) -> None:
        """Continue from the given epoch and position.

        Args:
            epoch_index: epoch, counted from 0.
            position: number of samples of this epoch to skip, below ``per_epoch``.

        Raises:
            TypeError, ValueError: if an argument is not a whole number, or is out of range.
        """
        checks.count("Batches.seek", "epoch_index", epoch_index, least=0)
        if checks.count("Batches.seek", "position", position, least=0) >= self.per_epoch:
            raise ValueError(f"Batches.seek: expected position < {self.per_epoch}; got {position}")
        self.epoch_index, self.position = epoch_index, position
        self._shuffle(epoch_index, 0)

    def twin(self) -> "Batches":
        """Return independent batches of the same data at the same position."""
        twin = copy.copy(self)
        twin._x_out = aligned_empty(self._x_out.shape, self._x_out.dtype)
        twin._y_out, twin._order = np.empty_like(self._y_out), self._order.copy()
        twin.gather_weights(self._weights)
        return twin

    @property
    def size(self) -> int:
        """The number of samples in the data."""
        return len(self._x)

    def samples(self, chosen: np.ndarray) -> Data:
        """Return new arrays (x, y) of the samples with these indices, standardised but not augmented.

        The position does not change.

        Args:
            chosen: indices of samples, integers (n,).

        Returns:
            (x, y): x in the dtype of the batches, shape (n, ...), and y as the data have it.
        """
        if self._as_is:
            return self._x[chosen], self._y[chosen]
        x = np.empty((len(chosen), *self._x.shape[1:]), self._x_out.dtype)
        images, out = (values.reshape(len(values), *self._image_shape) for values in (self._x, x))
        collect(images, chosen, 0, 0, (*_noise_options(self.seed, Augment()), *self._options[3:]), out)
        return x, self._y[chosen]

    def everything(self) -> Data:
        """Return all samples in a form that a net can evaluate, without a copy if possible.

        Without standardisation, x of uint8 stays uint8, because a net divides it by 255 itself.
        """
        if self._as_is or self.standardize is None:
            return self._x, self._y
        return self.samples(np.arange(self.size))

    @property
    def coming(self) -> np.ndarray:
        """Indices in the data of the samples that ``next`` will return. The array is valid until ``next`` is called."""
        return self._order[self.position : self.position + self.next_size]

    def order_of(self, epoch_index: int) -> np.ndarray:
        """Return which samples an epoch returns, in order; the position stays.

        Args:
            epoch_index: the epoch, counted from 0.

        Returns:
            Indices of samples, int64 of shape (per_epoch,), in a new array.
        """
        other = copy.copy(self)
        other._order = self._order.copy()
        other.seek(epoch_index)
        return other._order[: self.per_epoch]

    def _shuffle(self, epoch: int, position: int) -> None:
        """Set the order to that of an epoch, if the position is at its start."""
        if self.shuffle:
            shuffle(self._order, self._order_stream, epoch, position)

    def next(self) -> Data:
        """Return the next batch (x, y); epochs follow one another. The arrays are valid until the next call."""
        size = self.next_size
        self.gather(size, self.position, self.epoch_index)
        self.position += size
        if self.position == self.per_epoch:
            self.epoch_index, self.position = self.epoch_index + 1, 0
            self._shuffle(self.epoch_index, 0)
        return self.places(size)

    @property
    def next_size(self) -> int:
        """The number of samples in the batch that ``next`` will return."""
        return min(self.batch_size, self.per_epoch - self.position)

    def places(self, size: int) -> Data:
        """Return the arrays (x, y) that batches of this size are gathered into.

        Args:
            size: number of samples, at most ``batch_size``.

        Returns:
            Views of shape (size, ...), which the next batch overwrites.
        """
        return self._x_out[:size], self._y_out[:size]

    def gather_weights(self, weights: np.ndarray | None) -> None:
        """Gather weights of the samples with each batch from now on.

        Args:
            weights: float64 of shape (n,), one for each sample of the data; None for no weights.
        """
        self._weights, self._weights_out = weights, np.empty(0 if weights is None else self.batch_size)

    def weights(self, size: int) -> np.ndarray | None:
        """Return the array that the weights of batches of this size are gathered into.

        Args:
            size: number of samples, at most ``batch_size``.

        Returns:
            A view, float64 of shape (size,), which the next batch overwrites; None without weights.
        """
        return None if self._weights is None else self._weights_out[:size]

    def gather(self, size: int, position: int, epoch: int) -> None:
        """Gather a batch into ``places(size)``; batches of an epoch must be gathered from its first on.

        Args:
            size: number of samples.
            position: number of samples of the epoch before the batch.
            epoch: epoch, counted from 0.
        """
        self._shuffle(epoch, position)
        x, y = self.places(size)
        if self._as_is:
            _take(self._x, self._order, position, x)
        else:
            images, out = (values.reshape(len(values), *self._image_shape) for values in (self._x, x))
            collect(images, self._order, position, epoch, self._options, out)
        _take(self._y, self._order, position, y)
        if self._weights is not None:
            _take(self._weights, self._order, position, self._weights_out[:size])

    def coming_batches(self, places: np.ndarray) -> list[int]:
        """Return the size of each of the next batches.

        The present position must be a multiple of the batch size.

        Args:
            places: int64 array of shape (batches, 2 or more), whose first two columns are filled with the position in
                the epoch and the epoch of each batch.
        """
        each, size = len(self), self.batch_size
        numbers = np.arange(len(places)) + self.position // size  # counted from the start of the epoch
        places[:, 0] = numbers % each * size
        places[:, 1] = numbers // each + self.epoch_index
        if self.shortest == size:
            return [size] * len(places)
        sizes: list[int] = np.where(numbers % each == each - 1, self.shortest, size).tolist()
        return sizes

    def advance(self, batches: int) -> None:
        """Move past the next batches, which were gathered by ``gather``.

        The present position must be a multiple of the batch size.

        Args:
            batches: number of batches, which may go on into later epochs.
        """
        before = self.epoch_index
        epochs, number = divmod(self.position // self.batch_size + batches, len(self))
        self.epoch_index, self.position = before + epochs, number * self.batch_size
        if self.epoch_index != before:
            self._shuffle(self.epoch_index, 0)

    def epoch(self) -> Iterator[Data]:
        """Yield the remaining batches of the current epoch. Each is valid until the next one."""
        epoch = self.epoch_index
        while self.epoch_index == epoch:
            yield self.next()
