"""Population based training (Jaderberg et al. 2017), in generations.

All members train for some steps; then the worst take over the weights of the best and change their hyper-parameters.
A generation is a map of ``advance``, a pure function, over the members. Between generations, ``evolution`` decides from
streams of random numbers that are keyed by seed, generation and member, so nothing depends on who runs what, or when.

The seed of a run travels with its weights. The winner therefore is a plain run, with schedules that are constant within
a generation, and ``fit`` with these schedules has the same bits.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..base import checks
from ..net.description import differences
from ..training import Trainer
from ..training.description import compare, describe_net, describe_order
from ..training.direction import Direction
from ..training.resume import branch_off
from ..training.saved import Saved
from .evolution import Member, check_space, first, next_generation, ranked
from .lineage import PopulationResult
from .progress import ProgressLine
from .sources import sources
from .spaces import Config, Space
from .store import Store
from .trials import Build, check_build, describe, run_until
from .units import DONE, Outcome, Unit, digest
from .workers import Engine, Executor


@dataclass(frozen=True)
class Population:
    """The settings of population based training.

    Args:
        size: number of members.
        generations: number of generations.
        steps: number of steps of a generation. A run has ``generations * steps`` steps.
        share: share of the members that are replaced after each generation, and of those that they copy, in (0, 0.5].
            size * share is rounded down and must be at least 1.
        factor: a hyper-parameter is changed by multiplying it by ``factor`` or 1 / ``factor``, above 1.
        seed: seed of all decisions, at least 0.

    Raises:
        ValueError: a value is out of its range, or the population is smaller than its share needs.
    """

    size: int = 8
    generations: int = 10
    steps: int = 100
    share: float = 0.25
    factor: float = 1.25
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "generations", "steps"):
            checks.count("Population", name, getattr(self, name))
        checks.count("Population", "seed", self.seed, 0)
        checks.positive("Population", "share", self.share)
        checks.positive("Population", "factor", self.factor)
        if self.share > 0.5:
            raise ValueError(
                f"Population: expected share of at most 0.5, as none may be both copied and replaced; got {self.share}"
            )
        if self.replaced < 1:
            raise ValueError(
                f"Population: expected at least {math.ceil(1 / self.share)} members, so that a share of {self.share} "
                f"is one of them; got size={self.size}"
            )
        if not 1 < self.factor < math.inf:
            raise ValueError(f"Population: expected a finite factor above 1; got {self.factor}")

    @property
    def replaced(self) -> int:
        """Number of members that are replaced after each generation."""
        return int(self.size * self.share)


def advance(
    build: Build, config: Config, seed: int, steps: int, metric: str, state: bytes | None
) -> tuple[dict[str, Any], bytes | None]:
    """Train a member for one generation; the function of its unit.

    It differs from ``trials.train`` in ``state``, which may be that of a member with another configuration: all
    hyper-parameters are those of ``config``.
    """
    trainer = build(config, seed)
    check_build(trainer, metric, steps)
    if state is not None:
        saved = Saved.of(state)
        compare(saved.path, "net", saved.get("net"), describe_net(trainer.net))  # with l2, which no schedule could vary
        branch_off(trainer, saved)
    return run_until(trainer, steps, metric, keep=True)


def pbt(
    build: Build,
    space: Space,
    population: Population | None = None,
    *,
    metric: str = "val_loss",
    mode: str | None = None,
    store: str | Path | None = None,
    workers: int = 0,
    executor: Executor | None = None,
    threads: int = 1,
    limit: float | None = None,
    progress: bool | None = None,
) -> PopulationResult:
    """Train a population of runs, and return its winner, as a plain run, and the lineage of all members.

    Args:
        build: ``build(config, seed)`` returns a Trainer of ``generations * steps`` steps, whose net and data have this
            seed. ``config`` may decide the learning rate and whatever else may be a schedule: weight decay, clip_norm,
            hyper-parameters of rules, rates of groups. To use processes, it must be a function of a module.
        space: ranges of the hyper-parameters, of numbers only.
        population: the settings; ``Population()`` by default.
        metric: the figure that selects: a column of the epochs' rows.
        mode: ``"min"`` or ``"max"``, whether small or large figures are better; None for minnet's own figures.
        store: path of a file that keeps every result, with the states of all members. Called again, the training goes
            on from there, also after it was killed. None keeps them in memory.
        workers, executor, threads, limit: see ``Engine``.
        progress: as in ``Study.run``.

    Returns:
        A ``PopulationResult``: the winner, its net, and the lineage.

    Raises:
        TypeError, ValueError: an argument is wrong, the space has parameters without a numeric range, or ``build``
            makes a run of another length.
        StoreError: the store is of another population, damaged, in use, or cannot be written.
        RuntimeError: all members of a generation have failed.
    """
    population = Population() if population is None else population
    members, direction, subject = _prepared(build, space, population, metric, mode)
    shown = ProgressLine(population.size * population.generations, direction, progress)
    lineage: list[Member] = []
    with Store(store, subject) as kept, Engine(workers, executor, threads=threads, limit=limit) as engine:
        for generation in range(population.generations):
            steps = (generation + 1) * population.steps
            keys = [
                digest(subject["build"], subject["about"], m.seed, m.path, population.steps, metric) for m in members
            ]
            units = [
                Unit(key, advance, (build, m.config, m.seed, steps, metric, m.state), _columns(m))
                for key, m in zip(keys, members, strict=True)
            ]
            outcomes = {unit.key: outcome for unit, outcome in engine.run(units, kept, shown)}
            members = [m.after(outcomes[key]) for m, key in zip(members, keys, strict=True)]
            _check_alive(members, outcomes)
            lineage += [replace(m, state=None) for m in members]  # states are large
            if generation + 1 < population.generations:
                members = next_generation(members, space, population, direction)
    best = ranked(members, direction)[0]
    return PopulationResult(build, population, metric, direction.mode, tuple(lineage), best)


def _prepared(
    build: Build, space: Space, population: Population, metric: str, mode: str | None
) -> tuple[list[Member], Direction, dict[str, Any]]:
    """Check all arguments by making trainers of the first configuration and of the ends of the space.

    Returns:
        The members of the first generation, the direction of the metric, and what a store is of: all that decides the
        results.
    """
    if not isinstance(population, Population):
        raise TypeError(f"pbt: expected a Population; got {population!r}")
    check_space(space)
    if not callable(build):
        raise TypeError(f"pbt: expected a function build(config, seed); got {build!r}")
    direction = Direction.of("pbt", metric, mode)
    members = first(space, population.size, population.seed)
    ends = [Config({name: space.plain(name).value(end) for name in space.ranges}) for end in (0.0, 1.0)]
    trainer = _checked(build, [members[0].config, *ends], members[0].seed, metric, population)
    subject = {
        **{"kind": "population", "build": sources(build), "space": repr(space), "metric": metric},
        **{"mode": direction.mode, "population": asdict(population), "about": describe(trainer)},
    }
    return members, direction, subject


def _checked(build: Build, configs: list[Config], seed: int, metric: str, population: Population) -> Trainer:
    """Return the trainer of the first configuration that has one, after comparing those of all configurations.

    A configuration that fails costs itself only. If all of them fail, the first error is raised.
    """
    trainers, errors = [], []
    for config in configs:
        try:
            trainers.append(build(config, seed))
        except Exception as error:
            errors.append(error)
    if not trainers:
        raise errors[0]
    for trainer in trainers:
        check_build(trainer, metric, None)
    whole = population.generations * population.steps
    if trainers[0].steps != whole:
        raise ValueError(
            f"pbt: expected build to make a run of {whole} steps, {population.generations} generations of "
            f"{population.steps}; got one of {trainers[0].steps}"
        )
    descriptions = [
        {
            **{"steps": trainer.steps, "net": describe_net(trainer.net), "batches": describe_order(trainer)},
            "state of the rule": trainer.optimizer.contents(),
        }
        for trainer in trainers
    ]
    for other in descriptions[1:]:
        found = differences("", descriptions[0], other, "for one configuration")
        if found:
            raise ValueError(
                "pbt: expected build to vary what a schedule can vary, such as rates, weight decay and "
                "hyper-parameters of rules, and nothing else where seeds are equal; got another for the next "
                f"configuration: {found}"
            )
    return trainers[0]


def _check_alive(members: list[Member], outcomes: dict[str, Outcome]) -> None:
    if all(member.status != DONE for member in members):
        words = next(iter(outcomes.values())).words
        raise RuntimeError(
            f"pbt: expected a member of generation {members[0].generation} that has a figure; got none, as all "
            f"{len(members)} have {members[0].status}. The first said: {words}"
        )


def _columns(member: Member) -> dict[str, Any]:
    about = {"generation": member.generation, "member": member.member, "parent": member.parent, "seed": member.seed}
    return about | dict(member.config)
