"""Spaces of hyper-parameters: ranges on linear and logarithmic scales, choices, and what depends on a choice."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ..base import checks


class Config(Mapping[str, Any]):
    """One point of a space: ``config.lr`` and ``config["lr"]`` are the same value. It cannot be changed.

    Args:
        values: value by name.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_values":
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"Config: expected one of {', '.join(self._values)}; got {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Config: expected no change of {name}; replace(**values) returns another configuration")

    def __reduce__(self) -> tuple[Any, ...]:
        return Config, (self._values,)

    def __hash__(self) -> int:
        return hash(tuple(sorted((name, repr(value)) for name, value in self._values.items())))

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def replace(self, **values: Any) -> "Config":
        """Return a configuration with other values for some names.

        Args:
            values: values by name, also of names that the configuration does not have.
        """
        return Config({**self._values, **values})


class Range:
    """Base class of ranges. ``unit`` maps a value to 0..1 on the scale of the range, and ``value`` maps it back."""

    def unit(self, value: Any) -> float:
        """Return the place of a value between the ends of the range, 0 to 1.

        Args:
            value: a value of the range.
        """
        raise NotImplementedError

    def value(self, unit: float) -> Any:
        """Return the value at a place between the ends, 0 to 1.

        Args:
            unit: the place, from 0 to 1.
        """
        raise NotImplementedError

    def contains(self, value: Any) -> bool:
        """Return whether the value is in the range.

        Args:
            value: any object.
        """
        raise NotImplementedError

    def clip(self, value: Any) -> Any:
        """Return the value of the range that is nearest to ``value``, which is itself if it lies within.

        Args:
            value: any number.
        """
        return value if self.contains(value) else self.value(min(max(self.unit(value), 0.0), 1.0))

    def grid(self, n: int) -> list[Any]:
        """Return n values, evenly spaced on the scale of the range, with both ends; the middle if n is 1.

        Args:
            n: number of values, at least 1.
        """
        units = np.linspace(0.0, 1.0, n) if n > 1 else [0.5]
        return list(dict.fromkeys(self.value(float(unit)) for unit in units))

    def narrowed(self, values: list[Any]) -> "Range":
        """Return the part of the range from the least to the largest of some values, a tenth of it wider.

        Args:
            values: values of the range, at least one.
        """
        raise NotImplementedError

    @property
    def ordered(self) -> bool:
        """Whether the range has two ends."""
        return True


def _ends(who: str, low: Any, high: Any) -> None:
    checks.number(who, "low", low)
    checks.number(who, "high", high)
    if not low < high:
        raise ValueError(f"{who}: expected low < high; got low={low!r}, high={high!r}")


def _part(places: list[float]) -> tuple[float, float]:
    """Return the ends of a narrowed range as places between the ends of the old one."""
    margin = max(0.1 * (max(places) - min(places)), 0.02)
    return max(min(places) - margin, 0.0), min(max(places) + margin, 1.0)


@dataclass(frozen=True)
class Uniform(Range):
    """Numbers from ``low`` to ``high``, evenly distributed.

    Args:
        low, high: the ends, which belong to the range.

    Raises:
        ValueError: ``low`` is not below ``high``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _ends("Uniform", self.low, self.high)

    def unit(self, value: Any) -> float:
        return (float(value) - self.low) / (self.high - self.low)

    def value(self, unit: float) -> float:
        return min(max(self.low + unit * (self.high - self.low), float(self.low)), float(self.high))

    def contains(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def narrowed(self, values: list[Any]) -> "Uniform":
        low, high = _part([self.unit(v) for v in values])
        return Uniform(self.value(low), self.value(high))


@dataclass(frozen=True)
class Log(Range):
    """Positive numbers from ``low`` to ``high`` whose logarithms are evenly distributed, as for a learning rate.

    Args:
        low, high: the ends, which belong to the range.

    Raises:
        ValueError: ``low`` is not above 0, or not below ``high``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _ends("Log", self.low, self.high)
        checks.positive("Log", "low", self.low)

    def unit(self, value: Any) -> float:
        return math.log(float(value) / self.low) / math.log(self.high / self.low) if value > 0 else -math.inf

    def value(self, unit: float) -> float:
        if unit <= 0 or unit >= 1:  # exp(log(x)) may differ from x
            return float(self.low if unit <= 0 else self.high)
        value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        return min(max(value, float(self.low)), float(self.high))

    def contains(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def narrowed(self, values: list[Any]) -> "Log":
        low, high = _part([self.unit(v) for v in values])
        return Log(self.value(low), self.value(high))


@dataclass(frozen=True)
class Integer(Range):
    """Whole numbers from ``low`` to ``high``.

    Args:
        low, high: the ends, which belong to the range.
        log: whether the logarithms are evenly distributed, as for a number of units.

    Raises:
        ValueError: ``low`` is not below ``high``, or not above 0 with ``log``.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        checks.whole("Integer", "low", self.low)
        checks.whole("Integer", "high", self.high)
        _ends("Integer", self.low, self.high)
        if checks.truth("Integer", "log", self.log):
            checks.positive("Integer", "low", self.low)

    @property
    def _cells(self) -> Range:
        """The range of real numbers that round to the whole numbers; each gets a cell of its own."""
        return Log(self.low - 0.5, self.high + 0.5) if self.log else Uniform(self.low - 0.5, self.high + 0.5)

    def unit(self, value: Any) -> float:
        return self._cells.unit(value)

    def value(self, unit: float) -> int:
        return min(max(round(self._cells.value(unit)), self.low), self.high)

    def contains(self, value: Any) -> bool:
        return bool(value == int(value) and self.low <= value <= self.high)

    def narrowed(self, values: list[Any]) -> Range:
        low, high = int(min(values)), int(max(values))
        return Integer(low, high, self.log) if low < high else Choice(low)


class Choice(Range):
    """One of a few values, each as likely as the others.

    Args:
        values: numbers, texts, bools or None, all different.

    Raises:
        ValueError: there are no values, or two are equal.
    """

    def __init__(self, *values: Any) -> None:
        if not values:
            raise ValueError("Choice: expected at least one value; got none")
        for value in values:
            if value is not None and not isinstance(value, bool | int | float | str):
                raise TypeError(
                    f"Choice: expected numbers, texts, True, False or None; got {value!r}. Choose a name, and let "
                    "build make the object"
                )
        if len({repr(value) for value in values}) < len(values):
            raise ValueError(f"Choice: expected different values; got {values}")
        self.values = values

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.values))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def unit(self, value: Any) -> float:
        return (self.values.index(value) + 0.5) / len(self.values)

    def value(self, unit: float) -> Any:
        return self.values[min(max(int(unit * len(self.values)), 0), len(self.values) - 1)]

    def contains(self, value: Any) -> bool:
        return value in self.values

    def clip(self, value: Any) -> Any:
        if value not in self.values:
            raise ValueError(f"Choice: expected one of {self.values}; got {value!r}")
        return value

    def grid(self, n: int) -> list[Any]:
        """Return all values, for any n."""
        return list(self.values)

    def narrowed(self, values: list[Any]) -> "Choice":
        return Choice(*(value for value in self.values if value in values))

    @property
    def ordered(self) -> bool:
        return False


class When:
    """A range for a parameter that exists only for some values of another one.

    ``Space(rule=Choice("sgd", "momentum"), momentum=When("rule", "momentum", Uniform(0.5, 0.99)))``

    Args:
        other: name of the other parameter, which stands before this one in the space.
        values: a value of the other parameter, or a tuple of them.
        range: the range of this parameter.
    """

    def __init__(self, other: str, values: Any, range: Range) -> None:
        if not isinstance(other, str):
            raise TypeError(f"When: expected the name of another parameter; got {other!r}")
        if not isinstance(range, Range):
            raise TypeError(f"When: expected a range, such as Log(1e-5, 1.0); got {range!r}")
        self.other, self.values, self.range = other, values if isinstance(values, tuple) else (values,), range

    def __repr__(self) -> str:
        return f"When({self.other!r}, {self.values!r}, {self.range!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, When) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def exists(self, config: Mapping[str, Any]) -> bool:
        """Return whether the parameter exists for a configuration.

        Args:
            config: values by name.
        """
        return self.other in config and config[self.other] in self.values


class Space:
    """Ranges of hyper-parameters by name.

    Args:
        ranges: ``Uniform``, ``Log``, ``Integer``, ``Choice`` or ``When`` by name.

    Raises:
        ValueError: there are no ranges, or ``When`` names no earlier parameter.
    """

    def __init__(self, **ranges: Range | When) -> None:
        if not ranges:
            raise ValueError("Space: expected at least one range, such as lr=Log(1e-5, 1.0); got none")
        for i, (name, given) in enumerate(ranges.items()):
            if not isinstance(given, Range | When):
                raise TypeError(f"Space: expected {name} to be a range, such as Log(1e-5, 1.0); got {given!r}")
            if isinstance(given, When) and given.other not in list(ranges)[:i]:
                raise ValueError(f"Space: expected {name} to depend on a parameter before it; got {given!r}")
        self.ranges = ranges

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{name}={given!r}' for name, given in self.ranges.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def plain(self, name: str) -> Range:
        """Return the range of a parameter, without its condition.

        Args:
            name: name of the parameter.

        Raises:
            KeyError: there is no such parameter.
        """
        given = self.ranges[name]
        return given.range if isinstance(given, When) else given

    def _existing(self, name: str, config: Mapping[str, Any]) -> bool:
        given = self.ranges[name]
        return not isinstance(given, When) or given.exists(config)

    def draw(self, generator: np.random.Generator) -> Config:
        """Return a configuration, each parameter drawn on its scale.

        The number of random numbers is the same for every configuration, one for each range.

        Args:
            generator: source of the random numbers.
        """
        places = dict(zip(self.ranges, generator.random(len(self.ranges)), strict=True))
        return self._config({name: [self.plain(name).value(float(places[name]))] for name in self.ranges})[0]

    def grid(self, n: int | Mapping[str, int]) -> list[Config]:
        """Return all combinations of values of the parameters.

        Choices take all their values. A parameter that does not exist for a configuration adds no combinations.

        Args:
            n: number of values of each parameter, at least 1: one number for all, or numbers by name.

        Raises:
            TypeError, ValueError: a number is not whole or below 1, or names are missing or unknown.
        """
        sizes = n if isinstance(n, Mapping) else dict.fromkeys(self.ranges, n)
        missing = [name for name in self.ranges if self.plain(name).ordered and name not in sizes]
        unknown = [name for name in sizes if name not in self.ranges]
        if missing or unknown:
            raise ValueError(f"Space.grid: expected numbers for {', '.join(self.ranges)}; got {dict(sizes)}")
        for name in sizes:
            checks.count("Space.grid", f"n of {name}", sizes[name])
        return self._config({name: self.plain(name).grid(sizes.get(name, 1)) for name in self.ranges})

    def _config(self, values: Mapping[str, list[Any]]) -> list[Config]:
        """Return all combinations of values, without parameters that do not exist, each once."""
        found: dict[str, Config] = {}
        for combination in product(*values.values()):
            config: dict[str, Any] = {}
            for name, value in zip(values, combination, strict=True):
                if self._existing(name, config):
                    config[name] = value
            found.setdefault(repr(config), Config(config))
        return list(found.values())

    def contains(self, config: Mapping[str, Any]) -> bool:
        """Return whether a configuration has the parameters that it should have, each within its range.

        Args:
            config: values by name.
        """
        expected = [name for name in self.ranges if self._existing(name, config)]
        return sorted(config) == sorted(expected) and all(self.plain(name).contains(config[name]) for name in expected)

    def clip(self, config: Mapping[str, Any]) -> Config:
        """Return a configuration with each number moved into its range, if it lies outside.

        Args:
            config: values by name.

        Raises:
            ValueError: a name is no parameter of the space.
        """
        unknown = [name for name in config if name not in self.ranges]
        if unknown:
            raise ValueError(f"Space.clip: expected parameters {', '.join(self.ranges)}; got {unknown}")
        return Config({name: self.plain(name).clip(value) for name, value in config.items()})

    def narrowed(self, configs: list[Config]) -> "Space":
        """Return the part of the space around some configurations, a tenth wider on each side on each scale.

        Args:
            configs: at least one. A parameter that none of them has is left out.

        Raises:
            ValueError: there are none.
        """
        if not configs:
            raise ValueError("Space.narrowed: expected at least one configuration; got none")
        ranges: dict[str, Range | When] = {}
        for name, given in self.ranges.items():
            values = [config[name] for config in configs if name in config]
            if not values:  # no configuration has this parameter, so its condition may no longer be met
                continue
            plain = self.plain(name).narrowed(values)
            ranges[name] = When(given.other, given.values, plain) if isinstance(given, When) else plain
        return Space(**ranges)
