"""The network: layers, the memory that they use, a loss, and what is measured with them."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..base import checks
from ..base.guide import Guided
from ..base.shown import ShownText
from ..layers import Chain, Layer
from ..layers.base import Observer
from ..layers.memory import Node, Run
from ..layers.spec import Shape
from .losses import Loss
from .measures import Measures
from .objective import Objective
from .passes import Batch, check_array
from .planning import hidden_words, planned, warn_of_channels_first
from .summary import summarise


class Net(Measures, Guided):
    """A neural network whose parameters, gradients and buffers are flat vectors.

    Several threads may ``predict`` and ``evaluate`` with one net, also while another thread trains it; they take turns.
    Only one thread at a time may train it.

    Args:
        layers: the layers in order, or one Layer.
        input_shape: shape of one sample, without the batch axis.
        loss: the loss of the output; None for a net that is only evaluated and differentiated.
        l2: strength of the penalty l2 / 2 * sum(w^2), as CS231n writes it.
        l1: strength of the penalty l1 * sum(|w|).
        max_norm: bound on the Euclidean norm of each unit's incoming weights, which the optimizer enforces after every
            step (Srivastava et al. 2014, section 5.1); None for no bound. Weights that are frozen, or whose learning
            rate is 0, do not change.
        dtype: float32 or float64. A seed gives the same weights in both, up to rounding.
        seed: seed of the initial weights and of the layers' noise.

    Penalties and the norm bound apply to parameters tagged ``decay`` (weights, but not biases or gains). These are
    stored at the front of ``params``.

    Attributes:
        params, grads: flat vectors of shape (P,): the trained values and their gradient. Assignment copies the values.
        buffers: flat vector of values that are kept but not trained, such as running means.
        vocabulary: number of words that the net takes as input, if its first layer is an Embedding; otherwise 0.
        input_dtype: dtype in which the passes take the input: int64 for words, otherwise the dtype of the net.
        positions: number of targets of a sample: 1, unless the loss scores each position of a sequence or an image.
        tensors: name, shape, place and tag of each trained array, in the order of ``params``.
        step: number of training passes of ``loss_and_grads``; it is a key of the layers' noise.
        frozen: names of the tensors that are not trained, as set by the optimizer that was made last
            (``Group(frozen=True)``). A layer with buffers whose parameters are all frozen does not train: it uses its
            statistics in training passes too, and does not update them. A list of names may be assigned.
        streams: number of samples that every training pass has, if a layer carries states on from pass to pass
            (``LSTM(units, streams=32)``); otherwise 0, for any number.
        least_batch: (samples, layer): the number of samples that a training pass needs, and the layer that needs more
            than one, such as ``"2 BatchNorm"``; otherwise (1, None).
        on_loan: whether params and buffers temporarily hold other values than the net's own (``EMA.applied``).
        lock: an RLock that every pass holds. If several threads use the net, hold it (``with net.lock``) from
            ``forward`` to the last use of its results: ``backward``, the scores, ``activations()``.
        objective: parts of the loss that ``loss_and_grads`` or ``loss`` returned last.
        generation: how often memory for passes was allocated; it rises with each batch that is the largest so far.
    """

    def __init__(
        self,
        layers: Sequence[Layer] | Layer,
        input_shape: Sequence[int] | int,
        loss: Loss | None = None,
        *,
        l2: float = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        dtype: Any = np.float32,
        seed: int = 0,
    ) -> None:
        self.layers = layers if isinstance(layers, Chain) else Chain([layers] if isinstance(layers, Layer) else layers)
        axes = input_shape if isinstance(input_shape, Iterable) else (input_shape,)
        self.input_shape: Shape = tuple(checks.count("Net", "each axis of input_shape", axis) for axis in axes)
        self.dtype = checks.precision("Net", dtype)
        self.l2, self.l1 = checks.non_negative("Net", "l2", l2), checks.non_negative("Net", "l1", l1)
        self.max_norm = None if max_norm is None else checks.positive("Net", "max_norm", max_norm)
        self.seed = checks.count("Net", "seed", seed, least=0)
        if loss is not None and not isinstance(loss, Loss):
            raise TypeError(f"Net: expected loss to be a Loss such as SoftmaxCrossEntropy(); got {loss!r}")
        self.loss_function = loss
        plan = planned(self.layers, self.input_shape)
        self.output_shape, self.vocabulary = plan.out, plan.vocabulary
        self.input_dtype = np.dtype(np.int64) if plan.vocabulary else self.dtype
        if loss is not None:
            loss.check_outputs(plan.out)
        self.streams = _one_number(plan.all_streams())
        self.positions = 1 if loss is None else loss.positions(plan.out)
        self.objective = Objective(math.nan)
        self.on_loan = False
        self._run = Run(self.dtype, plan.most_work())
        self._root = Node(self.layers, plan, self.input_shape, "", self._run, self.seed)
        self.least_batch = self._least_batch()
        self._hidden = hidden_words(self._root.walk(), self.input_shape, self.vocabulary)
        warn_of_channels_first(self._root.walk(), self.input_shape)
        self._own_vectors()
        self._own_memory()
        self._frozen: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """Number of training passes of ``loss_and_grads``; the layers' noise is a function of it."""
        return self._run.step

    @step.setter
    def step(self, value: int) -> None:
        self._run.step = checks.count("Net", "step", value, least=0)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the tensors that are not trained. A layer whose parameters are all frozen keeps its buffers too."""
        return self._frozen

    @frozen.setter
    def frozen(self, names: Iterable[str]) -> None:
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise TypeError(f"Net: expected frozen as a list of names of tensors; got {names!r}")
        names = tuple(names)
        for name in names:
            if name not in self.layout.places:
                known = next(iter(self.layout.places), "none")
                raise ValueError(f"Net: expected frozen as names of tensors, such as {known!r}; got {name!r}")
        self._frozen = names
        self._run.resting = frozenset(node.name for node in self._root.walk() if node.rests(names))
        self.least_batch = self._least_batch()

    def nodes(self) -> list[Node]:
        """Return the memory of every layer, including layers inside others."""
        return self._root.walk()

    def all_layers(self) -> list[Layer]:
        """Return every layer, including those inside others."""
        return [node.layer for node in self.nodes()]

    def _least_batch(self) -> tuple[int, str | None]:
        nodes = [node for node in self._root.walk() if node.name not in self._run.resting]
        most = max(nodes, key=lambda node: node.plan.least)
        return most.plan.least, f"{most.name} {type(most.layer).__name__}" if most.plan.least > 1 else None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Net":
        return self.twin()

    def __copy__(self) -> "Net":
        return self.twin()

    def __reduce__(self) -> tuple[Any, ...]:
        # The memory consists of views into views, so a copy builds its own.
        arguments = self.layers, self.input_shape, self.loss_function
        options = {name: getattr(self, name) for name in ("l2", "l1", "max_norm", "dtype", "seed")}
        return _rebuild, (type(self), arguments, options, self._params, self._buffers, self.step, self._frozen)

    def twin(self, dtype: Any = None, seed: int | None = None) -> "Net":
        """Return a copy with memory of its own: same layers, loss, weights, buffers, step and frozen tensors.

        Args:
            dtype: dtype of the copy; None for the dtype of this net.
            seed: seed of the noise of the copy's layers; None for the seed of this net.
        """
        rebuild, (kind, arguments, options, *state) = self.__reduce__()
        changes = {name: value for name, value in (("dtype", dtype), ("seed", seed)) if value is not None}
        return rebuild(kind, arguments, options | changes, *state)

    # Training --------------------------------------------------------------------------------------------

    def loss_and_grads(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        sample_weight: Any = None,
        dx: np.ndarray | None = None,
        observe: Observer | None = None,
    ) -> float:
        """Run one training pass: fill ``grads`` and return the objective (data loss + penalties) of the batch.

        The layers' noise belongs to the current ``step``, which then increases by 1. So does a state that goes on
        from pass to pass: a pass that is made again with the step set back starts from the same state.

        Args:
            x: samples, shape (n, *input_shape).
            y: targets, as the loss takes them.
            sample_weight: shape (n,); None for equal weights.
            dx, observe: as in ``backward``.

        Returns:
            The objective of the batch, of which ``objective`` has the parts.

        Raises:
            TypeError, ValueError: an argument does not fit. Nothing has changed.
            RuntimeError: another thread trains this net.
        """
        self.warn_of_bytes(checks.array("Net", "input", x))
        x, targets = self.as_input(x), self._check_targets(y, len(x))
        self._check_size(len(x))
        if dx is not None:
            self.check_dx("loss_and_grads", dx, x.shape)
        self.begin_training()
        try:
            batch = self._batch(x.shape[0])
            self._loss().weigh(targets, sample_weight, batch.weights)
            data = self._pass_to_train(x, targets, batch, dx, observe)
            l2, l1 = self.add_penalties()
            self.objective = Objective(data, l2, l1)
            return self.objective.total
        finally:
            self.end_training()

    def _pass_to_train(
        self,
        x: np.ndarray,
        targets: np.ndarray,
        batch: Batch,
        dx: np.ndarray | None = None,
        observe: Observer | None = None,
    ) -> float:
        """Pass checked input forwards and backwards, with the weights in ``batch``; return the data loss."""
        scores = self._forward(x, training=True)
        data = float(self._loss().apply(scores, targets, batch.weights, batch.dscores))
        self.layers.backward_observed(batch.memory, x, scores, batch.dscores, dx, observe)
        self._run.step += 1
        return data

    # Parts of a batch ------------------------------------------------------------------------------------

    def loss_weights(self, y: Any, sample_weight: Any = None) -> np.ndarray:
        """Return the weight of each target in the loss of a batch.

        Args:
            y: targets, as the loss takes them, such as labels (n,).
            sample_weight: shape (n,), at least 0; None for equal weights.

        Returns:
            Weights (n * positions,) in the dtype of the net, as ``Loss.weigh`` defines them: the positions of a sample
            share its weight.

        Raises:
            TypeError, ValueError: an argument does not fit, or no sample counts.
        """
        targets = self._loss().check_targets(y, self.output_shape, self.dtype)
        weights = np.empty(len(targets) * self.positions, self.dtype)
        self._loss().weigh(targets, sample_weight, weights)
        return weights

    def partial_grads(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
        """Run a training pass over a part of a batch: fill ``grads`` and return the data loss, without penalties.

        With the weights that the samples have in the whole batch, the sums over all parts are the data loss of the
        batch and its gradient. ``step`` increases by 1.

        Args:
            x: samples, shape (n, *input_shape).
            y: their targets.
            weights: their part of what ``loss_weights`` returned for the batch, shape (n * positions,).

        Returns:
            The data loss of the part: the weighted sum of the losses of its targets.

        Raises:
            TypeError, ValueError: an argument does not fit. Nothing has changed.
            RuntimeError: another thread trains this net.
        """
        x, targets = self.as_input(x), self._check_targets(y, len(x))
        self._check_size(len(x))
        check_array("partial_grads", "weights", weights, (len(x) * self.positions,), self.dtype)
        self.begin_training()
        try:
            batch = self._batch(len(x))
            np.copyto(batch.weights, weights)
            return self._pass_to_train(x, targets, batch)
        finally:
            self.end_training()

    # Words -----------------------------------------------------------------------------------------------

    def first_non_finite(self) -> str | None:
        """Return the first place with NaN or infinity, for an error: a parameter, or the output of a layer.

        Parameters come first, then the outputs of the last forward pass; None if all are finite.
        """
        for name, values in self.named_parameters().items():
            if not np.isfinite(values).all():
                return f"parameter {name}"
        if self._seen is not None:
            for place, values in self.activations().items():
                if not np.isfinite(values).all():
                    return f"output of layer {place} ({type(self.layers.layers[int(place)]).__name__})"
        return None

    def summary(self) -> ShownText:
        """Return a table of layers, output shapes, parameter counts and frozen tensors, with the memory in bytes."""
        buffers = self.buffer_layout.size
        return ShownText(summarise(self._root, self.input_shape, self.layout.size, buffers, self.dtype, self._frozen))

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        shapes = f"{self.input_shape} -> {self.output_shape}"
        return f"Net({len(self.layers.layers)} layers, {shapes}, {self.layout.size:,} parameters, {self.dtype.name})"


def _one_number(streams: set[int]) -> int:
    if len(streams) > 1:
        raise ValueError(f"Net: expected all layers to have the same number of streams; got {sorted(streams)}")
    return max(streams, default=0)


def _rebuild(
    kind: type[Net],
    arguments: tuple,
    options: dict[str, Any],
    params: np.ndarray,
    buffers: np.ndarray,
    step: int,
    frozen: tuple[str, ...],
) -> Net:
    net = kind(*arguments, **options)
    net.params, net.buffers, net.step, net.frozen = params, buffers, step, frozen
    return net


def as_net(who: str, net: Any) -> Net:
    """Return the net; raise TypeError for anything else."""
    if not isinstance(net, Net):
        raise TypeError(f"{who}: expected a Net; got {net!r}")
    return net
