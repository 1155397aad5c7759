"""The gated recurrent unit, with all products with the state in one."""

from dataclasses import dataclass, field
from typing import Any

from ..kernels.arrays import rows
from ..kernels.passes import gru as kernels
from ..kernels.passes.dense import column_sums
from ..kernels.passes.flat import copy, fill
from ..kernels.passes.packed import panels_for
from ..kernels.passes.recurrent import pack_weights
from ..kernels.passes.residual import accumulate
from .initializers import GlorotUniform, Orthogonal, Zeros
from .products import product_of_transpose
from .recurrent import Recurrent
from .spec import Initializer, Param, Scratch


@dataclass(frozen=True)
class ThreeGates(Recurrent):
    """Base of ``GRU`` and ``ChoGRU``, with the gates r, z, n. Part of the gradient goes back past the products."""

    gates = 3

    units: int
    init: Initializer = field(default_factory=GlorotUniform)
    recurrent_init: Initializer = field(default_factory=Orthogonal)
    last: bool = False
    reverse: bool = False
    streams: int | None = None
    padding: int | None = None

    def _panels(self) -> int:
        return max(super()._panels(), panels_for(self.units, 2 * self.units, 4) + panels_for(self.units, self.units, 4))

    def _dbefore(self) -> Scratch:
        return Scratch("dbefore", (self.units,), brief=True)

    def _pack(self, m: Any) -> None:
        """Pack the columns of r and z, and behind them those of n."""
        units, behind = self.units, panels_for(self.units, 2 * self.units, m.U.itemsize)
        pack_weights(m.U, 0, 3 * units, 1, units, 2 * units, m.panels, 0)
        pack_weights(m.U, 2 * units, 3 * units, 1, units, units, m.panels, behind)

    def _start_backward(self, m: Any) -> None:
        fill(m.dbefore.reshape(-1), m.zero)

    def _first_gradient(self, m: Any) -> None:
        super()._first_gradient(m)
        accumulate(m.dfirst, m.dbefore)


@dataclass(frozen=True)
class GRU(ThreeGates):
    """Gated recurrent unit, with the reset gate after the product, as in PyTorch and Keras.

    With a = x_t @ W + b and u = h_(t-1) @ U, whose columns are the gates r, z, n in this order::

        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        n = tanh(a_n + r * (u_n + c))
        h_t = (1 - z) * n + z * h_(t-1)

    The output is h, which starts at 0, see ``streams``. Cho et al. multiply the state with r before the product
    (``ChoGRU``). Here all products with the state are one.

    Args:
        units: number of features of the state.
        init: initializer of the columns of each gate in W. ``GlorotUniform`` by default.
        recurrent_init: initializer of the columns of each gate in U. ``Orthogonal`` by default, as in Keras.
        last: whether to output the state after the last step only, (n, units).
        reverse: whether to step from the last position to the first. Outputs stay at the positions of their inputs.
        streams: number of samples of every training pass, each of which goes on from the state that the same row of the
            training pass before ended in, with no gradient between them (``Text.streams``, ``Net.reset_state``). None
            to start every pass from 0. Passes that do not train start from 0 in any case.
        padding: a word that fills up short sequences, as in ``Embedding``, or None. A step at this word does not change
            the state, so ``last`` gives the state after the last other word, and ``reverse`` starts there. The input of
            the net must be words, one for each position.

    Shapes: input (n, time, features), output (n, time, units), or (n, units) with ``last``.
    Trained: W (features, 3 * units), U (units, 3 * units), b (3 * units,), c (units,).
    Source: Cho et al. 2014, equations 5 to 8, except for the place of the reset gate.
    """

    def _more_params(self) -> tuple[Param, ...]:
        return (Param("c", (self.units,), Zeros(), decay=False),)

    def _more_scratch(self, time: int) -> tuple[Scratch, ...]:
        width = self.gates * self.units
        return (
            Scratch("inner", (time, self.units)),
            Scratch("d_recurrent", (time, width), brief=True),
            self._dbefore(),
            Scratch("sums", (width,), per_sample=False, brief=True),
        )

    def _by_step(self) -> tuple[str, ...]:
        return *super()._by_step(), "inner", "d_recurrent"

    def _steps(self, m: Any, first: int, last: int) -> None:
        kernels.gru(m.U, m.activated, m.c, m.inner, m.h, first, last, *self._in_time(m))

    def _steps_backward(self, m: Any, first: int, last: int) -> None:
        kernels.gru_backward(
            m.U, m.activated, m.inner, m.h, m.dy_by_step, first, last, self._least(m), m.carry, m.dbefore,
            m.d_activated, m.d_recurrent, *self._in_time(m),
        )  # fmt: skip

    def _recurrent_gradients(self, m: Any) -> None:
        d = rows(m.d_recurrent)
        product_of_transpose(m, rows(m.h[:-1]), d, m.dU)
        column_sums(d, m.sums, m.work[0])
        copy(m.sums[2 * self.units :], m.dc)
