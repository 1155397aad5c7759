"""Normalisation layers. The last axis is the features or channels; any axes may precede it."""

import math
from dataclasses import dataclass

import numpy as np

from ..base import checks
from ..kernels.arrays import rows
from ..kernels.passes import batch_norm, group_norm, layer_norm
from ..kernels.passes.channels import PARTS, SUMS, by_size, parts_of, width_of, work_size
from ..kernels.passes.flat import copy, fill
from .base import Layer
from .initializers import Constant, Zeros
from .memory import Memory
from .spec import Buffer, Param, Plan, Scratch, Shape


def _gain_and_shift(in_shape: Shape) -> tuple[Param, Param]:
    """Return gamma, which starts at 1, and beta, which starts at 0, with one element per feature."""
    if not in_shape:
        raise ValueError(f"expected at least one axis; got input shape {in_shape}")
    features = in_shape[-1:]
    return Param("gamma", features, Constant(1.0), decay=False), Param("beta", features, Zeros(), decay=False)


def _partial(in_shape: Shape) -> Scratch:
    """Return memory for the sums of gamma's and beta's gradients over each part of the batch."""
    return Scratch("partial", (PARTS, SUMS, in_shape[-1]), per_sample=False, brief=True)


def _wide_rows(x: np.ndarray) -> np.ndarray:
    """View all axes but the last as one, with several rows side by side, in the width that suits the kernels."""
    return x.reshape(-1, width_of(math.prod(x.shape[:-1]), x.shape[-1]))


def _wide_samples(x: np.ndarray) -> np.ndarray:
    """View each sample as ``_wide_rows`` does: (n, wide rows, width)."""
    return x.reshape(len(x), -1, width_of(math.prod(x.shape[1:-1]), x.shape[-1]))


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalize each feature to mean 0 and variance 1 over the batch, then apply a learned gain and shift.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    For images, the statistics of a channel are over all pixels of the batch.

    Training passes normalize by the (biased) variance of the batch, and update the running statistics as
    ``running = momentum * running + (1 - momentum) * batch``, as in CS231n and Keras. PyTorch's ``momentum`` is
    1 - momentum, and its running variance is unbiased. Evaluation passes normalize by the running statistics. A
    training pass needs at least two values of each feature, hence two samples or several pixels. The variance of a
    single value is 0, and the output would not depend on the input.

    Frozen parameters: if gamma and beta are in a ``Group(frozen=True)``, the running statistics stay constant, and
    training passes normalize by them too. The layer is then a fixed function.

    Args:
        momentum: weight of the old running statistics, from 0 to 1. With 1 they stay constant, while training passes
            still normalize by the statistics of the batch.
        eps: number added to the variance before its square root is taken.

    Shapes: input and output (n, ..., C).
    Trained: gamma (C,), from 1; beta (C,), from 0. Buffers: running_mean (C,), from 0; running_var (C,), from 1.
    Source: Ioffe and Szegedy 2015, algorithm 1.
    """

    floors = True

    momentum: float = 0.9
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 <= checks.number("BatchNorm", "momentum", self.momentum) <= 1:
            raise ValueError(f"BatchNorm: expected 0 <= momentum <= 1; got {self.momentum!r}")
        checks.positive("BatchNorm", "eps", self.eps)

    def plan(self, in_shape: Shape) -> Plan:
        params, features = _gain_and_shift(in_shape), in_shape[-1:]
        return Plan(
            in_shape,
            params=params,
            buffers=(Buffer("running_mean", features), Buffer("running_var", features, fill=1.0, least=0.0)),
            scratch=(
                Scratch("mean", (2, *features), per_sample=False),
                *(Scratch(name, features, per_sample=False) for name in ("var", "inv_std")),
                _partial(in_shape),
            ),
            work=work_size(in_shape[-1]),
            least=2 if math.prod(in_shape[:-1]) == 1 else 1,
        )

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        x, y = _wide_rows(x), _wide_rows(y)
        parts = parts_of(*x.shape)
        if m.training:
            moments = by_size(x.size, batch_norm.batch_moments, batch_norm.batch_moments_parallel)
            moments(x, parts, m.mean, m.var, m.partial, m.work)
            self.keep(m, *self.statistics(m))
        else:
            copy(m.running_mean, m.mean[0])
            fill(m.mean[1], x.dtype.type(0))
            copy(m.running_var, m.var)
        apply = by_size(x.size, batch_norm.batch_norm, batch_norm.batch_norm_parallel)
        apply(x, parts, m.mean, m.var, x.dtype.type(self.eps), m.gamma, m.beta, m.inv_std, m.floor, y, m.work)

    def statistics(self, m: Memory) -> tuple[np.ndarray, ...]:
        return m.mean[0], m.var

    def keep(self, m: Memory, *statistics: np.ndarray) -> None:
        if self.momentum < 1:  # at 1, rounding would change statistics that are to stay constant
            momentum = m.running_mean.dtype.type(self.momentum)
            for running, value in zip((m.running_mean, m.running_var), statistics, strict=True):
                batch_norm.running_average(running, momentum, value)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        share = x.dtype.type(x.shape[-1] / x.size if m.training else 0)
        x, dy = _wide_rows(x), _wide_rows(dy)
        dx = dy[:0] if dx is None else _wide_rows(dx)
        apply = by_size(x.size, batch_norm.batch_norm_backward, batch_norm.batch_norm_backward_parallel)
        apply(x, parts_of(*x.shape), m.mean, m.inv_std, m.gamma, share, dy, m.dgamma, m.dbeta, dx, m.partial, m.work)


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalize each position of each sample over its features, then apply a learned gain and shift.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Mean and (biased) variance are over the last axis. Training and evaluation passes are equal.

    Args:
        eps: number added to the variance before its square root is taken.

    Shapes: input and output (n, ..., C).
    Trained: gamma (C,), from 1; beta (C,), from 0.
    Source: Ba, Kiros, Hinton 2016, section 3.
    """

    eps: float = 1e-5

    def __post_init__(self) -> None:
        checks.positive("LayerNorm", "eps", self.eps)

    def plan(self, in_shape: Shape) -> Plan:
        params, positions = _gain_and_shift(in_shape), in_shape[:-1]
        scratch = (Scratch("mean", (*positions, 2)), Scratch("inv_std", positions), _partial(in_shape))
        return Plan(in_shape, params=params, scratch=scratch)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        x, y, eps = rows(x), rows(y), x.dtype.type(self.eps)
        apply = by_size(x.size, layer_norm.layer_norm, layer_norm.layer_norm_parallel)
        apply(x, parts_of(*x.shape), eps, m.gamma, m.beta, m.mean.reshape(-1, 2), m.inv_std.reshape(-1), y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        x, dy = rows(x), rows(dy)
        dx = dy[:0] if dx is None else rows(dx)
        mean, inv_std = m.mean.reshape(-1, 2), m.inv_std.reshape(-1)
        apply = by_size(x.size, layer_norm.layer_norm_backward, layer_norm.layer_norm_backward_parallel)
        apply(x, parts_of(*x.shape), mean, inv_std, m.gamma, dy, m.dgamma, m.dbeta, dx, m.partial)


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Normalize groups of channels of each sample to mean 0 and variance 1, then apply a learned gain and shift.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Mean and (biased) variance are over all positions of a sample and the channels of a group. The layer uses no
    statistics of the batch, so training and evaluation passes are equal.

    Args:
        groups: number of groups of neighbouring channels; must divide C.
        eps: number added to the variance before its square root is taken.

    Shapes: input and output (n, ..., C).
    Trained: gamma (C,), from 1; beta (C,), from 0.
    Source: Wu and He 2018, section 3.
    """

    floors = True

    groups: int
    eps: float = 1e-5

    def __post_init__(self) -> None:
        checks.count("GroupNorm", "groups", self.groups)
        checks.positive("GroupNorm", "eps", self.eps)

    def plan(self, in_shape: Shape) -> Plan:
        params = _gain_and_shift(in_shape)
        if in_shape[-1] % self.groups:
            raise ValueError(f"expected channels divisible by groups={self.groups}; got input shape {in_shape}")
        return _group_plan(in_shape, params, self.groups)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        _group_forward(m, x, y, self.eps)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        _group_backward(m, x, dy, dx)


@dataclass(frozen=True)
class InstanceNorm(Layer):
    """Normalize each channel of each sample to mean 0 and variance 1, then apply a learned gain and shift.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Mean and (biased) variance are over all positions of a sample. The layer equals GroupNorm with one channel per
    group, and PyTorch's InstanceNorm with ``affine=True`` and ``track_running_stats=False``.

    Args:
        eps: number added to the variance before its square root is taken.

    Shapes: input and output (n, ..., C).
    Trained: gamma (C,), from 1; beta (C,), from 0.
    Source: Ulyanov, Vedaldi, Lempitsky 2016.
    """

    floors = True

    eps: float = 1e-5

    def __post_init__(self) -> None:
        checks.positive("InstanceNorm", "eps", self.eps)

    def plan(self, in_shape: Shape) -> Plan:
        return _group_plan(in_shape, _gain_and_shift(in_shape), in_shape[-1])

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        _group_forward(m, x, y, self.eps)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        _group_backward(m, x, dy, dx)


def _group_plan(in_shape: Shape, params: tuple[Param, Param], groups: int) -> Plan:
    scratch = (Scratch("mean", (groups, 2)), Scratch("inv_std", (groups,)), _partial(in_shape))
    return Plan(in_shape, params=params, scratch=scratch, work=work_size(in_shape[-1]))


def _group_forward(m: Memory, x: np.ndarray, y: np.ndarray, eps: float) -> None:
    x, y = _wide_samples(x), _wide_samples(y)
    apply = by_size(x.size, group_norm.group_norm, group_norm.group_norm_parallel)
    parts = parts_of(len(x), x[0].size)
    apply(x, parts, x.dtype.type(eps), m.gamma, m.beta, m.mean, m.inv_std, m.floor, y, m.work)


def _group_backward(m: Memory, x: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
    x, dy = _wide_samples(x), _wide_samples(dy)
    dx = dy[:0] if dx is None else _wide_samples(dx)
    apply = by_size(x.size, group_norm.group_norm_backward, group_norm.group_norm_backward_parallel)
    parts = parts_of(len(x), x[0].size)
    apply(x, parts, m.mean, m.inv_std, m.gamma, dy, m.dgamma, m.dbeta, dx, m.partial, m.work)
