"""What a check found: one ``TensorCheck`` a tensor, and the ``GradientCheck`` that holds them."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..storage.files import plain, write_whole
from .sweep import StepSweep
from .thresholds import cs231n

Index = tuple[int, ...]

# From best to worst, with what to do about each.
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
    """One tensor's analytic gradient beside its numerical one.

    Attributes:
        name: of the parameter, the argument, or ``"input"``.
        verdict: ``"correct"``, ``"kink"``, ``"round-off"``, ``"truncation"``, ``"suspicious"`` or ``"wrong"``.
        error: largest relative error |a - n| / max(|a|, |n|) over the coordinates that were judged.
        absolute: largest |a - n| over the same.
        excess: largest relative error that round-off and truncation leave unexplained; the verdict follows from it.
        worst: index of the coordinate that decided, or the number of the direction from 0, with the analytic and
            numeric derivative there.
        uncertainty: bound on the error of that numeric value.
        step: h by which it was found.
        checked, size: coordinates that were judged, of how many; random directions count as one each.
        crossed: coordinates whose first step changed a winner, or that lie at a kink of the function.
        excluded: those of them for which no step avoided it; they are not judged.
        tiny: judged coordinates too small to trust: below 1e-10, or below their numeric value's uncertainty.
        note: what the verdict does not say, or "".
        directions: whether random directions were judged, not coordinates.
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
        """What the CS231n notes call a relative error of this size; see ``cs231n``."""
        return cs231n(self.error)

    @property
    def rank(self) -> tuple[int, float]:
        """How bad it is, to sort by."""
        return _SEVERITY[self.verdict], math.inf if math.isnan(self.excess) else self.excess

    @property
    def place(self) -> str:
        """``worst`` in words: [2, 1], or direction 1."""
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
class GradientCheck:
    """The outcome of a check.

    ``print(check)`` shows a table, ``check["0.W"]`` one tensor of it, ``check.assert_passed()`` serves in a test.

    Attributes:
        tensors: one ``TensorCheck`` a tensor.
        mode: ``"all"`` coordinates, a ``"sample"`` of them, or random ``"directions"``.
        evaluations: how often the function was computed.
        nondeterminism: largest difference between two evaluations at the same place; above 0 nothing passes.
        sweep: the error of each tensor against h, if it was asked for.
        remark: what the check noticed beside the numbers, in sentences, or "": that f does not depend on its argument,
            that a backward pass adds to what an earlier call left, and what to do then.
        burns_in: whether the check takes ``burn_in``, which moves weights off their kinks.
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
        """The tensor with the worst verdict, and of those the largest unexplained error."""
        return max(self.tensors, key=lambda t: (t.rank, t.error))

    @property
    def verdict(self) -> str:
        """The worst tensor's verdict; at best suspicious if two evaluations differ."""
        worst = self.worst.verdict
        return max(worst, "suspicious", key=_SEVERITY.__getitem__) if self.nondeterminism else worst

    @property
    def error(self) -> float:
        """Largest relative error of all tensors."""
        return max(t.error for t in self.tensors)

    @property
    def crossed(self) -> int:
        """Coordinates of all tensors whose first step changed a winner."""
        return sum(t.crossed for t in self.tensors)

    @property
    def passed(self) -> bool:
        """Whether every tensor is correct, and two evaluations were the same."""
        return self.verdict == "correct"

    def assert_passed(self) -> None:
        """AssertionError, with the whole table and what to do about the verdict, unless every tensor is correct."""
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
            f"NOT DETERMINISTIC: two evaluations at one place differ by {self.nondeterminism:.1e}, so that their "
            "differences mean little (seed the noise, or give replay=)"
        )

    def table(self) -> str:
        """The tensors as an aligned table, worst first."""
        rows = sorted(self.tensors, key=lambda t: t.rank, reverse=True)
        cells = [list(_COLUMNS), *([show(t) for show in _COLUMNS.values()] for t in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for row, tensor in zip(cells, [None, *rows], strict=True):
            # Words to the left, numbers to the right.
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
        """Everything as plain numbers, texts, lists and dicts; what is not finite as None."""
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
        """``to_dict`` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def save(self, path: str | Path) -> None:
        """Write ``to_json`` to a file, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    def remarked(self, *remarks: str) -> "GradientCheck":
        """The same with these remarks, but for empty ones, before its own."""
        return replace(self, remark=" ".join(filter(None, (*remarks, self.remark))))

    def without(self, names: list[str], note: str) -> "GradientCheck":
        """The same with these tensors not judged; ``note`` says why."""
        tensors = [unjudged(t.name, t.size, note, verdict="suspicious") if t.name in names else t for t in self.tensors]
        return replace(self, tensors=tuple(tensors))

    def explained(self, why: str) -> "GradientCheck":
        """The same, if two evaluations differ for a reason that is known and no noise; "" if there is none."""
        tensors = self.tensors
        if why and self.nondeterminism:
            tensors = tuple(replace(t, note="not compared") if not t.checked and t.note else t for t in tensors)
        return replace(self, tensors=tensors).remarked(why)

    def renamed(self, prefix: str) -> "GradientCheck":
        """The same with ``prefix`` before each tensor's name, in the sweep too."""
        sweep = self.sweep
        if sweep is not None:
            sweep = replace(sweep, curves=tuple(replace(c, name=prefix + c.name) for c in sweep.curves))
        return replace(self, tensors=tuple(replace(t, name=prefix + t.name) for t in self.tensors), sweep=sweep)


def unjudged(name: str, size: int, note: str, at: Index = (), verdict: str = "wrong") -> TensorCheck:
    """The verdict on what no numbers were compared for; ``note`` says why."""
    return TensorCheck(
        name, verdict, math.inf, math.inf, math.inf, at, math.nan, math.nan, 0.0, 0.0, 0, size, note=note
    )


def merge(checks: "list[GradientCheck]") -> GradientCheck:
    """One check of the tensors of several, and one sweep of their curves."""
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
