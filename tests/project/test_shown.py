"""What a notebook shows of a report: its text, escaped, in lines that are not broken."""

import html
import pickle
import re

import numpy as np
import pytest

import minnet as mn
from minnet.benchmark.tables import ResultTable


def reports():
    x = np.linspace(1, 2, 4)
    yield mn.check_gradient(lambda x: (x**2).sum(), x, 2 * x)
    yield ResultTable([{"rule": "<b>Adam</b>", "loss": 0.5}])


@pytest.mark.parametrize("report", list(reports()), ids=lambda report: type(report).__name__)
def test_a_notebook_shows_the_text_of_a_report(report):
    block = report._repr_html_()
    (inside,) = re.findall(
        r'^<pre style="white-space: pre; [^"]*font-family: monospace[^"]*">(.*)</pre>$', block, re.DOTALL
    )
    assert html.unescape(inside) == str(report)
    assert "<" not in inside


def test_a_notebook_shows_the_summary_of_a_net():
    net = mn.Net([mn.Dense(3)], 4, mn.SquaredError())
    assert html.escape(net.summary()) in net._repr_html_()
    assert net.summary()._repr_html_() == net._repr_html_()
    data = np.ones((4, 4), np.float32), np.ones((4, 3))
    trainer = mn.Trainer(net, data, rule=mn.SGD(), lr=0.1, batch_size=4, steps=1)
    assert html.escape(str(trainer.summary())) in trainer.summary()._repr_html_()
    assert pickle.loads(pickle.dumps(net.summary())) == net.summary()


def test_every_kind_of_report_shows_itself():
    kinds = (mn.diagnostics.Preflight, mn.RangeTest, mn.Comparison, mn.GradientCheck, mn.experiments.Report, mn.History)
    assert all(hasattr(kind, "_repr_html_") for kind in kinds)


def test_a_notebook_shows_a_figure_that_pyplot_does_not_know():
    drawn = mn.plots.curves(None, {"a line": ([0, 1], [0, 1])}, title="", xlabel="", ylabel="")
    assert drawn._repr_png_().startswith(b"\x89PNG")
    assert pickle.loads(pickle.dumps(drawn))._repr_png_() == drawn._repr_png_()
