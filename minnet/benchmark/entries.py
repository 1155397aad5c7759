"""Entrants of a benchmark: a rule, the space in which it is tuned, and its schedule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..base import streams
from ..experiments.spaces import Config, Log, Space, Uniform
from ..optim import rules
from ..optim.rules import Rule
from ..schedules import Constant, Cosine, Schedule

Plan = Callable[[float, int], Schedule]


def constant(lr: float, steps: int) -> Schedule:
    """Return the same rate for all steps.

    Args:
        lr: rate of the first step.
        steps: number of steps of the run.

    Returns:
        A constant schedule.
    """
    return Constant(lr)


def cosine(lr: float, steps: int) -> Schedule:
    """Return a rate that falls to 0 along half a cosine over the whole run.

    Args:
        lr: rate of the first step.
        steps: number of steps of the run.

    Returns:
        ``schedules.Cosine(lr, steps)``.
    """
    return Cosine(lr, steps)


@dataclass(frozen=True)
class Entry:
    """A rule that takes part in a benchmark.

    Args:
        name: name, which is unique among the entries of a benchmark.
        rule: the rule.
        space: the ranges in which the rule is tuned. ``lr`` is the learning rate; every other name is a hyper-parameter
            of the rule, which takes the drawn value.
        schedule: function (lr, steps) -> schedule of the learning rate, in a module. ``cosine`` and ``constant`` are
            in ``minnet.benchmark``.

    Raises:
        TypeError, ValueError: the space has no ``lr``, or names what the rule does not have.
    """

    name: str
    rule: Rule
    space: Space
    schedule: Plan = cosine

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Rule):
            raise TypeError(f"Entry {self.name}: expected a rule such as Adam(); got {self.rule!r}")
        if not isinstance(self.space, Space):
            raise TypeError(f"Entry {self.name}: expected a space such as Space(lr=Log(1e-5, 1.0)); got {self.space!r}")
        known = {field.name for field in fields(self.rule)}  # type: ignore[arg-type]  # rules are dataclasses
        unknown = [name for name in self.space.ranges if name not in {"lr", *known}]
        if "lr" not in self.space.ranges or unknown:
            raise ValueError(
                f"Entry {self.name}: expected a space of lr and hyper-parameters among {sorted(known)}; "
                f"got {', '.join(self.space.ranges)}"
            )

    def tuned(self, config: Mapping[str, Any], steps: int) -> tuple[Rule, Schedule]:
        """Return rule and learning rate of a trial.

        Args:
            config: ``"lr"`` and hyper-parameters of the rule by name.
            steps: number of steps of the run, for the schedule.
        """
        others = {name: value for name, value in config.items() if name != "lr"}
        rule = replace(self.rule, **others) if others else self.rule  # type: ignore[type-var]
        return rule, self.schedule(config["lr"], steps)

    def trials(self, number: int, seed: int) -> list[Config]:
        """Return the first trials.

        They depend on the space, on their number and on the seed, and on no other entrant. Two entries with one space
        have the same trials, so that luck in tuning is the same for both.

        Args:
            number: number of trials.
            seed: seed of the draws.
        """
        return [self.space.draw(streams.generator(seed, "trials of a benchmark", i)) for i in range(number)]


_MOMENTA, _BETA2 = Uniform(0.5, 0.99), Uniform(0.9, 0.9999)
# Six decades each, so that no rule has an easier search than others. Where they lie was found by runs on *small*, first
# with one seed, then by the edges that the best rates of five decades lay at. A remark says where they still do.
_RATES = {
    "small": Log(1e-5, 10.0),
    "middle": Log(1e-4, 100.0),
    "large": Log(1e-3, 1000.0),
    "huge": Log(1e-2, 10000.0),
}


def published() -> list[Entry]:
    """Return an entry for each of minnet's rules, and for combinators that are used with them.

    The rate is tuned for all. A rule whose momentum is commonly tuned has it in its space. All other hyper-parameters
    have the values of their publication. The rate falls along a cosine, except for rules that come without a schedule.

    Returns:
        The entries, each with a name of its own.
    """
    momentum, adam = rules.Momentum(0.9), rules.Adam()
    small, middle, large, huge = (Space(lr=rates) for rates in _RATES.values())
    return [
        Entry("SGD", rules.SGD(), middle),
        Entry("SGD, constant rate", rules.SGD(), middle, constant),
        Entry("Momentum", momentum, middle),
        Entry("Momentum, tuned", momentum, Space(lr=_RATES["middle"], momentum=_MOMENTA)),
        Entry("Nesterov", rules.Nesterov(0.9), middle),
        Entry("NesterovLookAhead", rules.NesterovLookAhead(0.9), middle),
        Entry("Adagrad", rules.Adagrad(), middle),
        Entry("Adadelta", rules.Adadelta(), huge),
        Entry("RMSprop", rules.RMSprop(), small),
        Entry("RMSpropMomentum", rules.RMSpropMomentum(), small),
        Entry("RMSpropCentred", rules.RMSpropCentred(), small),
        Entry("RMSpropCentredMomentum", rules.RMSpropCentredMomentum(), small),
        Entry("Adam", adam, middle),
        Entry("Adam, constant rate", adam, middle, constant),
        Entry("Adam, beta2 tuned", adam, Space(lr=_RATES["middle"], beta2=_BETA2)),
        Entry("Adam, no bias correction", rules.Adam(bias_correction=False), small),
        Entry("AMSGrad", rules.AMSGrad(), small),
        Entry("AdaMax", rules.AdaMax(), middle),
        Entry("NAdam", rules.NAdam(), middle),
        Entry("RAdam", rules.RAdam(), large),
        Entry("Lion", rules.Lion(), small),
        Entry("Adafactor", rules.Adafactor(), large),
        Entry("LARS", rules.LARS(), large),
        Entry("LAMB", rules.LAMB(), middle),
        Entry("Muon", rules.Muon(), middle),
        Entry("ScheduleFreeSGD", rules.ScheduleFreeSGD(), large, constant),
        Entry("ScheduleFreeAdamW", rules.ScheduleFreeAdamW(), middle, constant),
        Entry("LookAhead(Adam)", rules.LookAhead(adam), middle),
        Entry("ClipNorm(Momentum)", rules.ClipNorm(momentum, 1.0), middle),
        Entry("AdaptiveClip(Momentum)", rules.AdaptiveClip(momentum), large),
        Entry("GradientNoise(Momentum)", rules.GradientNoise(momentum), middle),
        Entry("L-BFGS", rules.LBFGS(), Space(lr=Uniform(0.5, 1.5)), constant),
    ]


def chosen(names: list[str]) -> list[Entry]:
    """Return published entries by name, and entries of modules as ``module:name`` for a class or an ``Entry``.

    Args:
        names: names of published entries, such as ``"Adam"``, or ``module:name``.

    Returns:
        The entries, in the given order.

    Raises:
        ValueError: for an unknown name, with those that there are.
    """
    known, found = {entry.name: entry for entry in published()}, []
    for name in names:
        if ":" in name:
            found.append(_of_module(name))
        elif name in known:
            found.append(known[name])
        else:
            raise ValueError(f"benchmark: expected module:name or one of the rules {', '.join(known)}; got {name!r}")
    return found


def _of_module(name: str) -> Entry:
    from importlib import import_module

    module, _, attribute = name.partition(":")
    try:
        given = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"benchmark: expected a rule or an Entry at {name}; got {error}") from None
    given = given() if isinstance(given, type) else given
    if isinstance(given, Rule):
        return Entry(attribute, given, Space(lr=Log(1e-5, 10.0)))
    if isinstance(given, Entry):
        return given
    raise ValueError(f"benchmark: expected a rule or an Entry at {name}; got {given!r}")
