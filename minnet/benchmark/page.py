"""The HTML page of a benchmark: what can be said, then figures, then every number."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .scores import FACTORS
from .tables import ResultTable

MOST_LINES = 7  # in one figure, which is as many as there are colours
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:1.5rem auto;padding:0 1rem}"
    "h1{font-size:1.4rem;margin-bottom:.3rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}p{margin:.3rem 0;max-width:48rem}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;white-space:nowrap}"
    "th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884}"
    "th:first-child,td:first-child,.t{text-align:left}th{border-bottom:2px solid #8888}"
    "td.better{font-weight:600}td.better::before{content:'\\25B2 '}td.worse::before{content:'\\25BC '}"
    "img{max-width:100%;height:auto;background:#fff;border-radius:4px}code{font-size:13px;overflow-wrap:anywhere}"
    "details{margin:.5rem 0}@media print{details{display:block}body{max-width:none}.scroll{overflow:visible}"
    "table{font-size:9px;white-space:normal}}"
)


class Subject(Protocol):
    """What the page asks of a ``Result``."""

    @property
    def problems(self) -> Sequence[Any]:
        """The problems."""

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


def page(result: Subject, reference: str) -> str:
    """Return the page's HTML."""
    said = result.statements(reference)
    leaders = shown(result, reference, said)
    figures = _figures(result, reference, leaders)
    images = "".join(
        f"<h2>{html.escape(title)}</h2><p>{html.escape(words)}</p>"
        f'<img alt="{html.escape(title)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for title, (words, png) in figures.items()
    )
    details = "".join(
        f'<details><summary>{html.escape(p.name)}</summary><div class="scroll">'
        f"{_as_html(_of(result, reference, p.name))}</div></details>"
        for p in result.problems
    )
    found = result.check()
    findings = "".join(f"<li>{html.escape(f'{f.kind}: {f.text}')}</li>" for f in found[:40]) or "<li>nothing</li>"
    more = f"<p>and {len(found) - 40} more</p>" if len(found) > 40 else ""
    first = result.problems[0].name
    command = (
        f"from minnet import benchmark as b; b.run([p for p in problems if p.name == {first!r}], "
        f"b.chosen([{reference!r}]), b.{result.protocol!r}).table()"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Benchmark of update rules</title><style>{_STYLE}</style>"
        "<h1>Benchmark of update rules</h1>"
        f"{''.join(f'<p>{html.escape(line)}</p>' for line in result.words())}"
        f"<h2>What can be said, for these problems</h2><p>On how many of {len(result.problems)} problems each rule "
        f"is better or worse than {html.escape(reference)}, or not told apart from it: in gradient evaluations to the "
        "target, and in final loss on held-out data, by intervals of at least 95 % over the same seeds. &ldquo;Reach "
        "in 2x&rdquo; is the share of problems and seeds where the target is reached in twice the reference's time. "
        "Run time is processor time over that of the reference, measurements included.</p>"
        f'<div class="scroll">{_as_html(said)}</div>'
        "<p>What cannot be said: which rule is best on other problems, at other budgets, or for networks that are much "
        "larger. The intervals are those of the chosen hyper-parameters and do not include the luck of tuning.</p>"
        f"{images}<h2>Width of the valley</h2><p>Decades of the learning rate over which the final loss stays within "
        f'10 % of the best trial.</p><div class="scroll">{_as_html(result.sensitivity())}</div>'
        f"<h2>Every number</h2>{details}<h2>What is wrong with the runs</h2><ul>{findings}</ul>{more}"
        f"<h2>To reproduce a cell</h2><p><code>{html.escape(command)}</code></p></html>\n"
    )


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
    kind = value if value in ("better", "worse") else "t" if isinstance(value, str) else ""
    return f'<td class="{kind}">{html.escape(str(value))}</td>'


def _figures(result: Subject, reference: str, leaders: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """Return title -> (words, PNG)."""
    lines = ", ".join(leaders)
    profiles = result.profile(reference)
    found = {
        "Reaching the target in time": (
            f"Share of problems and seeds that reach the target within a multiple of the time of {reference}, which is "
            "the same reference whoever takes part.",
            _drawn(
                {"Profile": {name: (FACTORS, profiles[name][None]) for name in leaders}},
                f"time over that of {reference}",
                "share of problems and seeds",
            ),
        )
    }
    curves: dict[str, Any] = {}
    rates: dict[str, Any] = {}
    budgets: dict[str, Any] = {}
    counts = [b for b in (1, 3, 10, 20) if b <= result.protocol.tuning]
    by_budget = result.by_budget(counts)
    for p in result.problems:
        cells = {name: result.cells[p.name, name] for name in leaders}
        curves[p.name] = {
            name: (cell.reported[0].evaluations, np.stack([curve.losses for curve in cell.reported]))
            for name, cell in cells.items()
            if all(curve.status != "failed" for curve in cell.reported)
        }
        rates[p.name] = {}
        for name, cell in cells.items():
            order = np.argsort([config["lr"] for config in cell.configs])
            finals = np.array([[curve.final for curve in curves] for curves in cell.tried]).T
            rates[p.name][name] = np.array([cell.configs[i]["lr"] for i in order]), finals[:, order]
        budgets[p.name] = {name: (counts, by_budget[p.name][name]) for name in leaders}
    for title, words, panels, xlabel, log_x in (
        ("Learning curves", "Median and quartiles over the seeds.", curves, "gradient evaluations", False),
        ("Sensitivity to the rate", "Final loss of each trial.", rates, "learning rate", True),
        ("Result against tuning budget", "Best of so many trials: median and quartiles.", budgets, "trials", True),
    ):
        for start in range(0, len(panels), 3):
            some = {name: panels[name] for name in list(panels)[start : start + 3]}
            png = _drawn(some, xlabel, "held-out loss", log_x=log_x, log_y=True)
            if png:
                found[f"{title}: {', '.join(some)}"] = (f"{words} Lines: {lines}.", png)
    return {title: pair for title, pair in found.items() if pair[1]}


def _drawn(panels: Mapping[str, Any], xlabel: str, ylabel: str, *, log_x: bool = False, log_y: bool = False) -> bytes:
    """Return the figure as PNG, without lines and panels of which nothing is finite; empty if nothing is left."""
    from ..plots import comparison
    from ..plots.style import as_png

    def finite(values: np.ndarray) -> bool:
        middle = np.quantile(values, 0.5, axis=0, method="inverted_cdf")
        return bool((np.isfinite(middle) & (middle > 0 if log_y else True)).any())

    kept = {
        title: {label: (x, values) for label, (x, values) in lines.items() if finite(values)}
        for title, lines in panels.items()
    }
    kept = {title: lines for title, lines in kept.items() if lines}
    if not kept:
        return b""
    return as_png(comparison(None, kept, xlabel=xlabel, ylabel=ylabel, log_x=log_x, log_y=log_y, share_y=False))
