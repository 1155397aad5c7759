"""The gated recurrent unit as it was published, with the reset gate before the product with the state."""

from dataclasses import dataclass
from typing import Any

from ..kernels.arrays import rows
from ..kernels.passes import cho_gru as kernels
from ..kernels.passes.packed import panels_for
from ..kernels.passes.recurrent import join, pack_weights
from .gru import ThreeGates
from .products import product_of_transpose
from .spec import Scratch


@dataclass(frozen=True)
class ChoGRU(ThreeGates):
    """Gated recurrent unit, with the reset gate before the product: Keras's GRU with ``reset_after=False``.

    With a = x_t @ W + b, whose columns are the gates r, z, n in this order, and U_r, U_z, U_n the same columns of U::

        r, z = sigmoid(a_r + h_(t-1) @ U_r), sigmoid(a_z + h_(t-1) @ U_z)
        n = tanh(a_n + (r * h_(t-1)) @ U_n)
        h_t = (1 - z) * n + z * h_(t-1)

    The output is h, which starts at 0, see ``streams``. A step has two products with the state that wait for each
    other; ``GRU`` has one, and is faster.

    Args:
        units: number of features of the state.
        init: initializer of the columns of each gate in W. ``GlorotUniform`` by default.
        recurrent_init: initializer of the columns of each gate in U. ``Orthogonal`` by default, as in Keras.
        last: whether to output the state after the last step only, (n, units).
        reverse: whether to step from the last position to the first. Outputs stay at the positions of their inputs.
        streams: number of samples of every training pass, each of which goes on from the state that the same row of the
            training pass before ended in, as in ``GRU``. None to start every pass from 0.
        padding: a word that fills up short sequences, as in ``Embedding``, or None. A step at this word does not change
            the state, so ``last`` gives the state after the last other word, and ``reverse`` starts there. The input of
            the net must be words, one for each position.

    Shapes: input (n, time, features), output (n, time, units), or (n, units) with ``last``.
    Trained: W (features, 3 * units), U (units, 3 * units), b (3 * units,).
    Source: Cho et al. 2014, equations 5 to 8.
    """

    def _more_scratch(self, time: int) -> tuple[Scratch, ...]:
        units = self.units
        return (
            Scratch("reset", (time, units)),  # r * h_(t-1)
            Scratch("d_rz", (time, 2 * units), brief=True),
            Scratch("d_n", (time, units), brief=True),
            Scratch("dreset", (units,), brief=True),
            self._dbefore(),
            Scratch("dU_rz", (units, 2 * units), per_sample=False, brief=True),
            Scratch("dU_n", (units, units), per_sample=False, brief=True),
        )

    def _by_step(self) -> tuple[str, ...]:
        return *super()._by_step(), "reset", "d_rz", "d_n"

    def _panels(self) -> int:
        units = self.units
        return max(super()._panels(), panels_for(2 * units, units, 4) + panels_for(units, units, 4))

    def _pack_transposed(self, m: Any) -> None:
        """Pack the transpose of the columns of r and z, and behind it that of the columns of n."""
        units, behind = self.units, panels_for(2 * self.units, self.units, m.U.itemsize)
        pack_weights(m.U, 0, 1, 3 * units, 2 * units, units, m.panels, 0)
        pack_weights(m.U, 2 * units, 1, 3 * units, units, units, m.panels, behind)

    def _steps(self, m: Any, first: int, last: int) -> None:
        kernels.cho_gru(m.U, m.activated, m.reset, m.h, first, last, *self._in_time(m))

    def _steps_backward(self, m: Any, first: int, last: int) -> None:
        kernels.cho_gru_backward(
            m.U, m.activated, m.h, m.dy_by_step, first, last, self._least(m), m.carry, m.dreset, m.dbefore, m.d_rz,
            m.d_n, *self._in_time(m),
        )  # fmt: skip
        join(rows(m.d_rz), rows(m.d_n), rows(m.d_activated))

    def _recurrent_gradients(self, m: Any) -> None:
        product_of_transpose(m, rows(m.h[:-1]), rows(m.d_rz), m.dU_rz)
        product_of_transpose(m, rows(m.reset), rows(m.d_n), m.dU_n)
        join(m.dU_rz, m.dU_n, m.dU)
