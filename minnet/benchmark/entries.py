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
    """Return the same rate for all steps."""
    return Constant(lr)


def cosine(lr: float, steps: int) -> Schedule:
    """Return a rate that falls to 0 along half a cosine over the whole run."""
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
        """Return rule and learning rate of a trial."""
        others = {name: value for name, value in config.items() if name != "lr"}
        rule = replace(self.rule, **others) if others else self.rule  # type: ignore[type-var]
        return rule, self.schedule(config["lr"], steps)

    def trials(self, number: int, seed: int) -> list[Config]:
        """Return the first trials.

        They depend on the space, on their number and on the seed, and on no other entrant. Two entries with one space
        have the same trials, so that luck in tuning is the same for both.
        """
        return [self.space.draw(streams.generator(seed, "trials of a benchmark", i)) for i in range(number)]


_MOMENTA, _BETA2 = Uniform(0.5, 0.99), Uniform(0.9, 0.9999)
_LARGE, _MIDDLE, _SMALL = Log(1e-3, 10.0), Log(1e-4, 1.0), Log(1e-5, 0.3)


def published() -> list[Entry]:
    """Return an entry for each of minnet's rules, and for combinators that are used with them.

    The rate is tuned for all. A rule whose momentum is commonly tuned has it in its space. All other hyper-parameters
    have the values of their publication. The rate falls along a cosine, except for rules that come without a schedule.
    """
    momentum, adam = rules.Momentum(0.9), rules.Adam()
    rate = {"large": Space(lr=_LARGE), "middle": Space(lr=_MIDDLE), "small": Space(lr=_SMALL)}
    return [
        Entry("SGD", rules.SGD(), rate["large"]),
        Entry("SGD, constant rate", rules.SGD(), rate["large"], constant),
        Entry("Momentum", momentum, rate["middle"]),
        Entry("Momentum, tuned", momentum, Space(lr=_MIDDLE, momentum=_MOMENTA)),
        Entry("Nesterov", rules.Nesterov(0.9), rate["middle"]),
        Entry("NesterovLookAhead", rules.NesterovLookAhead(0.9), rate["middle"]),
        Entry("Adagrad", rules.Adagrad(), rate["middle"]),
        Entry("Adadelta", rules.Adadelta(), Space(lr=Log(1e-2, 100.0))),
        Entry("RMSprop", rules.RMSprop(), rate["small"]),
        Entry("RMSpropMomentum", rules.RMSpropMomentum(), rate["small"]),
        Entry("RMSpropCentred", rules.RMSpropCentred(), rate["small"]),
        Entry("RMSpropCentredMomentum", rules.RMSpropCentredMomentum(), rate["small"]),
        Entry("Adam", adam, rate["small"]),
        Entry("Adam, constant rate", adam, rate["small"], constant),
        Entry("Adam, beta2 tuned", adam, Space(lr=_SMALL, beta2=_BETA2)),
        Entry("Adam, no bias correction", rules.Adam(bias_correction=False), rate["small"]),
        Entry("AMSGrad", rules.AMSGrad(), rate["small"]),
        Entry("AdaMax", rules.AdaMax(), rate["small"]),
        Entry("NAdam", rules.NAdam(), rate["small"]),
        Entry("RAdam", rules.RAdam(), rate["small"]),
        Entry("Lion", rules.Lion(), Space(lr=Log(1e-6, 0.03))),
        Entry("Adafactor", rules.Adafactor(), rate["small"]),
        Entry("LARS", rules.LARS(), Space(lr=Log(1e-1, 1000.0))),
        Entry("LAMB", rules.LAMB(), rate["middle"]),
        Entry("Muon", rules.Muon(), rate["middle"]),
        Entry("ScheduleFreeSGD", rules.ScheduleFreeSGD(), rate["large"], constant),
        Entry("ScheduleFreeAdamW", rules.ScheduleFreeAdamW(), rate["small"], constant),
        Entry("LookAhead(Adam)", rules.LookAhead(adam), rate["small"]),
        Entry("ClipNorm(Momentum)", rules.ClipNorm(momentum, 1.0), rate["middle"]),
        Entry("AdaptiveClip(Momentum)", rules.AdaptiveClip(momentum), rate["middle"]),
        Entry("GradientNoise(Momentum)", rules.GradientNoise(momentum), rate["middle"]),
        Entry("L-BFGS", rules.LBFGS(), Space(lr=Uniform(0.5, 1.5)), constant),
    ]


def chosen(names: list[str]) -> list[Entry]:
    """Return published entries by name, and entries of modules as ``module:name`` for a class or an ``Entry``.

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
