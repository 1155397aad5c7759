"""The HTML page of a benchmark: what can be said, then figures, then every number."""

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .entries import Entry, published
from .scores import FACTORS
from .tables import ResultTable
from .targets import set_of

MOST_LINES = 7  # in one figure, which is as many as there are colours
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:1.5rem auto;padding:0 1rem}"
    "h1{font-size:1.4rem;margin-bottom:.3rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}p{margin:.4rem 0;max-width:48rem}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;white-space:nowrap}"
    "th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884}"
    "th:first-child,td:first-child,.t{text-align:left}th{border-bottom:2px solid #8888;vertical-align:bottom}"
    "td.better{font-weight:600}td.better::before{content:'\\25B2 '}td.worse::before{content:'\\25BC '}"
    ".figures{display:flex;flex-wrap:wrap;gap:.8rem;align-items:flex-start}"
    "img{width:min(100%,24rem);height:auto;background:#fff;border-radius:4px}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px;padding:.6rem;border:1px solid #8886}"
    "details{margin:.5rem 0}"
    "@media print{body{max-width:none;font-size:11px}.scroll{overflow:visible}table{font-size:8px;white-space:normal}"
    "th,td{padding:.1rem .25rem}.figures img{width:48%}tr,img{break-inside:avoid}h2{break-after:avoid}"
    "::details-content{content-visibility:visible;block-size:auto}}"
)


class Subject(Protocol):
    """What the page asks of a ``Result``."""

    @property
    def problems(self) -> Sequence[Any]:
        """The problems."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The entries."""

    @property
    def protocol(self) -> Any:
        """The protocol."""

    @property
    def cells(self) -> Mapping[tuple[str, str], Any]:
        """Cell by problem and entry."""

    def words(self) -> list[str]:
        """Return what was run."""

    def check(self) -> list[Any]:
        """Return what is wrong with the runs."""

    def table(self, reference: str | None = None) -> ResultTable:
        """Return one row for each problem and entry."""

    def statements(self, reference: str | None = None) -> ResultTable:
        """Return one row for each entry."""

    def sensitivity(self) -> ResultTable:
        """Return the width in the rate."""

    def profile(self, reference: str | None = None) -> dict[str, np.ndarray]:
        """Return shares by entry."""

    def by_budget(self, budgets: Sequence[int]) -> dict[str, dict[str, np.ndarray]]:
        """Return losses by problem and entry."""


def page(result: Subject, reference: str, overhead: ResultTable | None = None) -> str:
    """Return the page's HTML."""
    said = result.statements(reference)
    images = "".join(
        f'<h2>{html.escape(figure.title)}</h2><p>{html.escape(figure.words)}</p><div class="figures">'
        # Each panel is an image of its own, so that a narrow page shows them one below the other.
        + "".join(_image(f"{figure.title}: {name}", figure.png([name])) for name in figure.panels)
        + "</div>"
        for figure in figures(result, reference)
    )
    details = "".join(
        f'<details><summary>{html.escape(p.name)}</summary><div class="scroll">'
        f"{_as_html(_of(result, reference, p.name))}</div></details>"
        for p in result.problems
    )
    found = result.check()
    findings = "".join(f"<li>{html.escape(f'{f.kind}: {f.text}')}</li>" for f in found[:40]) or "<li>nothing</li>"
    more = f"<p>and {len(found) - 40} more</p>" if len(found) > 40 else ""
    time = (
        ""
        if overhead is None
        else (
            "<h2>Time of a step</h2><p>Over that of SGD on the same problem: processor time on one thread, without "
            "measurements, median of alternating runs. It includes Python for a rule whose steps Python takes.</p>"
            f'<div class="scroll">{_as_html(overhead)}</div>'
        )
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Benchmark of update rules</title><style>{_STYLE}</style>"
        "<h1>Benchmark of update rules</h1>"
        f"<h2>What can be said, for these {len(result.problems)} problems</h2>"
        f"<p>On how many problems each rule is better or worse than {html.escape(reference)}, or not told apart from "
        "it: in gradient evaluations to the target, and in final loss on test data. A rule is better or worse if an "
        "interval of at least 95 % for the paired difference over the seeds excludes 0. &ldquo;Reach in 2x&rdquo; is "
        "the share of problems and seeds where a rule reaches the target within twice the reference's time.</p>"
        f'<div class="scroll">{_as_html(said)}</div>'
        f"<h2>What cannot be said</h2>{''.join(f'<p>{line}</p>' for line in _LIMITS)}"
        f"<h2>How it was run</h2>{''.join(f'<p>{html.escape(line)}</p>' for line in result.words())}"
        f"{images}<h2>Width of the valley</h2><p>Decades of the learning rate over which the final loss on validation "
        "data stays within 10 % of the best trial. Only the rates that were tried count.</p>"
        f'<div class="scroll">{_as_html(result.sensitivity())}</div>{time}'
        f"<h2>Every number</h2>{details}<h2>What is wrong with the runs</h2><ul>{findings}</ul>{more}"
        f"<h2>To reproduce a cell</h2>{_reproduction(result, reference)}</html>\n"
    )


_LIMITS = (
    "Which rule is best on other problems, at other budgets, or for much larger networks.",
    "Which of two rules is better where neither is told apart from the reference: each is compared with the reference "
    "only.",
    "How much of a difference is luck of tuning: the intervals are those of the chosen hyper-parameters over seeds. "
    "&ldquo;Result against tuning budget&rdquo; shows this luck.",
    "That all verdicts hold together: each interval misses the truth in up to 5 of 100 cases, and there are many.",
)


def command(result: Subject, problem: Any, names: Sequence[str]) -> str | None:
    """Return the command that reproduces cells, or None for a problem or a rule that is not minnet's own."""
    known, of = {entry.name: entry for entry in published()}, set_of(problem)
    entries = {entry.name: entry for entry in result.entries}
    if of is None or any(known.get(name) != entries[name] for name in names):
        return None
    code = (
        f"from minnet import benchmark as b; "
        f'problems = [p for p in b.problems("{of}"{_folder(of)}) if p.name == "{problem.name}"]; '
        f"print(b.run(problems, b.chosen({json.dumps(list(names))}), b.{result.protocol!r}).table())"
    )
    return f"python -c '{code}'"


def _folder(of: str) -> str:
    return ', "folder of MNIST and CIFAR-10"' if of == "classic" else ""


def _reproduction(result: Subject, reference: str) -> str:
    """Return the command for the first cell that has one, and what to change for others."""
    for problem in result.problems:
        for entry in result.entries:
            names = list(dict.fromkeys([entry.name, reference]))
            found = command(result, problem, names) if entry.name != reference or len(result.entries) == 1 else None
            if found is not None:
                return (
                    f"<p>{html.escape(entry.name)} on {html.escape(problem.name)}, beside the reference. For another "
                    f"cell, put in its names. No figure depends on the other rules.</p><pre>{html.escape(found)}</pre>"
                )
    return (
        "<p>The problems or rules are not minnet's own. Run the same program with one problem and one rule: no figure "
        "depends on the others.</p>"
    )


def _image(title: str, png: bytes) -> str:
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def shown(result: Subject, reference: str, said: ResultTable) -> list[str]:
    """Return the entries to draw: the reference and those that most often reach the target in time."""
    ordered = [row["rule"] for row in said.rows if row["rule"] != reference]
    return [reference, *ordered[: MOST_LINES - 1]]


def _of(result: Subject, reference: str, problem: str) -> ResultTable:
    rows = [row for row in result.table(reference).rows if row["problem"] == problem]
    return ResultTable([{name: value for name, value in row.items() if name != "problem"} for row in rows])


def _as_html(table: ResultTable) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.rows[0])
    body = "".join("<tr>" + "".join(_cell(value) for value in row.values()) + "</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        text = "&ndash;" if math.isnan(value) else "&infin;" if value == math.inf else f"{value:.4g}"
        return f"<td>{'&minus;&infin;' if value == -math.inf else text}</td>"
    kind = value if value in ("better", "worse") else "t" if isinstance(value, str) and value != "reference" else ""
    return f'<td class="{kind}">{html.escape(str(value))}</td>'


@dataclass(frozen=True)
class Figure:
    """Panels of one kind.

    Attributes:
        title, words: title, and what is shown.
        panels: name of the panel -> name of the rule -> (x of shape (n,), values of shape (runs, n)).
        xlabel, ylabel: labels of the axes.
        log_x, log_y: whether the axes are logarithmic.
    """

    title: str
    words: str
    panels: dict[str, dict[str, tuple[Any, np.ndarray]]]
    xlabel: str
    ylabel: str
    log_x: bool = False
    log_y: bool = False

    def png(self, names: Sequence[str]) -> bytes:
        """Return the panels of these names, side by side with one legend, as the bytes of a PNG file."""
        from ..plots import comparison
        from ..plots.style import as_png

        some = {name: self.panels[name] for name in names}
        return as_png(
            comparison(
                None,
                some,
                xlabel=self.xlabel,
                ylabel=self.ylabel,
                log_x=self.log_x,
                log_y=self.log_y,
                share_y=False,
            )
        )


def figures(result: Subject, reference: str) -> list[Figure]:
    """Return the figures of a result, with the reference and the rules that most often reach the target in time.

    A panel of which nothing is finite is left out. A line of which nothing is finite stays in the legend, so that a
    rule has one colour in all panels.
    """
    leaders = shown(result, reference, result.statements(reference))
    lines = f"Lines: {'; '.join(leaders)}."
    profiles, counts = result.profile(reference), [b for b in (1, 3, 10, 20) if b <= result.protocol.tuning]
    by_budget = result.by_budget(counts)
    shares = {"all problems": {name: (FACTORS, profiles[name][None]) for name in leaders}}
    curves: dict[str, Any] = {}
    rates: dict[str, Any] = {}
    budgets: dict[str, Any] = {}
    for p in result.problems:
        cells = {name: result.cells[p.name, name] for name in leaders}
        at = p.every * np.arange(1.0, p.points + 1)
        curves[p.name] = {name: (at, np.stack([c.at(at) for c in cell.reported])) for name, cell in cells.items()}
        rates[p.name] = {name: _by_rate(cell) for name, cell in cells.items()}
        budgets[p.name] = {name: (counts, by_budget[p.name][name]) for name in leaders}
    validation = "validation loss"
    found = [
        Figure(
            "Reaching the target in time",
            "Share of problems and seeds that reach the target within a multiple of the time of "
            f"{reference}, which is the same reference whoever takes part. {lines}",
            shares,
            f"time over that of {reference}",
            "share of problems and seeds",
        ),
        Figure(
            "Result against tuning budget",
            f"Best of so many trials: median and quartiles over which trials these are. {lines}",
            _finite(budgets),
            *("trials", validation, True, True),
        ),
        Figure(
            "Learning curves",
            f"Median and quartiles over the seeds, with the chosen hyper-parameters. {lines}",
            _finite(curves),
            *("gradient evaluations", "test loss", False, True),
        ),
        Figure(
            "Sensitivity to the rate",
            f"Final loss of each trial: median and quartiles over the seeds for choosing. {lines}",
            _finite(rates),
            *("learning rate", validation, True, True),
        ),
    ]
    return [figure for figure in found if figure.panels]


def _finite(panels: Mapping[str, Any]) -> dict[str, Any]:
    return {
        title: lines
        for title, lines in panels.items()
        if any(np.isfinite(np.median(values, axis=0)).any() for _, values in lines.values())
    }


def _by_rate(cell: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates of the trials in order, (trials,), and their final losses, (seeds, trials)."""
    finals = np.array([[curve.final for curve in curves] for curves in cell.tried]).T
    rates = np.array([config["lr"] for config in cell.configs])
    order = np.argsort(rates)
    return rates[order], finals[:, order]
