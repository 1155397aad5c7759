"""What all rules of a benchmark have in common: how often each is tuned, and the seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..base import checks


@dataclass(frozen=True)
class Protocol:
    """How each rule is tuned and reported.

    Args:
        tuning: number of trials per rule and problem, drawn from the rule's own space.
        choosing: seeds on which the best trial is chosen.
        reporting: seeds on which the chosen trial is reported. None of them may be used for choosing.
        seed: seed of the trials' hyper-parameters.

    Raises:
        ValueError: a budget of zero, no seeds, a seed twice, or a seed for both purposes.
    """

    tuning: int = 20
    choosing: Sequence[int] = (0, 1)
    reporting: Sequence[int] = range(100, 110)
    seed: int = 0

    def __post_init__(self) -> None:
        checks.count("Protocol", "tuning", self.tuning)
        checks.count("Protocol", "seed", self.seed, least=0)
        for name in ("choosing", "reporting"):
            seeds = tuple(checks.count("Protocol", f"each seed of {name}", s, least=0) for s in getattr(self, name))
            if not seeds or len(set(seeds)) < len(seeds):
                raise ValueError(f"Protocol: expected one seed or more for {name}, each once; got {seeds}")
            object.__setattr__(self, name, seeds)
        shared = sorted(set(self.choosing) & set(self.reporting))
        if shared:
            raise ValueError(
                f"Protocol: expected seeds for reporting that choose nothing; got {shared} for both. The best trial on "
                "a seed looks better on this seed than it is"
            )
