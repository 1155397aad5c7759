"""Norms of gradients by distance in time: do the gradients of a recurrent net vanish or explode?"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..base import checks, streams
from ..layers import GRU, LSTM, RNN, Bidirectional, ChoGRU, Layer
from ..layers.changed import changed
from ..layers.recurrent import Recurrent
from ..net.net import Net
from ..storage.files import write_json
from .rewire import without_streams


@dataclass(frozen=True)
class GradientsThroughTime:
    """The result of ``gradients_through_time``. It can be printed, plotted and saved.

    Attributes:
        norms: place, class and state of each recurrent layer, such as ``"1 LSTM h"`` -> float64 (time,): the Euclidean
            norms of dL/ds over samples and units, where s is the state k steps before the last, for k = 0, 1, ...
        samples: number of samples.
    """

    norms: Mapping[str, np.ndarray]
    samples: int

    def rate(self, name: str) -> float:
        """Return the factor by which a norm changes in a step backwards, in the geometric mean over all steps.

        Args:
            name: name of a state, a key of ``norms``.

        Returns:
            The factor: below 1 where gradients vanish, above 1 where they explode. NaN for one step, and 0 if the
                gradient underflows to 0.

        Raises:
            KeyError: there is no such state.
        """
        if name not in self.norms:
            raise KeyError(f"gradients_through_time: expected one of {list(self.norms)}; got {name!r}")
        norms = self.norms[name]
        if len(norms) == 1 or norms[0] == 0:
            return float("nan")
        return float((norms[-1] / norms[0]) ** (1 / (len(norms) - 1)))

    def __str__(self) -> str:
        longest = max(map(len, self.norms.values()))
        at = sorted({round(k) for k in np.linspace(0, longest - 1, min(longest, 6))})
        rows = [["state", *(f"k = {k}" for k in at), "factor per step"]]
        for name, norms in self.norms.items():
            values = [f"{norms[k]:.3g}" if k < len(norms) else "" for k in at]
            rows.append([name, *values, f"{self.rate(name):.3f}"])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the norms as numbers, strings, lists and dicts, for JSON."""
        return {"samples": self.samples, "norms": {name: norms.tolist() for name, norms in self.norms.items()}}

    def save(self, path: str | Path) -> None:
        """Write the norms to a JSON file, completely or not at all, with null for NaN and infinity.

        Args:
            path: path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        write_json(path, self.to_dict())

    def plot(self, path: Any = None) -> Any:
        """Draw the norms by distance.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.
        """
        from .. import plots

        return plots.gradients_through_time(path, {"": self})


def gradients_through_time(net: Net, x: Any, y: Any = None, *, seed: int = 0) -> GradientsThroughTime:
    """Measure the gradient of the loss at the last step with respect to the states of all steps before it.

    For a loss L_T that depends on the last output of a recurrent layer only, the norm of dL_T/dh_(T-k) says how much
    the layer can learn about what happened k steps earlier. It changes by a factor in each step, so it vanishes or
    explodes (Hochreiter 1991; Bengio, Simard, Frasconi 1994). The gradient with respect to h is that through the output
    and the products with U. The cell c of an LSTM is a state of its own, with dL_T/dc, and its gradient goes back
    through the forget gates alone. In a net with several recurrent layers, a layer receives gradients at all steps from
    the layer above.

    The pass is one of training from states of 0, on a twin; the net does not change.

    Args:
        net: net with ``RNN``, ``LSTM``, ``GRU`` or ``ChoGRU`` layers, none of which is reversed or in a
            ``Bidirectional``.
        x: samples of shape (n, *input_shape), whose first axis is time.
        y: targets, for gradients of the net's loss. If there is one for each position, only the last one counts. None
            to start the backward pass with standard normal numbers at the last position.
        seed: seed of these numbers.

    Returns:
        A ``GradientsThroughTime``.

    Raises:
        TypeError, ValueError: for bad arguments, and for a net without such layers.
    """
    who = "gradients_through_time"
    if not isinstance(net, Net):
        raise TypeError(f"{who}: expected a Net; got {net!r}")
    seed = checks.count(who, "seed", seed, least=0)
    twin = _listening(without_streams(net))
    x = twin.as_input(x)
    scores = twin.forward(x, training=True)
    dscores = np.empty_like(scores)
    if y is None:
        dscores[...] = streams.generator(seed, "gradient at the last position").standard_normal(scores.shape)
    elif twin.loss_function is None:
        raise ValueError(f"{who}: expected y=None for a net that was built without loss=...; got targets")
    else:
        twin.loss_function.value_and_gradient(scores, y, dscores)
    if len(twin.output_shape) == 2:  # (time, ...)
        dscores[:, :-1] = 0
    if not dscores.any():
        raise ValueError(f"{who}: expected a loss with a gradient at the last position; got a gradient of 0")
    twin.backward(dscores)
    norms = {
        f"{node.name} {type(node.layer).__name__} {state}": np.array(values)
        for node in twin.nodes()
        for state, values in getattr(node.layer, "heard", {}).items()
    }
    return GradientsThroughTime(norms, len(x))


def _listening(net: Net) -> Net:
    """Return a twin in float64, whose recurrent layers note in ``heard`` what they are given in each step backwards."""
    layers = changed(net.layers, _listener)
    twin = Net(layers, net.input_shape, net.loss_function, dtype=np.float64, seed=net.seed)
    twin.params, twin.buffers, twin.step, twin.frozen = net.params, net.buffers, net.step, net.frozen
    if not any(hasattr(layer, "heard") for layer in twin.all_layers()):
        raise ValueError(f"gradients_through_time: expected a net with an RNN, LSTM or GRU; got {net!r}")
    return twin


def _listener(layer: Layer) -> Layer:
    if isinstance(layer, Bidirectional) or (isinstance(layer, Recurrent) and layer.reverse):
        raise ValueError(f"gradients_through_time: expected layers that go forwards in time; got {layer!r}")
    if not isinstance(layer, RNN | LSTM | GRU | ChoGRU):
        return layer
    heard: dict[str, list[float]] = {}

    def steps_backward(_: Any, m: Any, first: int, last: int) -> None:
        for s in range(last - 1, first - 1, -1):
            for state, gradient in _at_states(layer, m, s).items():
                heard.setdefault(state, []).append(float(np.linalg.norm(gradient)))
            layer._steps_backward(m, s, s + 1)

    # A subclass of the layer's own class: its plan, its memory and the rest of its passes are the same.
    kind = type(type(layer).__name__, (type(layer),), {"_steps_backward": steps_backward, "heard": heard})
    return kind(**{field.name: getattr(layer, field.name) for field in fields(layer)})


def _at_states(layer: Recurrent, m: Any, s: int) -> dict[str, np.ndarray]:
    """Return the gradients with respect to the states after step s, before the layer takes this step backwards."""
    dh = m.dys[s] + m.carry
    if isinstance(layer, GRU | ChoGRU):
        return {"h": dh + m.dbefore}
    if isinstance(layer, LSTM):
        o = m.gates[s][:, 3 * layer.units :]
        through_h = dh * o * (1 - m.squashed[s] ** 2)
        if layer.padding is not None:
            through_h[m.words[:, s] == layer.padding] = 0  # such a step leaves h and c as they are
        return {"h": dh, "c": m.dc + through_h}
    return {"h": dh}
