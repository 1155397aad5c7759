"""``Ensemble``: several networks of one architecture that predict together, and the choice of its members.

``predictions`` has the predictions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base import checks
from ..base.guide import Guided
from ..net.losses import SoftmaxCrossEntropy
from ..net.net import Net, as_net
from ..storage.archive import CheckpointError
from ..training.direction import Direction
from . import answers
from .comparison import Comparison
from .files import read, write
from .measures import BINS
from .points import Member, as_weights, member_point
from .predictions import Predictions
from .selection import Metric, mixture_weights, select_greedily


class Ensemble(Guided, Predictions):
    """K networks of one architecture.

    Args:
        net: the architecture, with its loss and dtype. The net is not changed; the ensemble has the memory of one net
            of its own.
        members: nets, averages, pairs (params, buffers), or params alone, which are used with the buffers of ``net``.
            An average, or a draw from ``SWAG``, has no statistics of batch norm of its own. These members have:
            ``average.point(net, refresh=train)`` and ``(drawn, refreshed_buffers(net, train, params=drawn))``.
        names: names of the members; None for numbers.
        weights: weight of each member in means and votes, shape (K,), at least 0 and not all 0; None for equal
            weights.
        steps: training steps of each member by itself; None if not known.
        all_steps: training steps of all members together, such as those of the run for its snapshots. None for the sum
            of ``steps``.

    Attributes:
        params, buffers: arrays (K, P) and (K, B).
        weights: float64 (K,), which sum to 1.
    """

    def __init__(
        self,
        net: Net,
        members: Iterable[Member],
        *,
        names: Sequence[str] | None = None,
        weights: Sequence[float] | np.ndarray | None = None,
        steps: Sequence[int] | None = None,
        all_steps: int | None = None,
    ) -> None:
        as_net("Ensemble", net)
        points = [member_point(net, i, member) for i, member in enumerate(members)]
        if not points:
            raise ValueError("Ensemble: expected at least one member; got none")
        self.params, self.buffers = (np.stack([point[part] for point in points]) for part in (0, 1))
        self.names = tuple(f"member {i}" for i in range(len(points))) if names is None else tuple(map(str, names))
        if len(self.names) != len(points) or len(set(self.names)) != len(points):
            raise ValueError(f"Ensemble: expected {len(points)} different names; got {self.names}")
        self.weights = as_weights(weights, len(points))
        if steps is not None and len(steps) != len(points):
            raise ValueError(f"Ensemble: expected {len(points)} numbers of steps; got {len(steps)}")
        self.steps = None if steps is None else tuple(checks.count("Ensemble", "steps", n, least=0) for n in steps)
        if all_steps is None and self.steps is not None:
            all_steps = sum(self.steps)
        self.all_steps = None if all_steps is None else checks.count("Ensemble", "all_steps", all_steps, least=0)
        self._net = net.twin()

    @classmethod
    def best(
        cls,
        net: Net,
        candidates: Sequence[Member],
        scores: Sequence[float],
        k: int,
        *,
        mode: str | None = None,
        **options: Any,
    ) -> "Ensemble":
        """Make an ensemble of the k candidates with the best scores, the best first.

        Args:
            net: a net like those of the candidates.
            candidates: members as ``Ensemble`` takes them, such as the trials of a search.
            scores: one number for each candidate. Of equal scores, the earlier counts as better. NaN counts as worse
                than any number.
            k: number of members.
            mode: ``"max"`` if larger scores are better, such as accuracies; ``"min"`` if smaller ones are, such as
                losses. It has to be given.
            options: options of ``Ensemble``, for all candidates.

        Returns:
            The ensemble, whose members keep the names, weights and steps that ``options`` give to the candidates.

        Raises:
            ValueError: the numbers of candidates and scores differ, there are fewer than k, or ``mode`` is missing.
        """
        direction = Direction.of("Ensemble.best", "scores", mode)
        if len(candidates) != len(scores):
            raise ValueError(f"Ensemble.best: expected a score a candidate; got {len(scores)} for {len(candidates)}")
        if checks.count("Ensemble.best", "k", k) > len(candidates):
            raise ValueError(f"Ensemble.best: expected at least k={k} candidates; got {len(candidates)}")
        chosen = np.argsort(direction.costs(scores), kind="stable")[:k].tolist()
        own = {"names": [f"member {i}" for i in range(len(candidates))], **options}
        for name in ("names", "weights", "steps"):
            if own.get(name) is not None:
                own[name] = [own[name][i] for i in chosen]
        return cls(net, [candidates[i] for i in chosen], **own)

    def __repr__(self) -> str:
        return f"Ensemble({len(self)} members, {self._net!r})"

    def reweighted(self, weights: Sequence[float] | np.ndarray) -> "Ensemble":
        """Return an ensemble of the same members with other weights; members of weight 0 are left out.

        Args:
            weights: shape (K,), at least 0 and not all 0.
        """
        checked = as_weights(weights, len(self))
        kept = np.flatnonzero(checked)
        return Ensemble(
            self._net,
            [(self.params[i], self.buffers[i]) for i in kept],
            names=[self.names[i] for i in kept],
            weights=checked[kept],
            steps=None if self.steps is None else [self.steps[i] for i in kept],
            all_steps=self.all_steps,  # members that are left out were trained as well
        )

    # Weights ---------------------------------------------------------------------------------------------

    def select(
        self,
        x: Any,
        y: Any,
        *,
        metric: str | Metric | None = None,
        mode: str | None = None,
        rounds: int | None = None,
        first: int = 1,
    ) -> "Ensemble":
        """Return an ensemble of members chosen greedily on validation data. See ``select_greedily``.

        Args:
            x, y: validation data.
            metric: None for the nets' own loss of the result of ``predict``, which is the log loss for
                SoftmaxCrossEntropy; ``"log_loss"`` for nets with SoftmaxCrossEntropy; ``"accuracy"`` for nets that
                choose among classes; or a function.
            mode, rounds, first: see ``select_greedily``.
        """
        ways = answers.ways(self._loss)
        has = {"log_loss": isinstance(self._loss, SoftmaxCrossEntropy), "accuracy": "votes" in ways}
        if metric is None:
            if mode is not None:
                raise ValueError(f"Ensemble.select: expected mode only with metric=...; got mode={mode!r} alone")
            mode = "min"
            metric = "log_loss" if answers.judge("Ensemble.select", self._loss) is None else self._loss_of
        elif isinstance(metric, str) and not has.get(metric, True):
            raise ValueError(f"Ensemble.select: expected a metric that nets with {self._loss} have; got {metric!r}")
        outputs = answers.in_way(ways[0], self.scores(x), self._loss)
        return self.reweighted(select_greedily(outputs, y, metric=metric, mode=mode, rounds=rounds, first=first))

    def _loss_of(self, together: np.ndarray, y: Any) -> float:
        """Return the nets' own loss of a result of ``predict``."""
        assert self._loss is not None
        return self._loss(answers.entry(together, self._loss, answers.ways(self._loss)[0]), y)

    def weigh(self, x: Any, y: Any) -> "Ensemble":
        """Return an ensemble with the weights of least log loss on validation data. See ``mixture_weights``.

        Args:
            x: validation samples, shape (n, *input_shape).
            y: their labels, integers (n,).

        Raises:
            ValueError: the nets have another loss than SoftmaxCrossEntropy.
        """
        if answers.judge("Ensemble.weigh", self._loss) is not None:
            raise ValueError(f"Ensemble.weigh: expected nets with SoftmaxCrossEntropy; got some with {self._loss}")
        return self.reweighted(mixture_weights(self.probabilities(x), y))

    # Judging ---------------------------------------------------------------------------------------------

    def evaluate(self, x: Any, y: Any, how: str | None = None) -> dict[str, float]:
        """Evaluate the combined prediction.

        Args:
            x: samples, shape (n, *input_shape).
            y: targets, as the loss of the nets takes them, such as labels (n,).
            how: the way of ``predict``; None for the first that the nets have.

        Returns:
            ``"accuracy"``, ``"log_loss"`` and ``"ece"``; for votes ``"accuracy"`` only. For nets with another loss than
            SoftmaxCrossEntropy, ``"data_loss"``, and ``"accuracy"`` if the loss classifies.
        """
        how = answers.check_way("Ensemble", self._loss, how)
        comparison = Comparison({"": self._judged(x, how)}, y, loss=answers.judge("Ensemble", self._loss))
        found = {metric: comparison.value("", metric) for metric in comparison.metrics}
        return {metric: value for metric, value in found.items() if not math.isnan(value)}

    def _judged(self, x: Any, how: str) -> np.ndarray:
        """Return an entry for a Comparison: probabilities, scores, or the classes of votes."""
        return self.classify(x, how) if how == "votes" else answers.entry(self.predict(x, how), self._loss, how)

    def compare(
        self,
        x: Any,
        y: Any,
        *,
        how: Sequence[str] | None = None,
        beside: Mapping[str, "Net | Ensemble"] | None = None,
        reference: str | None = None,
        steps: Mapping[str, int] | None = None,
        bins: int = BINS,
        seed: int = 0,
    ) -> Comparison:
        """Compare every member, the ensemble and other nets on the same held-out data.

        Args:
            x, y: held-out data.
            how: ways of ``predict``; None for all that the nets have.
            beside: name -> nets with the same loss, or ensembles of such nets, which predict in their default way; for
                example one net that was trained as long as all members together.
            reference: entry that differences are taken from. None for the member that one would use alone: the member
                that was trained longest (the last of snapshots), or the first of several such.
            steps: name -> training steps of the entries ``beside``.
            bins, seed: see ``Comparison``.

        Returns:
            A ``Comparison`` with an entry for each member, one for each way, such as ``"ensemble, probabilities"``, and
            those ``beside``.

        Raises:
            ValueError: a name beside is taken, or nets beside have another loss.
        """
        loss = answers.judge("Ensemble", self._loss)
        entries = {
            name: answers.entry(scores, self._loss) for name, scores in zip(self.names, self.scores(x), strict=True)
        }
        known = dict(zip(self.names, self.steps, strict=True)) if self.steps is not None else {}
        if reference is None:
            reference = max(self.names, key=lambda name: known.get(name, 0))
        for way in answers.ways(self._loss) if how is None else how:
            entries[f"ensemble, {way}"] = self._judged(x, answers.check_way("Ensemble", self._loss, way))
            if self.all_steps is not None:
                known[f"ensemble, {way}"] = self.all_steps
        for name, other in (beside or {}).items():
            if name in entries:
                raise ValueError(f"Ensemble.compare: expected names beside other than {tuple(entries)}; got {name!r}")
            theirs = other._loss if isinstance(other, Ensemble) else other.loss_function
            if answers.judge("Ensemble.compare", theirs) != loss:
                raise ValueError(f"Ensemble.compare: expected {name!r} to have {self._loss}; got {theirs}")
            if isinstance(other, Ensemble):
                entries[name] = other._judged(x, answers.ways(theirs)[0])
                known |= {} if other.all_steps is None else {name: other.all_steps}
            else:
                entries[name] = answers.entry(other.predict(x), theirs)
        return Comparison(
            entries,
            y,
            loss=loss,
            reference=reference,
            steps=known | dict(steps or {}),
            members=self.names,
            bins=bins,
            seed=seed,
        )

    # Files -----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write all members to one safetensors file, whole or not at all; ``ensemble/files.py`` has the format.

        Args:
            path: path of the file, in a folder that exists.

        Raises:
            OSError: the file cannot be written.
        """
        arrays = {"params": self.params, "buffers": self.buffers}
        about = {
            "names": self.names,
            "weights": self.weights.tolist(),
            "steps": self.steps,
            "all_steps": self.all_steps,
        }
        write(path, self._net, arrays, about)

    @classmethod
    def load(cls, path: str | Path, net: Net) -> "Ensemble":
        """Read a file of ``save``.

        Args:
            path: path of the file.
            net: a net of the same architecture; its weights do not matter.

        Returns:
            The ensemble that was saved, with the same bits.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, is of another kind or version, has values that no net has, or is of other
                networks than ``net``; the message says what differs.
        """
        arrays, about = read(Path(path), net)
        members = list(zip(arrays["params"], arrays["buffers"], strict=True))
        kept = {name: about[name] for name in ("names", "weights", "steps", "all_steps")}
        try:
            ensemble = cls(net, members, **kept)
        except (ValueError, TypeError, OverflowError) as error:
            raise CheckpointError(f"Ensemble.load: expected an ensemble in {path}; got one refused: {error}") from None
        if abs(math.fsum(kept["weights"]) - 1) < 1e-9:
            ensemble.weights = np.array(kept["weights"], np.float64)  # dividing again may change bits
        return ensemble
