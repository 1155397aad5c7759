"""The network: layers that describe, memory that it owns, and the passes over both."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock, get_ident
from typing import Any

import numpy as np

from .. import checks, streams
from ..kernels.arrays import aligned_empty
from ..kernels.passes import flat as kernels
from ..layers import Chain, Layer
from ..layers.base import Observer, Pass
from ..layers.memory import Memory, Node, Run
from ..layers.spec import Layout, Param, Plan, Shape, Tensor
from .losses import Loss
from .summary import summarise

_CHUNK = 256  # samples a pass when predicting or evaluating, so that memory does not grow with the data


@dataclass(frozen=True)
class Objective:
    """What a loss was made of: the data loss and the penalties. ``total`` is what is minimised."""

    data: float
    l2: float = 0.0
    l1: float = 0.0

    @property
    def total(self) -> float:
        """data + l2 + l1."""
        return self.data + self.l2 + self.l1


@dataclass
class _Batch:
    """Views for one batch size, made once and kept."""

    memory: Memory
    scores: np.ndarray  # (n, *out)
    dscores: np.ndarray  # (n, *out)
    weights: np.ndarray  # (n,)
    hits: np.ndarray  # (n,), whether each sample is classified correctly


class Net:
    """A network over flat vectors.

    Several threads may ``predict`` and ``evaluate`` with one net, also while another one trains it; they wait for each
    other. One thread at a time may train it.

    Args:
        layers: the layers in order, or one Layer.
        input_shape: shape of one sample, without the batch axis.
        loss: what scores the output; None for a net that is only run and differentiated.
        l2: strength of the penalty l2 / 2 * sum(w^2), as CS231n writes it.
        l1: strength of the penalty l1 * sum(|w|).
        max_norm: bound on the Euclidean norm of each unit's incoming weights, kept by the optimizer after
            every step (Srivastava et al. 2014, section 5.1); None for no bound. Weights that are frozen, or whose rate
            is 0, stay as they are.
        dtype: float32 or float64. A seed gives the same weights in both, up to rounding.
        seed: of the initial weights and of the layers' noise.

    Penalties and the norm bound apply to parameters tagged ``decay`` (weights, not biases or gains), which lie
    together at the front of ``params``.

    Attributes:
        params, grads: flat vectors of shape (P,), what is trained and its gradient. Assigning copies into place.
        buffers: flat vector of what is kept but not trained, such as running means.
        tensors: name, shape, place and tag of each trained array, in the order of ``params``.
        step: number of training passes done by ``loss_and_grads``; it keys the layers' noise.
        frozen: names of the tensors that are not trained, as the optimizer made last says (``Group(frozen=True)``). A
            layer that keeps buffers and whose parameters are all among them does not train: its statistics stay, and
            it normalises by them in training passes too. A list of names may be assigned.
        least_batch: (samples, layer): how many a training pass needs, and the layer that needs more than one, such as
            ``"2 BatchNorm"``; else (1, None).
        on_loan: whether params and buffers stand there for a while only, in place of its own (``EMA.applied``).
        lock: an RLock that every pass holds. Where several threads use the net, hold it (``with net.lock``) from
            ``forward`` to the last use of what it left: ``backward``, the scores, ``activations()``.
        objective: parts of the loss that ``loss_and_grads`` or ``loss`` returned last.
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
        plan = _plan(self.layers, self.input_shape)
        self.output_shape = plan.out
        if loss is not None:
            loss.check_outputs(plan.out)
        self.objective = Objective(math.nan)
        self.on_loan = False
        self.lock = RLock()
        self._training_thread: int | None = None  # which trains the net now
        self._training_depth = 0  # how many begin_training await their end_training
        self._run = Run(self.dtype, plan.most_work())
        self._root = Node(self.layers, plan, self.input_shape, "", self._run, self.seed)
        self.least_batch = self._least_batch()
        _warn_of_channels_first(self._root.walk(), self.input_shape)
        self._own_vectors()
        self._frozen: tuple[str, ...] = ()
        self._capacity = 0
        self._batches: dict[int, _Batch] = {}
        self._seen: tuple[np.ndarray, _Batch] | None = None  # what the last forward pass saw

    def _own_vectors(self) -> None:
        """Lay out and fill the flat vectors; give every node its named views."""
        declared: list[tuple[str, Node, Param]] = [
            (f"{node.name}.{param.name}", node, param) for node in self._root.walk() for param in node.plan.params
        ]
        drawn = list(declared)  # in the order of the layers
        declared.sort(key=lambda entry: not entry[2].decay)  # what decays first, so that it is one run of the vector
        self.layout = Layout((name, param.shape) for name, _, param in declared)
        self.decaying = sum(math.prod(param.shape) for _, _, param in declared if param.decay)
        self.tensors = tuple(
            Tensor(place.name, place.shape, place.start, place.stop, param.decay)
            for place, (_, _, param) in zip(self.layout.places.values(), declared, strict=True)
        )
        self._params, self._grads = (aligned_empty(self.layout.size, self.dtype) for _ in range(2))
        self._grads.fill(0)
        params, grads = self.layout.views(self._params), self.layout.views(self._grads)
        for name, node, param in declared:
            node.arrays[param.name] = params[name]
            node.arrays[f"d{param.name}"] = grads[name]
        for i, (name, _, param) in enumerate(drawn):
            params[name][...] = self._draw(i, name, param)
        kept = [
            (f"{node.name}.{buffer.name}", node, buffer) for node in self._root.walk() for buffer in node.plan.buffers
        ]
        self.buffer_layout = Layout((name, buffer.shape) for name, _, buffer in kept)
        self._buffers = np.zeros(self.buffer_layout.size, self.dtype)
        buffers = self.buffer_layout.views(self._buffers)
        for name, node, buffer in kept:
            buffers[name].fill(buffer.fill)
            node.arrays[buffer.name] = buffers[name]
        self._limited = {
            name: params[name].reshape(-1, param.shape[-1])
            for name, _, param in declared
            if param.decay and param.shape
        }

    def _draw(self, index: int, name: str, param: Param) -> np.ndarray:
        values = np.asarray(param.init(streams.generator(self.seed, "initial weights", index), param.shape))
        if values.shape != param.shape or not np.isfinite(values).all():
            raise ValueError(
                f"{name}: expected {param.init} to give finite values of shape {param.shape}; got {values}"
            )
        return values

    # Memory ----------------------------------------------------------------------------------------------

    @property
    def params(self) -> np.ndarray:
        """Flat vector (P,) of all trained values. Assigning copies into place, so views stay valid."""
        return self._params

    @params.setter
    def params(self, values: np.ndarray) -> None:
        _copy_into(self._params, values, "params")

    @property
    def grads(self) -> np.ndarray:
        """Flat vector (P,) of the gradient that the last backward pass left. Assigning copies into place."""
        return self._grads

    @grads.setter
    def grads(self, values: np.ndarray) -> None:
        _copy_into(self._grads, values, "grads")

    @property
    def buffers(self) -> np.ndarray:
        """Flat vector of what is kept but not trained. Assigning copies into place."""
        return self._buffers

    @buffers.setter
    def buffers(self, values: np.ndarray) -> None:
        _copy_into(self._buffers, values, "buffers")

    @property
    def step(self) -> int:
        """Number of training passes done by ``loss_and_grads``; the layers' noise is a function of it."""
        return self._run.step

    @step.setter
    def step(self, value: int) -> None:
        self._run.step = checks.count("Net", "step", value, least=0)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the tensors that are not trained. Layers whose parameters are all frozen keep their buffers too."""
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

    def _least_batch(self) -> tuple[int, str | None]:
        nodes = [node for node in self._root.walk() if node.name not in self._run.resting]
        most = max(nodes, key=lambda node: node.plan.least)
        return most.plan.least, f"{most.name} {type(most.layer).__name__}" if most.plan.least > 1 else None

    def _check_size(self, n: int) -> None:
        """ValueError for too few samples for a training pass."""
        least, layer = self.least_batch
        if n < least:
            raise ValueError(
                f"Net: expected at least {least} samples in a training pass, which layer {layer} needs for its "
                f"statistics; got {n}. Batches(..., drop_last=True) leaves out a last batch that is too small"
            )

    def named_parameters(self) -> dict[str, np.ndarray]:
        """Views into ``params`` by name (``"0.W"``), valid as long as the net."""
        return self.layout.views(self._params)

    def named_gradients(self) -> dict[str, np.ndarray]:
        """Views into ``grads`` by name, valid as long as the net."""
        return self.layout.views(self._grads)

    def named_buffers(self) -> dict[str, np.ndarray]:
        """Views into ``buffers`` by name, valid as long as the net."""
        return self.buffer_layout.views(self._buffers)

    def activations(self) -> dict[str, np.ndarray]:
        """Output of each top-level layer in the last forward pass, by place; valid until the next pass.

        Left out are layers whose ReLU works in place (see ``Chain``): there is only the ReLU's output.
        """
        if self._seen is None:
            raise ValueError("activations: expected a forward pass first; got none")
        _, batch = self._seen
        outputs = enumerate([*batch.memory.outputs, batch.scores])
        return {str(i): y for i, y in outputs if not self.layers.fused(i + 1)}

    def layer_passes(self) -> Iterator[Pass]:
        """(place, layer, x, y) of every layer, also of those inside others, in the last forward pass.

        x is what it saw and y what it made of it; both are valid until the next pass. Places are those of
        ``named_parameters``: ``"2"``, ``"3.layers.0"``. Left out are Chains, which are no more than their layers, and
        layers whose ReLU works in place (see ``activations``); such a ReLU's x is its y.
        """
        if self._seen is None:
            raise ValueError("layer_passes: expected a forward pass first; got none")
        x, batch = self._seen
        return self.layers.passes(batch.memory, x, batch.scores)

    def winners(self) -> np.ndarray | None:
        """Which smooth pieces the layers were on in the last forward pass (see ``Layer.winners``); None if smooth."""
        if self._seen is None:
            raise ValueError("winners: expected a forward pass first; got none")
        x, batch = self._seen
        return self.layers.winners(batch.memory, x, batch.scores)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Net":
        return self.twin()

    def __copy__(self) -> "Net":
        return self.twin()

    def __reduce__(self) -> tuple[Any, ...]:
        # The memory is views into views; a copy builds its own.
        arguments = self.layers, self.input_shape, self.loss_function
        options = {name: getattr(self, name) for name in ("l2", "l1", "max_norm", "dtype", "seed")}
        return _rebuild, (type(self), arguments, options, self._params, self._buffers, self.step, self._frozen)

    def twin(self, dtype: Any = None, seed: int | None = None) -> "Net":
        """A net with memory of its own and the same layers, loss, weights, buffers, step and frozen tensors.

        ``dtype``, if given, is its precision; ``seed`` that of its layers' noise, in place of this net's.
        """
        rebuild, (kind, arguments, options, *state) = self.__reduce__()
        changes = {name: value for name, value in (("dtype", dtype), ("seed", seed)) if value is not None}
        return rebuild(kind, arguments, options | changes, *state)

    def poison(self) -> None:
        """Fill all scratch, activations and gradients with NaN, so that what a pass fails to write shows."""
        self._grads.fill(np.nan)
        for node in self._root.walk():
            for storage in node.storage.values():
                storage.fill(np.nan)
        for batch in self._batches.values():
            batch.scores.fill(np.nan)
            batch.dscores.fill(np.nan)

    def reserve(self, n: int = _CHUNK) -> None:
        """Make memory for batches of up to ``n`` samples now, instead of when the first of that size comes.

        The default is what ``evaluate`` and ``predict`` take at a time unless told.
        """
        n = checks.count("Net.reserve", "n", n)
        with self.lock:
            self._batch(n)

    def _batch(self, n: int) -> _Batch:
        """Views for ``n`` samples; memory is made when a batch is larger than any before."""
        if n > self._capacity:
            self._root.allocate(n, self.dtype)
            self._scores = aligned_empty((2, n, *self.output_shape), self.dtype)
            self._batches.clear()
            self._seen = None
            self._capacity = n
        if n not in self._batches:
            weights, hits = np.empty(n, self.dtype), np.empty(n, np.bool_)
            self._batches[n] = _Batch(self._root.memory(n), self._scores[0, :n], self._scores[1, :n], weights, hits)
        return self._batches[n]

    # Passes ----------------------------------------------------------------------------------------------

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Scores (n, *output_shape) of the samples x (n, *input_shape); valid until the next pass.

        uint8 input counts as image bytes and is divided by 255; integers of other types are an error.
        """
        x = self.as_input(x)
        if training:
            self._check_size(len(x))
        with self.lock:
            return self._forward(x, training)

    def _forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        """The scores; the caller holds the lock."""
        batch = self._batch(x.shape[0])
        self._run.training = training
        self.layers.forward(batch.memory, x, batch.scores)
        self._seen = x, batch
        return batch.scores

    def backward(self, dscores: np.ndarray, dx: np.ndarray | None = None, observe: Observer | None = None) -> None:
        """Overwrite ``grads``, given the gradient at the scores that the last ``forward`` returned.

        Args:
            dscores: shape and dtype of the scores.
            dx: C-contiguous array of the input's shape and the net's dtype, to be filled with the gradient
                with respect to the input; None if it is not needed.
            observe: called with (place, gradient) as the gradient reaches each top-level layer's output, from
                the last layer down; the array is valid during the call.
        """
        if self._seen is None:
            raise ValueError("backward: expected a forward pass first; got none")
        x, batch = self._seen
        _check_array("backward", "dscores", dscores, batch.scores.shape, self.dtype)
        if dx is not None:
            _check_place("backward", "dx", dx, x.shape, self.dtype)
        with self.lock:
            self.layers.backward_observed(batch.memory, x, batch.scores, dscores, dx, observe)

    def begin_training(self) -> None:
        """Take the lock for a training pass, up to ``end_training``: other threads wait with their predictions.

        RuntimeError if another thread trains this net.
        """
        me, other = get_ident(), self._training_thread
        if other is None or other == me:
            self.lock.acquire()
            other = self._training_thread  # it may have come first while this one waited
            if other is None or other == me:
                self._training_thread = me
                self._training_depth += 1
                return
            self.lock.release()
        raise RuntimeError(
            "Net: expected one thread to train a net at a time; got a second one while the first is at it (train "
            "net.twin() there, which has memory of its own)"
        )

    def end_training(self) -> None:
        """Let other threads have the net."""
        self._training_depth -= 1
        if not self._training_depth:
            self._training_thread = None
        self.lock.release()

    @contextmanager
    def trained_here(self) -> Iterator[None]:
        """Within it no other thread may train this net, while all may predict."""
        self.begin_training()
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()
            self.end_training()

    def loss_and_grads(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        sample_weight: Any = None,
        dx: np.ndarray | None = None,
        observe: Observer | None = None,
    ) -> float:
        """One training pass: the objective (data loss + penalties) of the batch; fills ``grads``.

        x has shape (n, *input_shape); y is what the loss takes; dx and observe are as in ``backward``. Noise is
        drawn for the current ``step``, which then moves on by one. Bad input raises TypeError or
        ValueError before anything changes.
        """
        checks.warn_of_numbers_as_bytes("Net", checks.array("Net", "input", x))
        x, targets = self.as_input(x), self._check_targets(y, len(x))
        self._check_size(len(x))
        if dx is not None:
            _check_place("loss_and_grads", "dx", dx, x.shape, self.dtype)
        self.begin_training()
        try:
            batch = self._batch(x.shape[0])
            loss = self._loss()
            loss.weigh(targets, sample_weight, batch.weights)
            scores = self._forward(x, training=True)
            data = float(loss.apply(scores, targets, batch.weights, batch.dscores))
            self.layers.backward_observed(batch.memory, x, scores, batch.dscores, dx, observe)
            l2, l1 = self.add_penalties()
            self.objective = Objective(data, l2, l1)
            self._run.step += 1
            return self.objective.total
        finally:
            self.end_training()

    def add_penalties(self) -> tuple[float, float]:
        """Add the penalties' gradients to ``grads``; returns the values (L2, L1)."""
        weights, grads = self._params[: self.decaying], self._grads[: self.decaying]
        l2 = l1 = 0.0
        if self.l2:
            l2 = 0.5 * self.l2 * kernels.add_l2(weights, self.dtype.type(self.l2), grads)
        if self.l1:
            l1 = self.l1 * kernels.add_l1(weights, self.dtype.type(self.l1), grads)
        return l2, l1

    def penalties(self) -> tuple[float, float]:
        """Values (L2, L1) of the penalties at the current weights."""
        weights = self._params[: self.decaying]
        l2 = 0.5 * self.l2 * kernels.sum_of_squares(weights) if self.l2 else 0.0
        return l2, self.l1 * float(np.abs(weights).sum(dtype=np.float64)) if self.l1 else 0.0

    def apply_constraints(self, among: Iterable[Tensor] | None = None) -> None:
        """Bring the weights of units beyond ``max_norm`` back to it, of all tensors or ``among`` these only.

        The optimizer calls this after a step, for the tensors that the step was to move.
        """
        if self.max_norm is not None:
            for tensor in self.tensors if among is None else among:
                if tensor.name in self._limited:
                    kernels.limit_unit_norms(self._limited[tensor.name], self.max_norm)

    def loss(self, x: np.ndarray, y: np.ndarray, *, sample_weight: Any = None) -> float:
        """The objective (data loss + penalties) of x and y in a pass that does not train."""
        self.objective, _ = self._measure(x, y, sample_weight, _CHUNK)
        return self.objective.total

    def evaluate(
        self, x: np.ndarray, y: np.ndarray, *, sample_weight: Any = None, batch_size: int = _CHUNK
    ) -> dict[str, float]:
        """``{"loss": data loss + penalties, "data_loss": ...}``, and ``"accuracy"`` where the loss classifies."""
        objective, accuracy = self._measure(x, y, sample_weight, batch_size)
        result = {"loss": objective.total, "data_loss": objective.data}
        if accuracy is not None:
            result["accuracy"] = accuracy
        return result

    def correct(self, y: np.ndarray, *, sample_weight: np.ndarray | None = None) -> float | None:
        """How many samples the last forward pass's scores classify as y says; None if the loss does not classify.

        With weights (n,), the sum of those samples' weights.
        """
        if self._seen is None:
            raise ValueError("correct: expected a forward pass first; got none")
        _, batch = self._seen
        if not self._loss().hits(batch.scores, self._check_targets(y, len(batch.scores)), batch.hits):
            return None
        if sample_weight is None:
            return int(np.count_nonzero(batch.hits))
        return float(np.add.reduce(sample_weight, where=batch.hits))

    def counted(self, y: Any, *, sample_weight: np.ndarray | None = None) -> float:
        """How many of the targets count in loss and accuracy: all but those with a label that the loss ignores.

        With weights (n,), the sum of those samples' weights.
        """
        targets = self._loss().check_targets(y, self.output_shape, self.dtype)
        count = self._loss().count(targets)
        if sample_weight is None:
            return count
        if count < len(targets):
            sample_weight = sample_weight.copy()
            self._loss().leave_out(targets, sample_weight)
        return float(sample_weight.sum())

    def predict(self, x: np.ndarray, *, batch_size: int = _CHUNK) -> np.ndarray:
        """Scores (n, *output_shape) in a new array, computed ``batch_size`` samples at a time."""
        self._check_shape(x)
        checks.count("predict", "batch_size", batch_size)
        scores = np.empty((len(x), *self.output_shape), self.dtype)
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            with self.lock:
                scores[part] = self.forward(x[part])
        return scores

    def _measure(self, x: np.ndarray, y: Any, sample_weight: Any, batch_size: int) -> tuple[Objective, float | None]:
        loss = self._loss()
        self._check_shape(x)
        checks.count("evaluate", "batch_size", batch_size)
        targets = self._check_targets(y, len(x))
        weights = np.empty(len(x), np.float64)
        loss.weigh(targets, sample_weight, weights)
        # For the accuracy: how much each sample counts, without the weights of classes.
        counted = np.ones(len(x)) if sample_weight is None else np.array(sample_weight, np.float64)
        loss.leave_out(targets, counted)
        data, right, counts = 0.0, 0.0, False
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            with self.lock:
                scores = self._forward(self.as_input(x[part]), training=False)
                batch = self._batch(len(scores))
                # Scaled to sum to 1 within the chunk, which keeps small weights exact in float32.
                share = float(weights[part].sum())
                if share > 0:
                    np.divide(weights[part], share, out=batch.weights, casting="same_kind")
                    data += share * float(loss.apply(scores, targets[part], batch.weights, batch.dscores))
                counts = loss.hits(scores, targets[part], batch.hits)
                right += float(counted[part] @ batch.hits) if counts else 0.0
        return Objective(data, *self.penalties()), right / float(counted.sum()) if counts else None

    # Input -----------------------------------------------------------------------------------------------

    def _loss(self) -> Loss:
        if self.loss_function is None:
            raise ValueError("Net: expected a net built with loss=...; this one has none")
        return self.loss_function

    def _check_shape(self, x: Any) -> None:
        shape = checks.array("Net", "input", x).shape
        if shape[1:] != self.input_shape or not shape:
            raise ValueError(
                f"Net: expected input of shape (n, {', '.join(map(str, self.input_shape))}); got shape {shape}"
                f"{checks.turned(shape[1:], self.input_shape)}"
            )
        if shape[0] == 0:
            raise ValueError(f"Net: expected at least one sample; got shape {shape}")

    def as_input(self, x: Any) -> np.ndarray:
        """x as the passes take it: finite, C-contiguous, of the net's dtype; a copy only where it is not so already.

        uint8 becomes x / 255. TypeError for other integers, ValueError for a wrong shape, NaN or infinity.
        """
        self._check_shape(x)
        x = np.asarray(x)
        if x.dtype == np.uint8:
            x = np.divide(x, 255, dtype=self.dtype)
        elif x.dtype.kind != "f":
            raise TypeError(f"Net: expected floating-point or uint8 input; got dtype {x.dtype}")
        if x.dtype != self.dtype:
            with np.errstate(over="ignore"):  # what overflows shows as infinity
                x = x.astype(self.dtype)
        x = np.ascontiguousarray(x)
        if not kernels.all_finite(x):
            raise ValueError("Net: expected finite input; got NaN or infinity in x")
        return x

    def _check_targets(self, y: Any, n: int) -> np.ndarray:
        targets = self._loss().check_targets(y, self.output_shape, self.dtype)
        if len(targets) != n:
            raise ValueError(f"Net: expected x and y of one length; got {n} samples in x, {len(targets)} in y")
        return targets

    # Words -----------------------------------------------------------------------------------------------

    def first_non_finite(self) -> str | None:
        """Where a NaN or infinity first shows, for an error's text: a parameter, else the output of a layer in the
        last forward pass, else None.
        """
        for name, values in self.named_parameters().items():
            if not np.isfinite(values).all():
                return f"parameter {name}"
        if self._seen is not None:
            for place, values in self.activations().items():
                if not np.isfinite(values).all():
                    return f"output of layer {place} ({type(self.layers.layers[int(place)]).__name__})"
        return None

    def summary(self) -> str:
        """A table of layers, output shapes and parameter counts, what is frozen, and the bytes that the net holds."""
        buffers = self.buffer_layout.size
        return summarise(self._root, self.input_shape, self.layout.size, buffers, self.dtype, self._frozen)

    def __repr__(self) -> str:
        shapes = f"{self.input_shape} -> {self.output_shape}"
        return f"Net({len(self.layers.layers)} layers, {shapes}, {self.layout.size:,} parameters, {self.dtype.name})"


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


def _channels_last(shape: Shape) -> str:
    """What to do about a shape of images that looks like channels first, such as (3, 32, 32); "" for any other."""
    if len(shape) != 3 or shape[0] not in (1, 3) or not shape[1] == shape[2] >= 8:
        return ""
    return f"images are (H, W, C), channels last: input_shape={(*shape[1:], shape[0])} and x.transpose(0, 2, 3, 1)"


def _plan(layers: Chain, shape: Shape) -> Plan:
    """The layers' plan; ValueError with a hint if they can't take the shape and it looks like channels first."""
    try:
        return layers.plan(shape)
    except ValueError as error:
        hint = _channels_last(shape)
        if hint:
            raise ValueError(f"{error}; {hint}?") from error
        raise


def _warn_of_channels_first(nodes: Iterable[Node], shape: Shape) -> None:
    hint = _channels_last(shape)
    takers = [type(node.layer).__name__ for node in nodes if node.layer.images and node.in_shape == shape]
    if hint and takers:
        warnings.warn(
            f"Net: expected images with channels last for {takers[0]}; got input shape {shape}, which looks like "
            f"channels first; {hint}",
            stacklevel=3,
        )


def _copy_into(target: np.ndarray, values: Any, name: str) -> None:
    if np.shape(values) != target.shape:
        raise ValueError(f"Net: expected {name} of shape {target.shape}; got shape {np.shape(values)}")
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"Net: expected {name} as real numbers; got dtype {values.dtype}")
    np.copyto(target, values, casting="same_kind")


def _check_array(who: str, name: str, array: np.ndarray, shape: Shape, dtype: np.dtype) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{who}: expected {name} as an array of shape {shape} and dtype {dtype}; got {type(array).__name__}"
        )
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(
            f"{who}: expected {name} as a C-contiguous array of shape {shape} and dtype {dtype}; "
            f"got shape {array.shape}, dtype {array.dtype}"
        )


def _check_place(who: str, name: str, array: np.ndarray, shape: Shape, dtype: np.dtype) -> None:
    _check_array(who, name, array, shape, dtype)
    if not array.flags.writeable:
        raise ValueError(f"{who}: expected {name} to be writeable; got a read-only array")
