"""``Trainer``: what a run is made of, how it is run, and how it is resumed from a file."""

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..base import checks, streams
from ..base.shown import ShownText
from ..data import Augment, Batches, Data, Standardizer
from ..data.arrays import check_scales
from ..distributed import MPI
from ..distributed.ranks import Ranks
from ..distributed.sharded import Sharded
from ..net.net import Net
from ..optim.groups import Group
from ..optim.optimizer import Optimizer
from ..optim.rules import Hyper, Rule
from ..schedules.given import as_schedule
from ..schedules.length import warn_of_length
from ..schedules.schedule import resolved
from . import description, inputs, resume
from .callbacks import Callback
from .checkpoint import offer_older
from .history import History
from .inputs import Rate, WeightedData
from .loop import Loop
from .progress import Progress, chosen, shown
from .saved import Saved
from .signals import leave_on_signals


class Trainer(Loop):
    """An iterator over training steps: ``for record in trainer: ...``.

    Args:
        net: the network, built with a loss.
        data: training data (x, y).
        rule: update rule.
        lr: learning rate: a number, a schedule, or a function of the step, which is counted from 0. The values of a
            function are checked at the first and the last step, and then at each step before the step is taken.
        batch_size, seed, drop_last: size and order of the batches, see ``Batches``.
        augment: random changes to the training images, see ``Batches``. Validation data are not augmented.
        standardize: fitted on the raw training data and applied to training batches and validation data. Both must be
            given raw. Data for other uses of the net must be standardised by hand:
            ``net.evaluate(standardize(x), y)``.
        epochs, steps: length of the run; give one of the two.
        validation: data (x, y) or (x, y, sample_weight) to evaluate after every epoch, or None.
        sample_weight: weight of each training sample, shape (n,), at least 0; None for equal weights. The loss of a
            batch is sum(w_i * l_i) / sum(w_i), as everywhere in minnet: a sample of weight 2 counts as two samples, and
            the scale of the weights in a batch does not change the size of the update. A run is refused if no sample
            counts in one of its batches, because of weights of 0 or ignored labels: such a batch has no mean loss.
            ``loss`` and ``accuracy`` of the epochs and of ``evaluate_training`` use the same weights. Monitors and
            averages do not use them.
        evaluate_training: True to evaluate the training data after every epoch, as is done with validation data; a
            number to evaluate so many samples, the same ones throughout the run. This adds the columns ``train_loss``,
            ``train_data_loss`` and ``train_accuracy``, which ``Dashboard``, verdicts and figures then compare with
            validation. The samples are not augmented. Evaluating all of them takes about a third of the time of an
            epoch; for uint8 data with ``standardize`` it also takes a copy of the evaluated samples as floats.
        weight_decay, clip_norm, groups: see ``Optimizer``. Each hyper-parameter that is a schedule has a column in
            ``history.steps``.
        callbacks: objects that are called at every step and epoch, see ``Callback``.
        exchange: ``distributed.MPI`` for a run that several processes share; None for a run of this process. The same
            program runs in all of them, and the run is refused before its first step if they differ in it, in the data
            or in an argument.

    Attributes:
        lr: the learning rate as a schedule. It may be set to whatever the argument may be, also during the run and
            after ``resume``: ``trainer.lr = 0.01`` takes effect at the next step. A schedule is evaluated at the step
            of the run, counted from 0; ``schedule.offset(trainer.step)`` starts it at the current step.
        lr_factor: factor of every learning rate, also of groups with an ``lr`` of their own; starts at 1. Controllers
            such as ``ReduceOnPlateau`` set it. The history shows the products.
        leaving: why the run is to be interrupted after the current step, to be continued later; None if it is not.
        over: whether the run has ended, or cannot go on after an exception, so that other runs may use its callbacks.
        recorded: the steps as they are recorded and replayed by compiled code. ``recorded.reason`` says why Python
            takes every step, and is None where steps are recorded.
        writes: whether this process writes files and shows progress: always, except on ranks other than 0.
        identity: a random name, different for each run. A resumed run has the name of the run that it continues.
        columns: names in the rows of the history's epochs that do not come from callbacks, in order: ``epoch``,
            ``step``, ``loss``; ``accuracy`` if the loss classifies; with ``evaluate_training`` ``train_loss``,
            ``train_data_loss`` and ``train_accuracy``; with validation ``val_loss``, ``val_data_loss`` and
            ``val_accuracy``; ``lr``. ``loss`` and ``accuracy`` are running means in training mode, see ``History``.

    A run that was left (by ``leave``, or Ctrl-C in ``run``) continues when the trainer is iterated over, or ``run()``
    is called, again. It continues with the same bits, even if the net's weights have changed in between. A run that a
    second Ctrl-C interrupted within a step cannot continue.

    Lengths of schedules are steps unless ``.in_epochs(...)`` says otherwise. A schedule of the learning rate or of
    another hyper-parameter causes a warning if it continues after the end of the run, if it has come down after at most
    as many steps as the run has epochs, or if it has no end and its first event comes after the last step.

    Raises:
        ValueError: a schedule leaves its range at an event, or at the first or last step.
        DivergenceError: a loss, or a parameter at the end of an epoch, is not finite. This FloatingPointError names the
            parameter or layer where it began and holds the history. Net and optimizer have the state of the start of
            that epoch, or of the start of the previous epoch if the first loss of the epoch was not finite.
    """

    def __init__(
        self,
        net: Net,
        data: Data,
        *,
        rule: Rule,
        lr: Rate,
        batch_size: int,
        epochs: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        drop_last: bool = False,
        augment: Augment | None = None,
        standardize: Standardizer | None = None,
        validation: Data | WeightedData | None = None,
        sample_weight: Any = None,
        evaluate_training: bool | int = False,
        weight_decay: Hyper = 0.0,
        clip_norm: Hyper = None,
        groups: Iterable[Group] = (),
        callbacks: Iterable[Callback] = (),
        exchange: MPI | None = None,
    ) -> None:
        if not isinstance(net, Net):
            raise TypeError(f"Trainer: expected a Net; got {net!r}")
        self.exchange = inputs.check_exchange(exchange)
        self.ranks = Ranks() if exchange is None else exchange.connect()
        self.callbacks = inputs.check_callbacks(callbacks)
        if (epochs is None) == (steps is None):
            raise ValueError(f"Trainer: expected either epochs or steps; got epochs={epochs}, steps={steps}")
        self.net = net
        rate = as_schedule("Trainer", "lr", lr)
        x, y = inputs.for_net("Trainer", data, net)
        if standardize is None and not net.vocabulary:
            checks.warn_of_numbers_as_bytes("Trainer", x)
        order: dict[str, Any] = {"seed": seed, "drop_last": drop_last, "augment": augment, "standardize": standardize}
        self.batches = Batches((x, y), batch_size, dtype=net.input_dtype, shuffle=not net.streams, **order)
        self._take_validation(validation, x, standardize)
        self._take_weights(sample_weight)
        self.evaluate_training = inputs.part_to_evaluate("Trainer", evaluate_training, len(x))
        self._evaluated = self._samples_to_evaluate()
        least, layer = self._make_optimizer(rule, weight_decay, clip_norm, groups)
        self.steps = self._length(epochs, steps)
        self._check_shortest(least, layer)
        self._check_counting()
        self.passes = net if exchange is None else Sharded(net, exchange)
        if self.validation is not None or self._evaluated is not None:
            net.reserve()  # now, so that evaluating allocates no memory during the run
        self.step = 0
        self._lr = self._checked_rate(rate)
        self.optimizer.look_ahead(self.steps)
        for name, schedule in {"lr": self.lr, **self.optimizer.schedules}.items():
            warn_of_length(name, schedule, self.steps, len(self.batches))
        self.identity = secrets.token_hex(16)
        self._start()
        net.frozen = self.optimizer.frozen  # last, as the net must not change if an argument is refused

    # Steps of the constructor ----------------------------------------------------------------------------

    def _take_validation(
        self, validation: Data | WeightedData | None, x: np.ndarray, standardize: Standardizer | None
    ) -> None:
        """Check and standardise the validation data; ``x`` are the training data."""
        held_out, weights = inputs.split_off_weights(validation)
        self.validation = None if held_out is None else inputs.for_net("Trainer validation", held_out, self.net)
        self.validation_weight = None
        if self.validation is None:
            return
        if weights is not None:
            samples = len(self.validation[0])
            self.validation_weight = inputs.sample_weights("Trainer validation", weights, samples)
        if standardize is not None:
            self.validation = inputs.standardized(self.validation, x.dtype, standardize)
        else:
            check_scales("Trainer", x, self.validation[0])

    def _take_weights(self, sample_weight: Any) -> None:
        """Check the weights of the training samples and have them gathered with each batch."""
        self.sample_weight = None
        if sample_weight is not None:
            self.sample_weight = inputs.sample_weights("Trainer", sample_weight, self.batches.size)
            self.batches.gather_weights(self.sample_weight)

    def _samples_to_evaluate(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None:
        """(x, y, sample_weight or None) of the training samples that are evaluated after each epoch."""
        part, samples = self.evaluate_training, self.batches.size
        if part == 0:
            return None
        if part == samples:
            return *self.batches.everything(), self.sample_weight
        chosen = streams.generator(self.batches.seed, "training samples to evaluate").permutation(samples)[:part]
        return *self.batches.samples(chosen), None if self.sample_weight is None else self.sample_weight[chosen]

    def _make_optimizer(
        self, rule: Rule, weight_decay: Hyper, clip_norm: Hyper, groups: Iterable[Group]
    ) -> tuple[int, str | None]:
        """Make the optimizer, with lengths of schedules in steps, and leave ``net.frozen`` as it is.

        Returns:
            ``net.least_batch`` for training with this optimizer, which may freeze tensors.
        """
        # Optimizer raises the errors for values of wrong types.
        given = {"rule": rule, "weight_decay": weight_decay, "clip_norm": clip_norm}
        given["groups"] = list(groups) if isinstance(groups, Iterable) else groups
        per_epoch, frozen = len(self.batches), self.net.frozen
        self.optimizer = Optimizer(self.net, **{name: resolved(value, per_epoch) for name, value in given.items()})
        least = self.net.least_batch
        self.net.frozen = frozen
        size, augment = self.batches.batch_size, self.batches.augment
        if self.optimizer.searches and (size < self.batches.size or augment is not None):
            raise ValueError(
                f"Trainer: expected all {self.batches.size} samples in a batch and no augmentation for {rule}, which "
                f"compares losses of one and the same function; got batch_size={size}, augment={augment}"
            )
        return least

    def _length(self, epochs: int | None, steps: int | None) -> int:
        """Return the number of steps of the run."""
        if epochs is not None:
            return checks.count("Trainer", "epochs", epochs) * len(self.batches)
        return checks.count("Trainer", "steps", steps)

    def _check_shortest(self, least: int, layer: str | None) -> None:
        """ValueError if a batch of the run has fewer than ``least`` samples, which ``layer`` needs in training."""
        batches = self.batches
        shortest = batches.shortest if self.steps >= len(batches) else batches.batch_size
        streams = self.net.streams
        if streams and not batches.batch_size == shortest == streams:
            raise ValueError(
                f"Trainer: expected batches of {streams} samples, one of each stream whose state goes on; got "
                f"{batches.size} samples in batches of {batches.batch_size}, the last of {shortest}. "
                f"Text.streams({streams}, time) makes such data"
            )
        if self.exchange is not None:
            inputs.check_shards(self.exchange.shards, shortest, least, layer)
        if shortest < least:
            raise ValueError(
                f"Trainer: expected batches of at least {least} samples, which layer {layer} needs for its statistics; "
                f"got one of {shortest}, with {batches.size} samples in batches of {batches.batch_size}. "
                "drop_last=True leaves out a last batch that is shorter; or give another batch_size"
            )

    def _check_counting(self) -> None:
        """ValueError if no sample of a batch, or of data that are evaluated, adds to the loss, which is a mean."""
        counts = inputs.counting("Trainer", self.net, self.batches.data[1], self.sample_weight)
        assert self.net.loss_function is not None  # inputs.for_net has refused a net without one
        inputs.check_batches(self.batches, counts, self.steps, self.net.loss_function.uncounted())
        if self._evaluated is not None:
            inputs.counting("Trainer evaluate_training", self.net, *self._evaluated[1:])
        if self.validation is not None:
            inputs.counting("Trainer validation", self.net, self.validation[1], self.validation_weight)

    def summary(self) -> ShownText:
        """Return ``net.summary()``, followed by what the run does and by how its steps are taken."""
        batches, reason = self.batches, self.recorded.reason
        lines = [
            self.net.summary(),
            f"{self.steps:,} steps, {self.step:,} of them done; {len(batches):,} an epoch, with batches of "
            f"{batches.batch_size} of {batches.size:,} samples",
            f"{self.optimizer.rule}, learning rate {self.lr}",
            "Steps are recorded once and replayed by compiled code"
            if reason is None
            else f"Python takes every step, which is slower for small nets: {reason}",
        ]
        if self.exchange is not None:
            lines.append(
                f"{self.exchange.shards} shards a batch, on {self.ranks.count} ranks; this is {self.ranks.rank}"
            )
        return ShownText("\n".join(lines))

    # Running and resuming --------------------------------------------------------------------------------

    def run(self, progress: Progress = None) -> History:
        """Take all remaining steps.

        After an interruption, call this method again to continue. Other threads may predict with the net during the
        run. Ctrl-C and SIGTERM end the run after the current step, as in ``fit``.

        Args:
            progress: what is written to standard error, as in ``fit``.

        Returns:
            The history of the whole run, ``self.history``.

        Raises:
            DivergenceError: the loss, a gradient to clip or a parameter is not finite. Net and optimizer are as they
                were at the start of an epoch.
            RuntimeError: another thread trains the net, or an exception has broken off a step before.
        """
        with leave_on_signals(self), self.net.trained_here(), self.recorded.at_work():
            try:
                with shown(self, progress) as show:
                    for record in self._at_speed(epoch_by_epoch=chosen("Trainer.run", progress) == "lines"):
                        show(record)
            except KeyboardInterrupt:
                if self.ranks.count > 1:
                    raise  # within a step, in which the others wait for this rank
                self._stop_for_now("interrupted")
                self.end("interrupted")
        return self.history

    @classmethod
    def resume(
        cls,
        path: str | Path,
        net: Net,
        data: Data,
        *,
        rule: Rule,
        lr: Rate | None = None,
        validation: Data | WeightedData | None = None,
        sample_weight: Any = None,
        weight_decay: Hyper = None,
        clip_norm: Hyper = None,
        groups: Iterable[Group] = (),
        callbacks: Iterable[Callback] = (),
        exchange: MPI | None = None,
        trust_data: bool = False,
    ) -> Self:
        """Return the trainer that was saved to ``path``; it continues with the same bits as an uninterrupted run.

        Lengths, seeds, augmentation, standardisation and all hyper-parameters that are numbers are read from the file.
        Code (rule, schedules, groups, callbacks) and data are given again and compared with their descriptions in the
        file. Functions are compared by name; functions of groups also by the tensors that they choose. To continue with
        another learning rate, resume with the rate of the file and set ``trainer.lr`` before ``run()``.

        To train longer, resume from the last file of ``Checkpoint`` and set ``trainer.steps`` before ``run()``. If the
        shorter run ended with an epoch, the bits are those of one long run with the same schedules. A run that ends
        within an epoch closes that epoch: the history has a row for it, and callbacks are told of it.

        Args:
            path: a file, or a folder of ``Checkpoint``. In a folder the newest whole file is read, with a warning for
                each newer file that is not whole.
            net: built as for the saved run; its weights do not matter.
            trust_data: data are compared by shape, dtype and checksum. True allows floating-point data to have another
                checksum, for example because another machine or library rounds differently. Shapes, dtypes and integer
                data, such as labels and bytes of images, must still agree. The bits of the run then differ.
            others: all other arguments are those of ``Trainer``.

        Raises:
            CheckpointError: a ValueError: the file is damaged or belongs to another run; the message names all
                differences. Nothing has changed.
            FileNotFoundError: there is no file.
        """
        saved, frozen = Saved.of(path), getattr(net, "frozen", ())
        with offer_older(saved.path):
            description.compare(saved.path, "net", saved.get("net"), description.describe_net(net))
            given = {"validation": validation, "sample_weight": sample_weight, "groups": groups, "callbacks": callbacks}
            kept = saved.arguments(net, lr, weight_decay, clip_norm)
            trainer = cls(net, data, rule=rule, exchange=exchange, **given, **kept)
            net.frozen = frozen  # the net must not change if the file is refused
            resume.go_on(trainer, saved, trust_data)
        net.frozen = trainer.optimizer.frozen
        return trainer

    @classmethod
    def branch(
        cls,
        state: str | Path | bytes,
        net: Net,
        data: Data,
        *,
        rule: Rule,
        lr: Rate,
        steps: int | None = None,
        validation: Data | WeightedData | None = None,
        sample_weight: Any = None,
        weight_decay: Hyper = 0.0,
        clip_norm: Hyper = None,
        groups: Iterable[Group] = (),
        callbacks: Iterable[Callback] = (),
        exchange: MPI | None = None,
        trust_data: bool = False,
    ) -> Self:
        """Return a trainer that goes on from the state of another run with other hyper-parameters.

        The state gives weights, buffers, the state of the rule, the step, the position in the data and in all streams
        of noise, the history, and the states of callbacks, of which ``lr_factor`` is one. The call gives all
        hyper-parameters: an argument that is left out has its default, whatever the other run had. l2, l1 and max_norm
        are those of ``net``. Batch size, seed, augmentation and standardisation come from the state, because the
        position in the data depends on them.

        A branch with the hyper-parameters of the state therefore has the bits of the run that was never interrupted,
        and one with others has the bits of a run whose schedules change at this step. Schedules count the steps of the
        whole run: ``schedule.offset(step)`` begins at the branch.

        Args:
            state: what ``Trainer.state`` returned, a file, or a folder of ``Checkpoint``, as in ``resume``.
            net: built as for the saved run, with the same seed; its weights do not matter.
            steps: length of the whole run, including the steps before the state; None for the length in the state.
            callbacks: of the same classes as in the saved run, in the same order, apart from bystanders. Their
                arguments may differ.
            trust_data: as in ``resume``.
            others: all other arguments are those of ``Trainer``.

        Raises:
            CheckpointError: a ValueError: the state is damaged, is of a run that has ended, or cannot be taken over,
                because it is of another architecture, rule, set of callbacks or data; the message names all
                differences. A rule with the same slots but other conventions is another rule. Nothing has changed.
            FileNotFoundError: there is no file.
        """
        saved, frozen = Saved.of(state), getattr(net, "frozen", ())
        with offer_older(saved.path):
            of_net = description.describe_branch_net
            here = of_net(description.describe_net(net))
            description.compare(saved.path, "net", of_net(saved.get("net", kind=dict)), here)
            order = saved.order(net) | ({} if steps is None else {"steps": steps})
            given = {"validation": validation, "sample_weight": sample_weight, "groups": groups, "callbacks": callbacks}
            given["exchange"] = exchange
            hypers = {"rule": rule, "lr": lr, "weight_decay": weight_decay, "clip_norm": clip_norm}
            trainer = cls(net, data, **order, **given, **hypers)
            net.frozen = frozen  # the net must not change if the state is refused
            resume.branch_off(trainer, saved, trust_data)
        net.frozen = trainer.optimizer.frozen
        return trainer
