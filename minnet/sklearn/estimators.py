"""``Classifier`` and ``Regressor``: a network with the interface of scikit-learn's estimators.

``fit`` builds a ``Net`` for the features and targets that it is given and hands it to ``minnet.fit``; everything that a
run does is done there. ``partial_fit`` takes the steps of one epoch (``passes.py``).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Self

import numpy as np

from ..base import checks, streams
from ..base.extras import extra
from ..base.guide import Guided
from ..data.splits import split
from ..ensemble.answers import softmax
from ..layers import Dense, Layer, ReLU
from ..net.losses import Loss, SoftmaxCrossEntropy, SquaredError
from ..net.net import Net
from ..optim.rules import Adam, Rule
from ..training.fit import fit
from ..training.inputs import Rate
from ..training.progress import Progress
from ..training.stopping import EarlyStopping
from .passes import Passes
from .samples import Samples

with extra("minnet.sklearn", "scikit-learn 1.6 or newer", "sklearn"):
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data

_FLOATS = (np.float64, np.float32)  # dtypes that features keep; all others become float64


class _Estimator(Guided):
    """What ``Classifier`` and ``Regressor`` share."""

    _loss: Loss
    _passes: Passes | None  # of the calls of ``partial_fit``
    _stratified: bool  # whether the samples that are held out have the same share of every class

    def __init__(
        self,
        layers: Sequence[Layer | int] = (100,),
        *,
        rule: Rule | None = None,
        lr: Rate = 0.001,
        epochs: int = 100,
        batch_size: int = 200,
        l2: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        dtype: Any = None,
        random_state: Any = 0,
        progress: Progress = False,
    ) -> None:
        self.layers = layers
        self.rule = rule
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.l2 = l2
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.progress = progress

    def __getattr__(self, name: str) -> Any:
        """The error for a name that the estimator lacks; scikit-learn asks in vain for many that end in ``_``."""
        if name.endswith("_"):
            raise AttributeError(f"{self._name!r} object has no attribute {name!r}: it is not fitted")
        return super().__getattr__(name)  # type: ignore[misc]  # type checkers do not see Guided's

    # Training --------------------------------------------------------------------------------------------

    @contextmanager
    def _or_as_before(self) -> Iterator[None]:
        """Within this context, an exception takes back what the estimator learned, such as the number of features."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _train(self, samples: Samples, outputs: int) -> Self:
        """Train a new net on checked samples."""
        seed = self._seed()
        net = self._new_net(samples.x, outputs, seed)
        samples, held_out, callbacks = samples.counting(self._name), None, []
        if checks.truth(self._name, "early_stopping", self.early_stopping):
            samples, held_out = self._hold_out(samples, seed)
            callbacks.append(EarlyStopping("val_loss", self.patience))
        history = fit(
            net,
            (samples.x, samples.y),
            rule=self._the_rule(),
            lr=self.lr,
            batch_size=self.batch_size,
            epochs=self.epochs,
            seed=seed,
            drop_last=self._drops_last(net, samples.size),
            validation=None if held_out is None else held_out.as_validation(),
            sample_weight=samples.weights,
            callbacks=callbacks,
            progress=self.progress,
        )
        self.net_, self.history_, self._passes = net, history, None
        self.loss_curve_, self.n_iter_ = history["loss"] if len(history) else [], len(history)
        return self

    def _end(self) -> Self:
        """Raise KeyboardInterrupt after a run that Ctrl-C ended: a search around the estimator must not go on."""
        if self.history_.stopped == "interrupted":
            raise KeyboardInterrupt
        return self

    def _train_on(self, samples: Samples, outputs: int) -> Self:
        """Take the steps of one epoch on checked samples, with a new net at the first call."""
        samples = samples.counting(self._name)
        seed, first = self._seed(), not hasattr(self, "net_")
        net = self._new_net(samples.x, outputs, seed) if first else self.net_
        passes = Passes(self._the_rule(), self.lr, seed) if first or self._passes is None else self._passes
        loss = passes.epoch(self._name, net, samples, self.batch_size, self._drops_last(net, samples.size))
        self.net_, self._passes = net, passes
        self.loss_curve_ = [loss] if first else [*self.loss_curve_, loss]
        self.n_iter_ = len(self.loss_curve_)
        return self

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _seed(self) -> int:
        """Return the seed of weights, batches and held-out samples: ``random_state`` itself if it is a number."""
        if isinstance(self.random_state, Integral):
            return checks.count(self._name, "random_state", self.random_state, least=0)
        return int(check_random_state(self.random_state).randint(2**31))

    def _the_rule(self) -> Rule:
        return Adam() if self.rule is None else self.rule

    def _new_net(self, x: np.ndarray, outputs: int, seed: int) -> Net:
        """Return the hidden layers and one score for each output, for samples like those of x."""
        dtype = x.dtype if self.dtype is None else self.dtype
        net = Net([*self._hidden(), Dense(outputs)], x.shape[1], self._loss, l2=self.l2, dtype=dtype, seed=seed)
        if net.output_shape != (outputs,):
            raise ValueError(
                f"{self._name}: expected layers that end in one axis of features, as {outputs} outputs follow them; "
                f"got outputs of shape {net.output_shape}. Flatten() makes one axis of several"
            )
        return net

    def _hidden(self) -> list[Layer]:
        """Return the hidden layers; a width is a Dense layer of so many units and a ReLU."""
        wanted = "layers as a sequence of widths and layers, such as (100,) or [Dense(100), BatchNorm(), ReLU()]"
        if isinstance(self.layers, str | Layer) or not isinstance(self.layers, Iterable):
            raise TypeError(f"{self._name}: expected {wanted}; got {self.layers!r}")
        hidden: list[Layer] = []
        for layer in self.layers:
            if isinstance(layer, Layer):
                hidden.append(layer)
            elif isinstance(layer, Integral) and not isinstance(layer, bool):
                hidden += [Dense(int(layer)), ReLU()]
            else:
                raise TypeError(f"{self._name}: expected {wanted}; got {layer!r} among them")
        return hidden

    def _drops_last(self, net: Net, samples: int) -> bool:
        """Return whether the last batch of an epoch has too few samples for a layer such as BatchNorm."""
        size = checks.count(self._name, "batch_size", self.batch_size)
        return 0 < samples % size < net.least_batch[0] and samples > size

    def _hold_out(self, samples: Samples, seed: int) -> tuple[Samples, Samples]:
        """Return the samples to train with and those to stop by."""
        share, n = checks.fraction(self._name, "validation_fraction", self.validation_fraction), samples.size
        if not 1 <= round(share * n) < n:
            raise ValueError(
                f"{self._name}: expected samples to train with and samples to stop by; got {n}, with "
                f"validation_fraction={self.validation_fraction}"
            )
        order = int(streams.generator(seed, "samples that an estimator holds out").integers(2**31))
        places, fractions = (np.arange(n), samples.y), (1 - share, share)
        (train, _), (held_out, _) = split(places, fractions, seed=order, stratified=self._stratified)
        return samples.part(train), samples.part(held_out)

    # Predicting ------------------------------------------------------------------------------------------

    def _scores(self, x: Any) -> np.ndarray:
        """Return the scores (n, outputs) of the fitted net, after checking the features."""
        check_is_fitted(self, "net_")
        # Kernels would be compiled once more for features that are read-only, which takes longer than a copy.
        return self.net_.predict(validate_data(self, x, dtype=_FLOATS, force_writeable=True, reset=False))


class Classifier(ClassifierMixin, _Estimator, BaseEstimator):
    """A network that classifies, as an estimator of scikit-learn. Its loss is ``SoftmaxCrossEntropy``.

    Args:
        layers: the hidden layers, in order: a width is ``Dense(width)`` and a ``ReLU``, and any ``Layer`` stands for
            itself. One score for each class follows them. Features have one axis; ``Reshape((8, 8, 1))`` as first layer
            makes images of them.
        rule: update rule; None for ``Adam()``.
        lr: learning rate: a number, a schedule, or a function of the step. To be pickled, a function must have a name
            in a module.
        epochs: number of passes over the data. It is fixed; the run does not end when the loss stalls.
        batch_size: number of samples of a step, at most all. A layer such as ``BatchNorm`` needs two samples; if an
            epoch would end with fewer, they are left out of it.
        l2: strength of the penalty l2 / 2 * sum(w^2). scikit-learn's ``alpha`` is divided by the samples of a batch.
        early_stopping: whether to hold samples out, to end the run when their loss has not improved for ``patience``
            epochs, and to keep the weights of the best epoch.
        validation_fraction: share of the samples that ``early_stopping`` holds out, of each class alike.
        patience: number of epochs without improvement after which the run ends.
        dtype: precision of the net, ``"float32"`` or ``"float64"``; None for that of the features, where all but
            float32 count as float64. Single precision takes half the time.
        random_state: seed of the initial weights, of the order of the samples and of the layers' noise. A number gives
            the same weights at every call, a RandomState or None others.
        progress: what is written to standard error, as in ``minnet.fit``; False for nothing.

    Attributes:
        classes_: the classes, sorted; their order is that of the columns of ``predict_proba``.
        net_: the trained ``Net``.
        loss_curve_: mean loss of each epoch, with penalties, as training went on.
        n_iter_: number of epochs.
        history_: the ``History`` of the run that ``fit`` made.
        n_features_in_, feature_names_in_: the number of features, and their names if X was a table with names.

    Errors of scikit-learn's own checks (sparse or non-finite X, features of other names) come as it words them.
    """

    _loss = SoftmaxCrossEntropy()
    _stratified = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network.

        Args:
            X: features, shape (n, features).
            y: labels of at least two classes, shape (n,): numbers or text.
            sample_weight: shape (n,), at least 0. The loss of a batch is the weighted mean, so a sample of weight 2
                counts as two samples of its batch. Samples of weight 0 are left out.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError: an argument does not fit. A network of an earlier call stays.
            DivergenceError: the loss is not finite; a lower ``lr`` helps.
            KeyboardInterrupt: Ctrl-C came during the run. The estimator is fitted as far as the run came.
        """
        with self._or_as_before():
            X, y = validate_data(self, X, y, dtype=_FLOATS)
            check_classification_targets(y)
            classes, labels = np.unique(y, return_inverse=True)
            if len(classes) < 2:
                raise ValueError(f"Classifier: expected at least two classes in y; got one class, {classes[0]}")
            self._train(Samples.of("Classifier", X, labels, sample_weight), len(classes))
            self.classes_ = classes
        return self._end()

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Take the steps of one epoch on these samples, from the present weights.

        The first call makes the network; after ``fit``, it goes on from its weights. Calls that follow one another are
        one run, whose rule keeps its state; its steps and those of ``lr`` are counted from the first of them.
        ``early_stopping`` and ``epochs`` do not matter.

        Args:
            X: features, shape (n, features).
            y: labels, shape (n,), all of them among the classes.
            classes: all classes there will ever be. The first call needs them; they may be left out later.
            sample_weight: as in ``fit``.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError: as in ``fit``, or labels are not among the classes. Nothing has changed.
            DivergenceError: the loss is not finite. The weights are those from before the call.
        """
        with self._or_as_before():
            first = not hasattr(self, "net_")
            X, y = validate_data(self, X, y, dtype=_FLOATS, reset=first)
            check_classification_targets(y)
            known = self._classes(classes)
            places = np.minimum(np.searchsorted(known, y), len(known) - 1)
            strange = np.flatnonzero(known[places] != y)
            if strange.size:
                raise ValueError(
                    f"Classifier.partial_fit: expected labels among the classes {known}; got {y[strange[0]]} in sample "
                    f"{strange[0]}"
                )
            self._train_on(Samples.of("Classifier.partial_fit", X, places, sample_weight), len(known))
            self.classes_ = known
        return self

    def _classes(self, given: Any) -> np.ndarray:
        """Return the classes of ``partial_fit``, sorted: those that are given, or those that are known already."""
        known: np.ndarray | None = getattr(self, "classes_", None)
        if given is None:
            if known is not None:
                return known
            raise ValueError(
                "Classifier.partial_fit: expected classes=... in the first call, all there will be; got None"
            )
        classes = np.unique(checks.array("Classifier.partial_fit", "classes", given))
        if len(classes) < 2 or (known is not None and not np.array_equal(classes, known)):
            wanted = "at least two classes" if known is None else f"the classes of the calls before, {known}"
            raise ValueError(f"Classifier.partial_fit: expected {wanted}; got {classes}")
        return classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of the classes, float64 (n, classes), in the order of ``classes_``.

        Args:
            X: features, shape (n, features).
        """
        return softmax(self._scores(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class of each sample, shape (n,).

        Args:
            X: features, shape (n, features).
        """
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]


class Regressor(RegressorMixin, _Estimator, BaseEstimator):
    """A network that predicts numbers, as an estimator of scikit-learn. Its loss is ``SquaredError``.

    The loss is the squared error summed over the outputs, where scikit-learn's ``MLPRegressor`` has half of its mean.
    Neither features nor targets are scaled: a ``StandardScaler`` and a ``TransformedTargetRegressor`` do that.

    Args:
        layers, rule, lr, epochs, batch_size, l2: as in ``Classifier``; one number for each output follows the layers.
        early_stopping, validation_fraction, patience: as in ``Classifier``, with samples chosen by chance.
        dtype, random_state, progress: as in ``Classifier``.

    Attributes:
        net_, loss_curve_, n_iter_, history_, n_features_in_, feature_names_in_: as in ``Classifier``.
    """

    _loss = SquaredError()
    _stratified = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network.

        Args:
            X: features, shape (n, features).
            y: targets, shape (n,) or (n, outputs).
            sample_weight: as in ``Classifier.fit``.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError, DivergenceError, KeyboardInterrupt: as in ``Classifier.fit``.
        """
        with self._or_as_before():
            X, y = validate_data(self, X, y, dtype=_FLOATS, multi_output=True, y_numeric=True)
            self._train(self._samples("Regressor", X, y, sample_weight), _outputs(y))
            self._one_axis = y.ndim == 1
        return self._end()

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Take the steps of one epoch on these samples, from the present weights, as ``Classifier.partial_fit`` does.

        Args:
            X: features, shape (n, features).
            y: targets, shape (n,) or (n, outputs), with as many outputs as in the call before.
            sample_weight: as in ``Classifier.fit``.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError: as in ``fit``, or y has another number of outputs. Nothing has changed.
            DivergenceError: the loss is not finite. The weights are those from before the call.
        """
        with self._or_as_before():
            first = not hasattr(self, "net_")
            X, y = validate_data(self, X, y, dtype=_FLOATS, multi_output=True, y_numeric=True, reset=first)
            if not first and (_outputs(y),) != self.net_.output_shape:
                raise ValueError(
                    f"Regressor.partial_fit: expected targets with {self.net_.output_shape[0]} outputs, as before; got "
                    f"{_outputs(y)}"
                )
            self._train_on(self._samples("Regressor.partial_fit", X, y, sample_weight), _outputs(y))
            self._one_axis = y.ndim == 1
        return self

    def _samples(self, who: str, x: np.ndarray, y: np.ndarray, sample_weight: Any) -> Samples:
        """Return samples whose targets are floating-point numbers."""
        return Samples.of(who, x, y if y.dtype.kind == "f" else y.astype(np.float64), sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted numbers, of the shape of the targets: (n,) or (n, outputs).

        Args:
            X: features, shape (n, features).
        """
        scores = self._scores(X)
        return scores[:, 0] if self._one_axis else scores

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's checks may expect: targets of several outputs."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _outputs(y: np.ndarray) -> int:
    return 1 if y.ndim == 1 else y.shape[1]
