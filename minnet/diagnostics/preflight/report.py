"""Results of the checks: a ``Finding`` for each, and the ``Preflight`` that holds them."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...base.shown import Shown
from ...storage.files import plain, write_json

PASSED, WARNING, FAILED, SKIPPED = "passed", "warning", "failed", "skipped"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: name of the check.
        verdict: ``"passed"``, ``"warning"``, ``"failed"`` or ``"skipped"``.
        measured, expected: what was measured and what was expected, as text.
        advice: what to do if the check did not pass.
        values: the measured numbers, by name.
    """

    name: str
    verdict: str
    measured: str
    expected: str = ""
    advice: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def graded(
    name: str, measured: str, expected: str, advice: str, values: dict[str, Any], *, good: bool, tolerable: bool
) -> Finding:
    """Return a finding that passed if ``good``, is a warning if ``tolerable``, and failed otherwise."""
    if good:
        return Finding(name, PASSED, measured, expected, values=values)
    return Finding(name, WARNING if tolerable else FAILED, measured, expected, advice, values)


@dataclass(frozen=True)
class Preflight(Shown):
    """The report of ``preflight``. It can be printed and saved; ``report["first loss"]`` is one finding.

    Attributes:
        findings: one finding for each check, in the order of the checks.
        subject: net, data, rule and learning rate, as text.
    """

    findings: tuple[Finding, ...]
    subject: str

    @property
    def passed(self) -> bool:
        """Whether no check failed. Warnings and skipped checks count as passed."""
        return all(finding.verdict != FAILED for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"preflight: expected one of {[finding.name for finding in self.findings]}; got {name!r}")

    def assert_passed(self) -> None:
        """Raise AssertionError with the whole report if a check failed."""
        if not self.passed:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        rows = [("check", "verdict", "measured", "expected")]
        rows += [(f.name, f.verdict, f.measured, f.expected) for f in self.findings]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]).rstrip() for row in rows]
        advice = [f"{f.name}: {f.advice}" for f in self.findings if f.advice]
        counts = {verdict: sum(f.verdict == verdict for f in self.findings) for verdict in (FAILED, WARNING, SKIPPED)}
        words = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "all checks passed"
        return "\n".join([f"Preflight of {self.subject}", *lines, *advice, words])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as numbers, strings, lists and dicts, with None for NaN and infinity."""
        findings = [asdict(finding) for finding in self.findings]
        return {"passed": self.passed, "subject": self.subject, "findings": plain(findings)}

    def save(self, path: str | Path) -> None:
        """Write the report to a JSON file, completely or not at all.

        Args:
            path: path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        write_json(path, self.to_dict())
