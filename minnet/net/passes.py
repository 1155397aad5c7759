"""Forward and backward passes of a net, and the memory and the lock that they use."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock, get_ident
from typing import Any

import numpy as np

from ..base import checks
from ..kernels.arrays import aligned_empty
from ..kernels.chunks import for_size
from ..kernels.passes import flat as kernels
from ..kernels.passes.embedding import are_seen
from ..kernels.passes.losses.targets import are_labels
from ..layers import Chain
from ..layers.base import Observer, Pass
from ..layers.by_steps import reads_by_steps
from ..layers.memory import NO_WORDS, Memory, Node, Run
from ..layers.spec import Hidden, Shape
from .objective import Objective
from .planning import where_words_have_gradients
from .vectors import Vectors

CHUNK = 256  # samples per pass in prediction and evaluation, so that memory does not grow with the data


@dataclass
class Batch:
    """Views for one batch size, which are made once and kept."""

    memory: Memory
    scores: np.ndarray  # (n, *out)
    dscores: np.ndarray  # (n, *out)
    weights: np.ndarray  # (n * positions,)
    hits: np.ndarray  # (n * positions,), whether each sample, or position, is classified correctly
    counts: np.ndarray  # (n * positions,), whether each counts in loss and accuracy


class Passes(Vectors):
    """Passes over the layers of a net."""

    layers: Chain
    input_shape: Shape
    output_shape: Shape
    input_dtype: np.dtype
    vocabulary: int
    positions: int
    least_batch: tuple[int, str | None]
    streams: int
    _hidden: list[Hidden]
    objective: Objective
    _run: Run

    def _own_memory(self) -> None:
        """Set the state before the first pass, with memory for no samples."""
        self.lock = RLock()
        self._training_thread: int | None = None  # the thread that trains the net now
        self._training_depth = 0  # how many begin_training await their end_training
        self._capacity = 0
        self.generation = 0
        self._batches: dict[int, Batch] = {}
        self._seen: tuple[np.ndarray, Batch] | None = None  # input and memory of the last forward pass

    def poison(self) -> None:
        """Fill scratch memory, activations and gradients with NaN, to reveal elements that a pass does not write."""
        self._grads.fill(np.nan)
        for node in self._root.walk():
            for storage in node.storage.values():
                storage.fill(np.nan)
        for batch in self._batches.values():
            batch.scores.fill(np.nan)
            batch.dscores.fill(np.nan)

    def reserve(self, n: int = CHUNK) -> None:
        """Allocate memory for batches of up to ``n`` samples now, instead of at the first batch of that size.

        Args:
            n: number of samples; by default that of a pass of ``evaluate`` and ``predict``.
        """
        n = checks.count("Net.reserve", "n", n)
        with self.lock:
            self._batch(n)

    def _batch(self, n: int) -> Batch:
        """Return views for ``n`` samples; allocate memory if no earlier batch was as large."""
        if n > self._capacity:
            self._root.allocate(n, self.dtype)
            self._scores = aligned_empty((2, n, *self.output_shape), self.dtype)
            self._batches.clear()
            self._seen = None
            self._capacity = n
            self.generation += 1
        if n not in self._batches:
            weights, marks = np.empty(n * self.positions, self.dtype), np.empty((2, n * self.positions), np.bool_)
            self._batches[n] = Batch(self._root.memory(n), self._scores[0, :n], self._scores[1, :n], weights, *marks)
        return self._batches[n]

    # Input -----------------------------------------------------------------------------------------------

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
        """Return x as the passes take it: finite, C-contiguous and of ``input_dtype``; a copy only if necessary.

        uint8 becomes x / 255. A net whose first layer is an Embedding takes words instead, of any integer dtype.

        Args:
            x: samples, shape (n, *input_shape): floating-point numbers, or bytes of images (uint8); or words of any
                integer dtype.

        Raises:
            TypeError: x has another integer dtype, or words are no integers.
            ValueError: x has a wrong shape, or contains NaN or infinity, or words that are not in the vocabulary.
        """
        self._check_shape(x)
        x = np.asarray(x)
        if self.vocabulary:
            return self._as_words(x)
        if x.dtype is self.dtype:  # the usual case, without the time of the comparisons below
            return self._as_finite(x)
        if x.dtype == np.uint8:
            x = np.divide(x, 255, dtype=self.dtype)
        elif x.dtype.kind != "f":
            hint = ". Words need an Embedding as first layer" if x.dtype.kind in "iu" else ""
            raise TypeError(f"Net: expected floating-point or uint8 input; got dtype {x.dtype}{hint}")
        if x.dtype != self.dtype:
            with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused below
                x = x.astype(self.dtype)
        return self._as_finite(x)

    def _as_finite(self, x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x)
        if not for_size(x.size, kernels.all_finite, kernels.all_finite_parallel)(x):
            raise ValueError("Net: expected finite input; got NaN or infinity in x")
        return x

    def _as_words(self, x: np.ndarray) -> np.ndarray:
        """Return words as C-contiguous int64; raise TypeError or ValueError for words that no Embedding takes."""
        if x.dtype.kind not in "iu":
            raise TypeError(f"Net: expected words, which are integers, as the first layer embeds; got dtype {x.dtype}")
        words = np.ascontiguousarray(x, np.int64)
        if not are_labels(words.reshape(-1), self.vocabulary, 0):
            first = [int(i) for i in np.argwhere((words < 0) | (words >= self.vocabulary))[0]]
            raise ValueError(f"Net: expected words from 0 to {self.vocabulary - 1}; got {x[*first]} at x{first}")
        for hidden in self._hidden:
            if hidden.within and not are_seen(words, hidden.word, hidden.start, hidden.within):
                part = slice(hidden.start, hidden.start + hidden.within)
                at = int(np.argmax((words[:, part] == hidden.word).all(axis=1)))
                where = "in each sample" if hidden.first is None else f"in x[:, {part.start}:{part.stop}]"
                raise ValueError(
                    f"Net: expected another word than padding={hidden.word} "
                    f"{'first' if hidden.within == 1 else 'somewhere'} {where}, as attention would see nothing; "
                    f"got {x[at].tolist()} as x[{at}]"
                )
        return words

    def words_left_out(self) -> set[int]:
        """Return the words whose positions some layer leaves out, which are padding."""
        return {entry.word for entry in self._hidden}

    def random_words(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return n samples of random words that the net takes, int64 (n, *input_shape).

        Where a layer must see something, the first word is one that no layer leaves out, if there is one.

        Args:
            rng: generator of the words, which are drawn with equal probability.
            n: number of samples.
        """
        words, left_out = rng.integers(0, self.vocabulary, (n, *self.input_shape)), list(self.words_left_out())
        for place in {hidden.start for hidden in self._hidden if hidden.within}:
            words[np.isin(words[:, place], left_out), place] = self.any_input()[0, place]
        return words

    def any_input(self) -> np.ndarray:
        """Return one sample that the net takes, (1, *input_shape): zeros, or a word that no layer leaves out."""
        hidden = self.words_left_out()
        word = next((word for word in range(self.vocabulary) if word not in hidden), 0)
        return np.full((1, *self.input_shape), word, self.input_dtype)

    def warn_of_bytes(self, x: np.ndarray) -> None:
        """Warn of input of uint8 that hardly is an image; words may well be bytes.

        Args:
            x: samples, shape (n, *input_shape), as they were given.
        """
        if x.dtype is not self.dtype and not self.vocabulary:
            checks.warn_of_numbers_as_bytes("Net", x)

    def check_dx(self, who: str, dx: np.ndarray, shape: Shape) -> None:
        """Raise an error unless the gradient with respect to an input of this shape can be written to ``dx``.

        Args:
            who: name of the method that was called, for the error.
            dx: the array.
            shape: shape of the input, (n, *input_shape).

        Raises:
            TypeError: ``dx`` is no array.
            ValueError: it has another shape or dtype than the input, is not C-contiguous or cannot be written to, or
                the input is words, which have no gradient.
        """
        if self.vocabulary:
            raise ValueError(
                f"{who}: expected dx=None, as the input is words, which have no gradient; got an array"
                f"{where_words_have_gradients(self._root)}"
            )
        check_place(who, "dx", dx, shape, self.dtype)

    def _check_size(self, n: int) -> None:
        """Raise ValueError if a training pass needs another number of samples."""
        if self.streams and n != self.streams:
            raise ValueError(
                f"Net: expected {self.streams} samples in a training pass, one of each stream whose state goes on; "
                f"got {n}. The batch size must be that of the layers' streams={self.streams}"
            )
        least, layer = self.least_batch
        if n < least:
            raise ValueError(
                f"Net: expected at least {least} samples in a training pass, which layer {layer} needs for its "
                f"statistics; got {n}. Batches(..., drop_last=True) leaves out a last batch that is too small"
            )

    # Passes ----------------------------------------------------------------------------------------------

    def forward(self, x: np.ndarray, training: bool = False, *, continues: bool = False) -> np.ndarray:
        """Compute the scores of a batch.

        Args:
            x: samples, shape (n, *input_shape), floating-point or uint8. uint8 values are image bytes and are divided
                by 255. If the first layer is an Embedding: words, integers from 0 to its vocabulary - 1.
            training: whether layers behave as in training (dropout, statistics of the batch).
            continues: whether recurrent layers start from the states that the last pass ended in, instead of 0. x then
                goes on from the samples of that pass, row by row. For passes that do not train, of nets whose layers
                act on each position by itself or carry a state forwards in time.

        Returns:
            Scores of shape (n, *output_shape), valid until the next pass.

        Raises:
            TypeError, ValueError: x does not fit, see ``as_input``; or there is no state to go on from.
        """
        self.warn_of_bytes(checks.array("Net", "input", x))
        x = self.as_input(x)
        if training:
            self._check_size(len(x))
        with self.lock:
            if continues:
                self._check_continues(len(x), training)
            return self._forward(x, training, continues)

    def _check_continues(self, n: int, training: bool) -> None:
        """Raise ValueError unless a pass over ``n`` samples can start from the states of the last one."""
        if training:
            raise ValueError(
                "forward: expected continues=True without training=True; a training pass goes on by itself in layers "
                "with streams=batch_size"
            )
        for node in self._root.walk():
            if not reads_by_steps(node.layer):
                raise ValueError(
                    "forward: expected layers that read a sequence step by step, to go on from a state; got "
                    f"{type(node.layer).__name__} {node.name}"
                )
        seen = 0 if self._seen is None else len(self._seen[0])
        if seen != n:
            raise ValueError(f"forward: expected a last pass over {n} samples to go on from; it had {seen}")

    def _forward(self, x: np.ndarray, training: bool, continues: bool = False) -> np.ndarray:
        """Return the scores of checked input; the caller holds the lock."""
        batch = self._batch(x.shape[0])
        self._run.training, self._run.continues = training, continues
        self._run.place = self._run.place + self.input_shape[0] if continues else 0
        self._saw(x, batch)
        self.layers.forward(batch.memory, x, batch.scores)
        return batch.scores

    def _saw(self, x: np.ndarray, batch: Batch) -> None:
        self._seen = x, batch
        self._run.words = x if self.vocabulary else NO_WORDS

    def backward(self, dscores: np.ndarray, dx: np.ndarray | None = None, observe: Observer | None = None) -> None:
        """Overwrite ``grads``, given the gradient with respect to the scores of the last ``forward``.

        Args:
            dscores: gradient, of the shape and dtype of the scores.
            dx: C-contiguous array of the input's shape and the net's dtype, which is filled with the gradient with
                respect to the input; None if it is not needed, or if the input is words.
            observe: called with (place, gradient) when the gradient reaches the output of each top-level layer, from
                the last layer to the first; without dx, to the first one with parameters. The array is valid during the
                call.
        """
        if self._seen is None:
            raise ValueError("backward: expected a forward pass first; got none")
        x, batch = self._seen
        check_array("backward", "dscores", dscores, batch.scores.shape, self.dtype)
        if dx is not None:
            self.check_dx("backward", dx, x.shape)
        with self.lock:
            self.layers.backward_observed(batch.memory, x, batch.scores, dscores, dx, observe)

    def note_pass(self, x: np.ndarray, objective: Objective) -> None:
        """Record that a training pass over x was made by compiled code, which used the memory of this net.

        Args:
            x: samples of the pass, shape (n, *input_shape), as ``as_input`` returns them.
            objective: parts of the loss of the pass.
        """
        self._saw(x, self._batch(len(x)))
        self.objective = objective

    def activations(self) -> dict[str, np.ndarray]:
        """Return the output of each top-level layer in the last forward pass, by place; valid until the next pass.

        Layers whose ReLU works in place (see ``Chain``) are left out: only the output of the ReLU exists.
        """
        if self._seen is None:
            raise ValueError("activations: expected a forward pass first; got none")
        _, batch = self._seen
        outputs = enumerate([*batch.memory.outputs, batch.scores])
        return {str(i): y for i, y in outputs if not self.layers.fused(i + 1)}

    def layer_passes(self) -> Iterator[Pass]:
        """Iterate over (place, layer, x, y) of all layers in the last forward pass, also of layers inside others.

        x is the input of the layer and y its output; both are valid until the next pass. Places are those of
        ``named_parameters``: ``"2"``, ``"3.layers.0"``. Chains are left out, because they consist of their layers
        only. Layers whose ReLU works in place (see ``activations``) are left out too; x of such a ReLU is its y.

        Returns:
            An iterator over a ``Pass`` for each layer, from the first to the last.

        Raises:
            ValueError: there was no forward pass.
        """
        if self._seen is None:
            raise ValueError("layer_passes: expected a forward pass first; got none")
        x, batch = self._seen
        return self.layers.passes(batch.memory, x, batch.scores)

    def winners(self) -> np.ndarray | None:
        """Return on which smooth pieces the layers were in the last forward pass; None if all layers are smooth.

        See ``Layer.winners``.
        """
        if self._seen is None:
            raise ValueError("winners: expected a forward pass first; got none")
        x, batch = self._seen
        return self.layers.winners(batch.memory, x, batch.scores)

    # Statistics ------------------------------------------------------------------------------------------

    @property
    def statistics_size(self) -> int:
        """The number of elements of all buffers that layers update by statistics of training passes."""
        return sum(math.prod(buffer.shape) for node in self._root.walk() for buffer in node.plan.kept())

    def read_statistics(self, n: int, out: np.ndarray) -> None:
        """Write the statistics that the last training pass, over ``n`` samples, measured to the start of ``out``.

        Args:
            n: the number of samples of that pass.
            out: vector of ``statistics_size`` elements. Layers that are frozen measure nothing.
        """
        place = 0
        for node, memory in self._measuring(n):
            for values in node.layer.statistics(memory):
                out[place : place + values.size] = values.reshape(-1)
                place += values.size

    def keep_statistics(self, measured: np.ndarray) -> None:
        """Update the buffers by statistics that ``read_statistics`` has written, as the pass itself does.

        Args:
            measured: vector of ``statistics_size`` elements, in the dtype of the net.
        """
        place = 0
        for node, memory in self._measuring(1):
            arrays = []
            for buffer in node.plan.kept():
                size = math.prod(buffer.shape)
                arrays.append(measured[place : place + size].reshape(buffer.shape))
                place += size
            node.layer.keep(memory, *arrays)

    def _measuring(self, n: int) -> list[tuple[Node, Memory]]:
        """Return the layers whose statistics training passes update, with their memory for ``n`` samples."""
        pairs = zip(self._root.walk(), self._batch(n).memory.walk(), strict=True)
        return [(node, memory) for node, memory in pairs if node.plan.kept() and node.name not in self._run.resting]

    # Threads ---------------------------------------------------------------------------------------------

    def begin_training(self) -> None:
        """Take the lock for a training pass, until ``end_training``; predictions of other threads wait.

        Raises:
            RuntimeError: another thread trains this net.
        """
        me, other = get_ident(), self._training_thread
        if other is None or other == me:
            self.lock.acquire()
            other = self._training_thread  # another thread may have come first while this one waited
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
        """Release the lock that ``begin_training`` took."""
        self._training_depth -= 1
        if not self._training_depth:
            self._training_thread = None
        self.lock.release()

    @contextmanager
    def trained_here(self) -> Iterator[None]:
        """Within this context no other thread may train this net; all threads may predict.

        Yields:
            Nothing.

        Raises:
            RuntimeError: another thread trains the net.
        """
        self.begin_training()
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()
            self.end_training()


def check_array(who: str, name: str, array: np.ndarray, shape: Shape, dtype: np.dtype) -> None:
    """Raise an error unless ``array`` is C-contiguous, of this shape and dtype."""
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{who}: expected {name} as an array of shape {shape} and dtype {dtype}; got {type(array).__name__}"
        )
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(
            f"{who}: expected {name} as a C-contiguous array of shape {shape} and dtype {dtype}; "
            f"got shape {array.shape}, dtype {array.dtype}"
        )


def check_place(who: str, name: str, array: np.ndarray, shape: Shape, dtype: np.dtype) -> None:
    """Raise an error unless ``array`` can be written in place: C-contiguous, of this shape and dtype."""
    check_array(who, name, array, shape, dtype)
    if not array.flags.writeable:
        raise ValueError(f"{who}: expected {name} to be writeable; got a read-only array")
