"""The report of a study: leaders on fresh seeds, which of them are not told apart, edges of ranges, failures.

The figure by which a trial was chosen flatters it: it is the best of many, and part of it is luck. Leaders are
therefore run again with seeds that no trial had, the same for each leader, and compared by a paired bootstrap over the
seeds. The figures remain those of validation data. Test data are for the one configuration that is chosen, once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import streams
from ..base.shown import Shown
from ..ensemble.bootstrap import resampled, simultaneous_widths
from ..training.direction import Direction
from .edges import Edge

_DRAWS = 2000


@dataclass(frozen=True)
class Leader:
    """A configuration among the best.

    Attributes:
        name: name of its trial.
        config: the configuration.
        found: the figure of the search, by which it was chosen.
        fresh: figures on fresh seeds, (seeds,); empty if none were run. NaN for a run that failed.
        difference: mean of the fresh figures minus that of the best leader, with a simultaneous 95 % interval
            (difference, low, high); zeros for the best one.
        apart: whether the interval excludes 0.
    """

    name: str
    config: dict[str, Any]
    found: float
    fresh: np.ndarray
    difference: tuple[float, float, float] = (0.0, 0.0, 0.0)
    apart: bool = False


@dataclass(frozen=True)
class Report(Shown):
    """What a study has found, printed as text.

    Attributes:
        metric, mode: the figure, and which values are better.
        leaders: the leaders, the best first: by fresh seeds if there are any, else by the search.
        noise: standard deviation of a leader's figure over fresh seeds, pooled over the leaders; NaN without any.
        flattery: by how much the figure of the first leader in the search was better than its mean on fresh seeds.
        edges: parameters whose best values lie at an edge of their range.
        counts: number of trials by status.
        failures: the first line of what went wrong -> how often.
    """

    metric: str
    mode: str
    leaders: list[Leader]
    noise: float
    flattery: float
    edges: list[Edge]
    counts: dict[str, int]
    failures: dict[str, int]

    @property
    def tied(self) -> list[str]:
        """Names of the leaders that are not told apart from the best."""
        return [leader.name for leader in self.leaders[1:] if not leader.apart]

    def __str__(self) -> str:
        seeds = len(self.leaders[0].fresh) if self.leaders else 0
        lines = [", ".join(f"{count} {status}" for status, count in self.counts.items())]
        lines.append(f"leaders by {self.metric} ({self.mode})" + (f", on {seeds} fresh seeds" if seeds else ""))
        for leader in self.leaders:
            lines.append(f"  {_line(leader, seeds, leader is self.leaders[0])}")
        if seeds:
            tied = ", ".join(self.tied) or "none"
            lines.append(f"not told apart from the best: {tied}")
            lines.append(f"noise floor: standard deviation over seeds {self.noise:.3g}")
            lines.append(
                f"the search flattered its best trial by {self.flattery:.3g}; these are figures of validation data, so "
                "measure the chosen one on test data, once"
            )
        else:
            lines.append("the best of many trials looks better than it is; report(fresh_seeds=10) runs leaders again")
        lines += [f"edge: {edge}" for edge in self.edges] or ["no parameter has its best values at an edge"]
        lines += [f"{count} x {words}" for words, count in self.failures.items()]
        return "\n".join(lines)


def _line(leader: Leader, seeds: int, first: bool) -> str:
    values = ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in leader.config.items()
    )
    text = f"{leader.name}: {values}; search {leader.found:.4g}"
    if not seeds:
        return text
    text += f", fresh {np.nanmean(leader.fresh):.4g}" if np.isfinite(leader.fresh).any() else ", fresh: all failed"
    if first:
        return text
    difference, low, high = leader.difference
    return f"{text}, {difference:+.3g} ({low:+.3g} to {high:+.3g}){'' if leader.apart else ', not told apart'}"


def compared(leaders: Sequence[Leader], direction: Direction, seed: int) -> list[Leader]:
    """Return the leaders by the mean of their fresh figures, the best first, with differences from the best.

    A leader with a failed run comes last and counts as told apart.
    """
    means = np.array([leader.fresh.mean() for leader in leaders])  # NaN if a run failed
    order = np.argsort(direction.costs(means), kind="stable")
    ranked = [leaders[i] for i in order]
    whole = [leader for leader in ranked if np.isfinite(leader.fresh).all()]
    if len(whole) < 2:
        return ranked
    values = np.array([leader.fresh for leader in whole])
    shares = resampled(streams.generator(seed, "draws of a report"), values.shape[1], _DRAWS)
    widths = simultaneous_widths((values[1:] - values[0]) @ shares.T)
    found = [whole[0]]
    for leader, width in zip(whole[1:], widths, strict=True):
        away = float(leader.fresh.mean() - whole[0].fresh.mean())
        limits = away, away - float(width), away + float(width)
        found.append(
            Leader(leader.name, leader.config, leader.found, leader.fresh, limits, limits[1] > 0 or limits[2] < 0)
        )
    failed = [leader for leader in ranked if not np.isfinite(leader.fresh).all()]
    nan = float("nan")
    return found + [Leader(f.name, f.config, f.found, f.fresh, (nan, nan, nan), True) for f in failed]


def noise_of(leaders: Sequence[Leader]) -> float:
    """Return the standard deviation over seeds, pooled over leaders with at least two finite figures; else NaN."""
    finite = [leader.fresh[np.isfinite(leader.fresh)] for leader in leaders]
    spreads = [values.var(ddof=1) for values in finite if len(values) > 1]
    return float(np.sqrt(np.mean(spreads))) if spreads else float("nan")


def counted(statuses_and_words: Sequence[tuple[str, str]]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the numbers of trials by status, and of failures by the first line of their words, up to what came."""
    statuses = Counter(status for status, _ in statuses_and_words)
    words: Mapping[str, int] = Counter(
        text.partition("\n")[0].partition("; got")[0][:160] for status, text in statuses_and_words if status != "done"
    )
    return dict(statuses), dict(words)
