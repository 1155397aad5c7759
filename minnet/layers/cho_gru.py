"""The gated recurrent unit as it was published, with the reset gate before the product with the state."""

from dataclasses import dataclass, field
from typing import Any

from ..kernels.arrays import rows
from ..kernels.passes import recurrent as kernels
from ..kernels.passes.flat import fill
from ..kernels.passes.residual import accumulate
from .initializers import GlorotUniform, Orthogonal
from .products import product, product_of_transpose, product_with_transpose
from .recurrent import Recurrent
from .spec import Initializer, Scratch


@dataclass(frozen=True)
class ChoGRU(Recurrent):
    """Gated recurrent unit of Cho et al. 2014, equations 5 to 8: Keras's GRU with ``reset_after=False``.

    With a = x_t @ W + b, whose columns are the gates r, z, n in this order, and U_r, U_z, U_n the same columns of U::

        r, z = sigmoid(a_r + h_(t-1) @ U_r), sigmoid(a_z + h_(t-1) @ U_z)
        n = tanh(a_n + (r * h_(t-1)) @ U_n)
        h_t = (1 - z) * n + z * h_(t-1)

    x has shape (n, time, features), y = h has (n, time, units). h starts at 0, see ``streams``. A step has two products
    with the state that wait for each other; ``GRU`` has one, and is faster.

    Args:
        units: number of features of the state.
        init: initializer of the columns of each gate in W. ``GlorotUniform`` by default.
        recurrent_init: initializer of the columns of each gate in U. ``Orthogonal`` by default, as in Keras.
        last: whether to output the state after the last step only, (n, units).
        reverse: whether to step from the last position to the first. Outputs stay at the positions of their inputs.
        streams: number of samples of every training pass, each of which goes on from the state that the same row of the
            training pass before ended in, as in ``GRU``. None to start every pass from 0.
    """

    gates = 3

    units: int
    init: Initializer = field(default_factory=GlorotUniform)
    recurrent_init: Initializer = field(default_factory=Orthogonal)
    last: bool = False
    reverse: bool = False
    streams: int | None = None

    def _more_scratch(self, time: int) -> tuple[Scratch, ...]:
        units = self.units
        return (
            Scratch("U_rz", (units, 2 * units), per_sample=False),
            Scratch("U_n", (units, units), per_sample=False),
            Scratch("reset", (time, units)),  # r * h_(t-1)
            Scratch("of_rz", (2 * units,), brief=True),
            Scratch("of_n", (units,), brief=True),
            Scratch("d_rz", (time, 2 * units), brief=True),
            Scratch("d_n", (time, units), brief=True),
            Scratch("dreset", (units,), brief=True),
            Scratch("dbefore", (units,), brief=True),
            Scratch("dU_rz", (units, 2 * units), per_sample=False, brief=True),
            Scratch("dU_n", (units, units), per_sample=False, brief=True),
        )

    def _by_step(self) -> tuple[str, ...]:
        return *super()._by_step(), "reset", "d_rz", "d_n"

    def bind(self, m: Any) -> None:
        super().bind(m)
        m.resets, m.drzs, m.dns = list(m.reset), list(m.d_rz), list(m.d_n)

    def _start(self, m: Any) -> None:
        super()._start(m)
        kernels.part(m.U, m.U_rz, m.U_n)

    def _start_backward(self, m: Any) -> None:
        fill(m.dbefore.reshape(-1), m.zero)

    def _from_state(self, m: Any, s: int) -> None:
        product(m, m.before[s], m.U_rz, m.nothing, m.of_rz)

    def _step(self, m: Any, s: int) -> None:
        kernels.cho_gates(m.gates[s], m.of_rz, m.before[s], m.resets[s])
        product(m, m.resets[s], m.U_n, m.nothing, m.of_n)
        kernels.cho_step(m.gates[s], m.of_n, m.before[s], m.after[s])

    def _step_backward(self, m: Any, s: int) -> None:
        gates, before = m.gates[s], m.before[s]
        kernels.cho_step_backward(gates, before, m.dys[s], m.carry, m.dbefore, m.drzs[s], m.dns[s])
        product_with_transpose(m, m.dns[s], m.U_n, m.dreset)
        kernels.cho_gates_backward(gates, before, m.dreset, m.dbefore, m.drzs[s])
        kernels.join(m.drzs[s], m.dns[s], m.dgates[s])

    def _to_state(self, m: Any, s: int) -> None:
        product_with_transpose(m, m.drzs[s], m.U_rz, m.carry)

    def _first_gradient(self, m: Any) -> None:
        super()._first_gradient(m)
        accumulate(m.dfirst, m.dbefore)

    def _recurrent_gradients(self, m: Any) -> None:
        product_of_transpose(m, rows(m.h[:-1]), rows(m.d_rz), m.dU_rz)
        product_of_transpose(m, rows(m.reset), rows(m.d_n), m.dU_n)
        kernels.join(m.dU_rz, m.dU_n, m.dU)
