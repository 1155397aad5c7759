"""Results of a check: a ``TensorCheck`` for each tensor, and the ``GradientCheck`` that holds them."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.shown import Shown
from ..storage.files import plain, write_whole
from .sweep import StepSweep
from .thresholds import cs231n

Index = tuple[int, ...]

# From best to worst, each with advice.
VERDICTS = {
    "correct": "analytic and numeric gradient agree",
    "kink": "every coordinate crosses a kink, so nothing could be judged: check at another place, with fewer or other "
    "data",
    "round-off": "round-off hides the gradient: compute in float64 (inside the function too), take a sum or mean over "
    "less, and leave h to the check or give a larger one",
    "truncation": "the step is too long for the curvature: use a smaller h, or leave h to the check; "
    "where the check chose it, fewer points, or another place",
    "suspicious": "beyond what round-off, truncation and kinks explain: too small for a blunder, too large for chance",
    "wrong": "the analytic gradient is not that of the function",
}
_SEVERITY = {verdict: rank for rank, verdict in enumerate(VERDICTS)}


@dataclass(frozen=True)
class TensorCheck:
    """The comparison of one tensor's analytic gradient with its numerical gradient.

    Attributes:
        name: name of the parameter or the argument, or ``"input"``.
        verdict: ``"correct"``, ``"kink"``, ``"round-off"``, ``"truncation"``, ``"suspicious"`` or ``"wrong"``.
        error: largest relative error |a - n| / max(|a|, |n|) over the coordinates that were judged.
        absolute: largest absolute error |a - n| over the same coordinates.
        excess: largest relative error that round-off and truncation do not explain. The verdict follows from it.
        worst: index of the coordinate that decided the verdict, or the number of the direction, counted from 0.
        analytic, numeric: the analytic and the numerical derivative there.
        uncertainty: bound on the error of ``numeric``.
        step: step length h of ``numeric``.
        checked: number of coordinates that were judged. A random direction counts as one.
        size: number of elements of the tensor.
        crossed: number of coordinates whose first step changed a winner, or that are at a kink of the function.
        excluded: number of these for which no step avoided the kink. They are not judged.
        tiny: number of judged coordinates too small to trust: below 1e-10, or below the uncertainty of ``numeric``.
        note: additional information, or "".
        directions: whether random directions were judged instead of coordinates.
    """

    name: str
    verdict: str
    error: float
    absolute: float
    excess: float
    worst: Index
    analytic: float
    numeric: float
    uncertainty: float
    step: float
    checked: int
    size: int
    crossed: int = 0
    excluded: int = 0
    tiny: int = 0
    note: str = ""
    directions: bool = False

    @property
    def passed(self) -> bool:
        """Whether the verdict is correct."""
        return self.verdict == "correct"

    @property
    def cs231n(self) -> str:
        """The CS231n notes' term for a relative error of this size; see ``cs231n``."""
        return cs231n(self.error)

    @property
    def rank(self) -> tuple[int, float]:
        """Severity, as a key to sort by; larger is worse."""
        return _SEVERITY[self.verdict], math.inf if math.isnan(self.excess) else self.excess

    @property
    def place(self) -> str:
        """``worst`` as text, such as "[2, 1]" or "direction 1"."""
        return f"direction {self.worst[0] + 1}" if self.directions and self.worst else str(list(self.worst))

    def __str__(self) -> str:
        if not self.checked and math.isnan(self.numeric) and self.note:
            return f"{self.name}: {self.verdict}: {self.note}"
        what = f"directions over {self.size}" if self.directions else f"of {self.size}"
        words = (
            f"{self.name}: {self.verdict}, relative error {self.error:.2e}, {self.excess:.2e} unexplained; worst at "
            f"{self.place}: analytic {self.analytic + 0:.10g}, numeric {self.numeric + 0:.10g} +- "
            f"{self.uncertainty:.1e}, h = {self.step:.0e}; {self.checked} {what} coordinates"
        )
        if self.crossed:
            words += f", {self.crossed} crossed a kink, {self.excluded} left out"
        return f"{words} ({self.note})" if self.note else words


_COLUMNS: dict[str, Callable[[TensorCheck], str]] = {
    "tensor": lambda t: t.name,
    "verdict": lambda t: t.verdict,
    "rel. error": lambda t: f"{t.error:.1e}",
    "abs. error": lambda t: f"{t.absolute:.1e}",
    "worst at": lambda t: t.place,
    "analytic": lambda t: f"{t.analytic + 0:.6g}",  # + 0 makes 0 of -0
    "numeric": lambda t: f"{t.numeric + 0:.6g}",
    "+-": lambda t: f"{t.uncertainty:.0e}",
    "step": lambda t: f"{t.step:.0e}",
    "checked": lambda t: f"{t.checked} in {t.size}" if t.directions else f"{t.checked}/{t.size}",
    "crossed": lambda t: f"{t.crossed}",
    "left out": lambda t: f"{t.excluded}",
    "tiny": lambda t: f"{t.tiny}",
}


@dataclass(frozen=True)
class GradientCheck(Shown):
    """The result of a gradient check.

    ``print(check)`` shows a table, ``check["0.W"]`` is the result for one tensor, and ``check.assert_passed()`` is for
    tests.

    Attributes:
        tensors: one ``TensorCheck`` for each tensor.
        mode: ``"all"`` coordinates, a ``"sample"`` of them, or random ``"directions"``.
        evaluations: number of evaluations of the function.
        nondeterminism: largest difference between two evaluations at the same place. If it is above 0, the check does
            not pass.
        sweep: error of each tensor as a function of h, or None if no sweep was requested.
        remark: observations beyond the numbers and what to do about them, or "". Examples: f does not depend on its
            argument; a backward pass accumulates gradients.
        burns_in: whether the check has a ``burn_in`` argument, which moves weights off their kinks.
    """

    tensors: tuple[TensorCheck, ...]
    mode: str = "all"
    evaluations: int = 0
    nondeterminism: float = 0.0
    sweep: StepSweep | None = None
    remark: str = ""
    burns_in: bool = False

    def __getitem__(self, name: str) -> TensorCheck:
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(f"GradientCheck: expected one of {[t.name for t in self.tensors]}; got {name!r}")

    @property
    def worst(self) -> TensorCheck:
        """The tensor with the worst verdict; among several, the one with the largest unexplained error."""
        return max(self.tensors, key=lambda t: (t.rank, t.error))

    @property
    def verdict(self) -> str:
        """The verdict of the worst tensor; at best ``"suspicious"`` if two evaluations differ."""
        worst = self.worst.verdict
        return max(worst, "suspicious", key=_SEVERITY.__getitem__) if self.nondeterminism else worst

    @property
    def error(self) -> float:
        """The largest relative error of all tensors."""
        return max(t.error for t in self.tensors)

    @property
    def crossed(self) -> int:
        """The number of coordinates of all tensors whose first step changed a winner."""
        return sum(t.crossed for t in self.tensors)

    @property
    def passed(self) -> bool:
        """Whether every tensor is correct and two evaluations were equal."""
        return self.verdict == "correct"

    def assert_passed(self) -> None:
        """Raise an error with the table and advice unless the check passed.

        Raises:
            AssertionError: if a tensor is not correct, or two evaluations differ.
        """
        if not self.passed:
            found = self._differing or str(self.worst)
            raise AssertionError(f"gradient check: {found}\n{self}\n{self.advice}")

    @property
    def advice(self) -> str:
        """What to do about the verdict."""
        if self.remark:
            return self.remark
        if self.nondeterminism:
            return "seed the noise, or give replay="
        more = ", or burn_in=" if self.verdict == "kink" and self.burns_in else ""
        return VERDICTS[self.verdict] + more

    @property
    def _differing(self) -> str:
        if not self.nondeterminism:
            return ""
        if self.remark:
            return f"two evaluations at one place differ by {self.nondeterminism:.1e}: {self.remark}"
        return (
            f"NOT DETERMINISTIC: two evaluations at one place differ by {self.nondeterminism:.1e}, so "
            "their differences have no meaning (seed the noise, or give replay=)"
        )

    def table(self) -> str:
        """Return the tensors as an aligned text table, worst first."""
        rows = sorted(self.tensors, key=lambda t: t.rank, reverse=True)
        cells = [list(_COLUMNS), *([show(t) for show in _COLUMNS.values()] for t in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for row, tensor in zip(cells, [None, *rows], strict=True):
            # Text is aligned to the left, numbers to the right.
            line = "  ".join(
                cell.ljust(width) if i in (0, 1, 4) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append(f"{line}  {tensor.note if tensor else ''}".rstrip())
        return "\n".join(lines)

    def __str__(self) -> str:
        what = {"all": "all coordinates", "sample": "a sample of every tensor", "directions": "random directions"}
        looked = what.get(self.mode, self.mode)
        judged, left_out = sum(t.checked for t in self.tensors), sum(t.excluded for t in self.tensors)
        if left_out:
            looked = "" if self.mode == "all" else f"{looked}, "
            where = " at kinks" if left_out <= self.crossed else ""
            looked += f"{judged} of {judged + left_out} judged, {left_out} left out{where}"
        words = f"{self._differing}; {looked}" if self.nondeterminism else looked
        remark = f"\n{self.remark}" if self.remark and not self.nondeterminism else ""
        return f"{self.table()}\n{self.verdict}: {words}, {self.evaluations} evaluations{remark}"

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result as numbers, strings, lists and dicts, with None for NaN and infinity."""
        document = {
            "verdict": self.verdict,
            "passed": self.passed,
            "error": self.error,
            "mode": self.mode,
            "evaluations": self.evaluations,
            "nondeterminism": self.nondeterminism,
            "remark": self.remark,
            "tensors": [{**vars(t), "passed": t.passed, "cs231n": t.cs231n} for t in self.tensors],
            "sweep": None if self.sweep is None else self.sweep.to_dict(),
        }
        return plain(document)

    def to_json(self) -> str:
        """Return ``to_dict`` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def save(self, path: str | Path) -> None:
        """Write ``to_json`` to a file. The file is written completely or not at all.

        Args:
            path: path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        write_whole(path, self.to_json() + "\n")

    def remarked(self, *remarks: str) -> "GradientCheck":
        """Return a copy with further remarks in front of its own.

        Args:
            remarks: sentences; empty ones are left out.
        """
        return replace(self, remark=" ".join(filter(None, (*remarks, self.remark))))

    def without(self, names: list[str], note: str) -> "GradientCheck":
        """Return a copy in which some tensors are not judged.

        Args:
            names: names of the tensors.
            note: why they are not judged, for the table.
        """
        tensors = [unjudged(t.name, t.size, note, verdict="suspicious") if t.name in names else t for t in self.tensors]
        return replace(self, tensors=tuple(tensors))

    def explained(self, why: str) -> "GradientCheck":
        """Return a copy that states why two evaluations differ, if the reason is not noise.

        Args:
            why: the reason, a sentence; "" changes nothing.
        """
        tensors = self.tensors
        if why and self.nondeterminism:
            tensors = tuple(replace(t, note="not compared") if not t.checked and t.note else t for t in tensors)
        return replace(self, tensors=tensors).remarked(why)

    def renamed(self, prefix: str) -> "GradientCheck":
        """Return a copy with other names of the tensors, also in the sweep.

        Args:
            prefix: what is put in front of each name.
        """
        sweep = self.sweep
        if sweep is not None:
            sweep = replace(sweep, curves=tuple(replace(c, name=prefix + c.name) for c in sweep.curves))
        return replace(self, tensors=tuple(replace(t, name=prefix + t.name) for t in self.tensors), sweep=sweep)


def unjudged(name: str, size: int, note: str, at: Index = (), verdict: str = "wrong") -> TensorCheck:
    """Return the result for a tensor whose numbers were not compared; ``note`` says why."""
    return TensorCheck(
        name, verdict, math.inf, math.inf, math.inf, at, math.nan, math.nan, 0.0, 0.0, 0, size, note=note
    )


def merge(checks: "list[GradientCheck]") -> GradientCheck:
    """Merge several checks, and their sweeps, into one."""
    sweeps = [check.sweep for check in checks if check.sweep is not None]
    curves = tuple(curve for sweep in sweeps for curve in sweep.curves)
    return GradientCheck(
        tuple(t for check in checks for t in check.tensors),
        checks[0].mode,
        sum(check.evaluations for check in checks),
        max(check.nondeterminism for check in checks),
        replace(sweeps[0], curves=curves) if sweeps else None,
        " ".join(dict.fromkeys(check.remark for check in checks if check.remark)),
        any(check.burns_in for check in checks),
    )
