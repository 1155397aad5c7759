"""Normalisation layers. Features are the last axis, whatever comes before it."""

from dataclasses import dataclass

import numpy as np

from .. import checks
from ..initializers import Constant, Zeros
from ..kernels import norm as kernels
from ..memory import Memory
from ..spec import Buffer, Param, Plan, Scratch, Shape
from .base import Layer


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Each feature to mean 0 and variance 1 over the batch, then a learned gain and shift. Ioffe and Szegedy 2015.

    While training, the batch's own (biased) variance is used and the running statistics move as
    ``running = momentum * running + (1 - momentum) * batch``, as in CS231n and Keras. PyTorch's momentum is
    1 - momentum here, and its running variance is the unbiased one. Other passes use the running statistics.
    """

    momentum: float = 0.9
    eps: float = 1e-5

    def __post_init__(self) -> None:
        checks.fraction("BatchNorm", "momentum", self.momentum)
        checks.positive("BatchNorm", "eps", self.eps)

    def plan(self, in_shape: Shape) -> Plan:
        if not in_shape:
            raise ValueError(f"expected at least one axis; got input shape {in_shape}")
        features = in_shape[-1:]
        return Plan(
            in_shape,
            params=(
                Param("gamma", features, Constant(1.0), decay=False),
                Param("beta", features, Zeros(), decay=False),
            ),
            buffers=(Buffer("running_mean", features, 0.0), Buffer("running_var", features, 1.0)),
            scratch=tuple(
                Scratch(name, features, per_sample=False)
                for name in ("mean", "var", "inv_std", "partial", "partial_gain")
            ),
        )

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        if m.training:
            kernels.batch_moments(x, m.mean, m.var, m.partial)
            momentum = x.dtype.type(self.momentum)
            kernels.running_average(m.running_mean, momentum, m.mean)
            kernels.running_average(m.running_var, momentum, m.var)
        else:
            np.copyto(m.mean, m.running_mean)
            np.copyto(m.var, m.running_var)
        kernels.batch_norm(x, m.mean, m.var, x.dtype.type(self.eps), m.gamma, m.beta, m.inv_std, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        kernels.batch_norm_backward_params(x, m.mean, m.inv_std, dy, m.dgamma, m.dbeta, m.partial_gain, m.partial)
        if dx is None:
            return
        if m.training:
            kernels.batch_norm_backward_input(x, m.mean, m.inv_std, m.gamma, m.dgamma, m.dbeta, dy, dx)
        else:
            kernels.batch_norm_backward_fixed(m.inv_std, m.gamma, dy, dx)


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Each sample to mean 0 and variance 1 over the last axis, then a learned gain and shift.

    Ba, Kiros, Hinton 2016.
    """

    eps: float = 1e-5

    def __post_init__(self) -> None:
        checks.positive("LayerNorm", "eps", self.eps)

    def plan(self, in_shape: Shape) -> Plan:
        if not in_shape:
            raise ValueError(f"expected at least one axis; got input shape {in_shape}")
        features, rows = in_shape[-1:], in_shape[:-1]
        return Plan(
            in_shape,
            params=(
                Param("gamma", features, Constant(1.0), decay=False),
                Param("beta", features, Zeros(), decay=False),
            ),
            scratch=(Scratch("mean", rows), Scratch("inv_std", rows)),
        )

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.layer_norm(x, x.dtype.type(self.eps), m.gamma, m.beta, m.mean, m.inv_std, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        kernels.layer_norm_backward_params(x, m.mean, m.inv_std, dy, m.dgamma, m.dbeta)
        if dx is not None:
            kernels.layer_norm_backward_input(x, m.mean, m.inv_std, m.gamma, dy, dx)
