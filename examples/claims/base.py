"""What a claim is, the list of them, tables of them, and what several tests of claims share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import minnet as mn

HOLDS, FAILS = "holds", "does not hold here"
KINDS = (HOLDS, "depends", FAILS)
SHORT = 100  # characters that a measured figure may have; the rest is for ``details``


@dataclass(frozen=True)
class Source:
    """A text whose claims are tested.

    Attributes:
        code: first letter of the names of its claims.
        title, words: its title, and what it is.
        links: what to read, (words, address): the text itself if its address is known, and the original papers.
    """

    code: str
    title: str
    words: str
    links: tuple[tuple[str, str], ...]


NOTES = Source(
    "N",
    "CS231n notes",
    "the notes on learning and evaluation of Stanford's course CS231n, read in a Chinese translation",
    (
        ("Setting up the data and the model", "https://cs231n.github.io/neural-networks-2/"),
        ("Learning and evaluation", "https://cs231n.github.io/neural-networks-3/"),
        ("Case study: the spiral", "https://cs231n.github.io/neural-networks-case-study/"),
    ),
)
JORDAN = Source(
    "L",
    'Jordan, "Setting the learning rate of your neural network"',
    "a text on range tests, cycles and restarts",
    (
        ("Setting the learning rate of your neural network", "https://www.jeremyjordan.me/nn-learning-rate/"),
        ("Loshchilov and Hutter 2016, SGDR", "https://arxiv.org/abs/1608.03983"),
        ("Huang et al. 2017, snapshot ensembles", "https://arxiv.org/abs/1704.00109"),
        ("Li et al. 2018, loss surfaces", "https://arxiv.org/abs/1712.09913"),
    ),
)
DECAY = Source(
    "D",
    "tutorial on learning-rate decay, Iris with Keras",
    "a tutorial with two runs on Iris; where it prints a formula and describes another, both are tested",
    (("The data, at UCI", "https://doi.org/10.24432/C56C76"),),
)
CYCLES = Source(
    "C",
    'notes on Smith, "Cyclical Learning Rates"',
    "notes on the paper, with a class for PyTorch",
    (("Smith 2015, the paper", "https://arxiv.org/abs/1506.01186"),),
)
CHOOSING = Source(
    "B",
    '"Choosing a Learning Rate"',
    "a text that compares update rules on photographs of 120 breeds of dogs",
    (
        ("Kingma and Ba 2014, Adam", "https://arxiv.org/abs/1412.6980"),
        ("Zeiler 2012, Adadelta", "https://arxiv.org/abs/1212.5701"),
        ("Jaderberg et al. 2017, population based training", "https://arxiv.org/abs/1711.09846"),
    ),
)
COURSE = Source(
    "",
    "reference points",
    "accuracies that the course's case study and assignments name, and one of this project",
    (
        ("CS231n, case study", "https://cs231n.github.io/neural-networks-case-study/"),
        ("CS231n, assignments", "https://cs231n.github.io/"),
    ),
)
SOURCES = (NOTES, JORDAN, DECAY, CYCLES, CHOOSING, COURSE)


@dataclass(frozen=True)
class Effort:
    """What is spent on each claim.

    Args:
        quick: as many seeds as show the claim, so that all claims take one or two minutes; False for more.
        seeds: number of seeds, or of repeated searches, of every claim that has several; None for those of the claim.
        data: folder with ``cifar10/``, for the claims that need it; None if there is none.
    """

    quick: bool = False
    seeds: int | None = None
    data: str | None = None

    def repeats(self, quick: int, full: int) -> int:
        """Return the number of seeds of a claim that takes ``quick`` or ``full`` of them by itself."""
        return self.seeds or (quick if self.quick else full)


FULL = Effort()


@dataclass(frozen=True)
class Figure:
    """A figure of a claim.

    Attributes:
        name: name of its file.
        caption: what to look at.
    """

    name: str
    caption: str


@dataclass
class Row:
    """What was found of a claim.

    Attributes:
        published: the figure in the source.
        measured: the figure that decides, with its interval, in about ``SHORT`` characters.
        verdict: ``HOLDS``, ``FAILS``, or "depends: " and on what.
        details: everything else that was measured.
        figures: its figures.
    """

    published: str
    measured: str
    verdict: str
    details: str = ""
    figures: list[Figure] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Row: expected a verdict that is or begins with one of {KINDS}; got {self.verdict!r}")

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        return self.verdict.partition(":")[0]


Result = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One of the runs by which a claim is judged: a pure function of a module, which several claims may share.

    Attributes:
        function: returns numbers, texts and arrays by name, which can be stored.
        arguments: numbers and texts.
    """

    function: Callable[..., Result]
    arguments: tuple[Any, ...] = ()

    def __call__(self) -> Result:
        return self.function(*self.arguments)


@dataclass(frozen=True)
class Claim:
    """A statement, where it stands, and how it is put to the test.

    Attributes:
        name: its code.
        title: what it is about, in a few words.
        statement: what the source says.
        source: the source.
        test: ``test(out, effort, *results)`` draws figures in the folder ``out`` and returns what was found;
            ``results`` are those of the parts.
        parts: the runs that can be made apart, for an effort.
        needs: folder of data that must be there, or "".
    """

    name: str
    title: str
    statement: str
    source: Source
    test: Callable[..., Row]
    parts: Callable[[Effort], Sequence[Part]] = lambda effort: ()
    needs: str = ""

    def __call__(self, out: Path, effort: Effort = FULL) -> Row:
        """Put the claim to the test in this process."""
        return self.test(out, effort, *(part() for part in self.parts(effort)))


CLAIMS: list[Claim] = []


def claim(
    name: str, title: str, statement: str, source: Source = NOTES, **how: Any
) -> Callable[[Callable[..., Row]], Callable[..., Row]]:
    """Add a claim whose test is the function below."""

    def register(test: Callable[..., Row]) -> Callable[..., Row]:
        CLAIMS.append(Claim(name, title, statement, source, test, **how))
        return test

    return register


def verdict(holds: bool) -> str:
    return HOLDS if holds else FAILS


def verdict_of(parts: dict[str, bool]) -> str:
    """Return the verdict on a statement of several parts, which may hold or not."""
    if len(set(parts.values())) == 1:
        return verdict(all(parts.values()))
    said = {kind: ", ".join(part for part, holds in parts.items() if holds == kind) for kind in (True, False)}
    return f"depends: holds for {said[True]}; not for {said[False]}"


def as_markdown(rows: Iterable[tuple[Claim, Row]]) -> str:
    """Return a table of the claims, and below it what else was measured."""
    rows = list(rows)
    lines = ["| claim | statement | published | measured | verdict |", "|---|---|---|---|---|"]
    lines += [
        "| "
        + " | ".join(t.replace("|", "\\|") for t in (c.name, c.statement, r.published, r.measured, r.verdict))
        + " |"
        for c, r in rows
    ]
    lines += ["", *(f"* **{c.name}.** {r.details}" for c, r in rows if r.details)]
    return "\n".join(lines) + "\n"


def resampled_means(values: np.ndarray, draws: int = 10_000) -> np.ndarray:
    """(..., seeds) to (..., draws): means over seeds drawn with replacement, the same seeds for all rows."""
    chosen = np.random.default_rng(0).integers(values.shape[-1], size=(draws, values.shape[-1]))
    return values[..., chosen].mean(axis=-1)


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles) of the mean of values (seeds,)."""
    low, high = np.quantile(resampled_means(values), (0.025, 0.975), method="inverted_cdf")
    return float(low), float(high)


def difference(worse: np.ndarray, better: np.ndarray, digits: int = 4) -> tuple[str, bool]:
    """worse - better, figures (seeds,) paired by seed, in words; and whether the 95 % interval of it is above 0."""
    with np.errstate(invalid="ignore"):
        apart = worse - better
    apart = np.where(np.isnan(apart), 0.0, apart)  # both diverged
    low, high = interval(apart)
    return f"{apart.mean():+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})", low > 0


def flat_digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = mn.datasets.digits()
    return x.reshape(len(x), -1), y


def mlp(*hidden: int, outputs: int = 10) -> list[mn.Layer]:
    return [layer for units in hidden for layer in (mn.Dense(units), mn.ReLU())] + [mn.Dense(outputs)]
