"""Runs of small benchmarks: what is known comes out, and what must not matter does not."""

import math
import shlex
import signal
import subprocess
import sys
from dataclasses import replace

import killed_benchmark
import numpy as np
import pytest
from figure_cases import only_a_mark
from killed_benchmark import ADAM, MOMENTUM, NOISY, QUADRATIC, RATES, SGD, SHORT, Raises, Uphill
from matplotlib.figure import Figure

import minnet as mn
from minnet import benchmark as b
from minnet.benchmark import scores, targets
from minnet.benchmark.__main__ import main
from minnet.benchmark.page import command
from minnet.experiments import Store


def same(one, two):
    """Whether two cells have the same bits."""
    pairs = [*zip(one.reported, two.reported, strict=True)]
    pairs += [pair for a, c in zip(one.tried, two.tried, strict=True) for pair in zip(a, c, strict=True)]
    return one.best == two.best and all(
        np.array_equal(getattr(x, name), getattr(y, name), equal_nan=True)
        for x, y in pairs
        for name in ("evaluations", "losses", "accuracies")
    )


@pytest.fixture(scope="module")
def whole():
    return b.run([QUADRATIC, NOISY], [SGD, MOMENTUM, ADAM], SHORT)


def test_leaving_an_entrant_out_changes_no_figure_of_the_others(whole):
    fewer = b.run([NOISY, QUADRATIC], [ADAM, MOMENTUM], SHORT)
    assert all(same(cell, whole.cells[place]) for place, cell in fewer.cells.items())
    assert all((fewer.profile()[name] == whole.profile()[name]).all() for name in fewer.names)
    budgets, all_budgets = fewer.by_budget((1, 3)), whole.by_budget((1, 3))
    assert all((budgets[p][n] == all_budgets[p][n]).all() for p in budgets for n in budgets[p])
    kept = {(row["problem"], row["rule"]): row for row in whole.table().rows}
    assert all(repr(kept[row["problem"], row["rule"]]) == repr(row) for row in fewer.table().rows)


def test_a_benchmark_that_is_killed_goes_on_and_equals_a_whole_one(whole, tmp_path):
    store = tmp_path / "runs.db"
    killed = subprocess.run([sys.executable, killed_benchmark.__file__, store], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(Store.reading(store)[1]) == 15
    resumed = b.run([QUADRATIC, NOISY], [SGD, MOMENTUM, ADAM], SHORT, store=store)
    assert len(resumed.rows) == len(whole.rows) == 2 * 3 * (4 + 6)
    assert all(same(cell, whole.cells[place]) for place, cell in resumed.cells.items())
    assert resumed.check() == []


def test_two_workers_give_the_same_bits(whole):
    workers = b.run([QUADRATIC, NOISY], [SGD, MOMENTUM, ADAM], SHORT, workers=2)
    assert all(same(cell, whole.cells[place]) for place, cell in workers.cells.items())


def test_dask_gives_the_same_bits(whole):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with (
        distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client,
        client.get_executor(pure=False) as executor,
    ):
        found = b.run([QUADRATIC], [SGD, MOMENTUM, ADAM], SHORT, executor=executor)
    assert all(same(cell, whole.cells[place]) for place, cell in found.cells.items())


def test_a_rule_under_two_names_is_not_told_apart():
    result = b.run([NOISY], [MOMENTUM, replace(MOMENTUM, name="Twin")], SHORT)
    assert same(result.cells[NOISY.name, "Momentum"], result.cells[NOISY.name, "Twin"])
    (twin,) = (row for row in result.table().rows if row["rule"] == "Twin")
    assert twin["time verdict"] == twin["loss verdict"] == "not told apart"


def test_a_rule_on_other_seeds_is_not_told_apart_in_ninety_five_of_a_hundred_draws():
    finals = np.array([NOISY.run(mn.Momentum(0.5), 0.02, seed).final for seed in range(100)])
    rng = np.random.default_rng(0)
    apart = 0
    for _ in range(100):
        one, two = rng.permutation(finals)[:20].reshape(2, 10)
        apart += scores.judged(one, two) != "not told apart"
    assert apart <= 5


def test_a_broken_rule_ends_last_and_says_that_python_takes_its_steps(whole):
    result = b.run([QUADRATIC, NOISY], [SGD, MOMENTUM, b.Entry("Uphill", Uphill(), RATES)], SHORT)
    for problem in (QUADRATIC, NOISY):
        rows = [row for row in result.table().rows if row["problem"] == problem.name]
        assert rows[-1]["rule"] == "Uphill"
        assert rows[-1]["hits"] == "0/6"
        assert rows[-1]["time"] == math.inf
        assert rows[-1]["loss verdict"] == "worse"
        assert "Python takes every step" in rows[-1]["remark"]
        assert not any("Python takes" in row["remark"] for row in rows[:-1])
    assert result.statements().rows[-1]["rule"] == "Uphill"


def test_an_error_in_mid_run_costs_only_its_own_cells(whole):
    result = b.run([QUADRATIC], [SGD, b.Entry("Raises", Raises(), RATES)], SHORT)
    assert same(result.cells[QUADRATIC.name, "SGD"], whole.cells[QUADRATIC.name, "SGD"])
    (row,) = (row for row in result.table().rows if row["rule"] == "Raises")
    assert row["hits"] == "0/6"
    assert "the disk of this rule is full" in row["remark"]
    assert {finding.kind for finding in result.check()} == {"missing"}


def test_momentum_on_the_quadratic_agrees_with_polyak():
    # Polyak 1964: the best rate is 4 / (sqrt(L) + sqrt(mu))^2, with momentum ((sqrt(L) - sqrt(mu)) / (sqrt(L) +
    # sqrt(mu)))^2, and the error falls by the root of the momentum in a step, so the loss by the momentum.
    problem = b.quadratic(100, steps=110, every=1)
    best, momentum = 4 / (10 + 1) ** 2, ((10 - 1) / (10 + 1)) ** 2
    curves = [problem.run(mn.Momentum(momentum), f * best, 0) for f in (0.5, 0.7, 0.9, 1.0, 1.02)]
    slopes = [np.log(curve.losses[109] / curve.losses[59]) / 50 for curve in curves]
    assert np.argmin(slopes) == 3
    # At the best rate both ends of the spectrum have a double root: the loss falls as t^2 momentum^t.
    assert slopes[3] == pytest.approx(math.log(momentum) + 2 * math.log(110 / 60) / 50, rel=0.01)
    # Above 2 (1 + momentum) / L, two per cent higher, it diverges.
    assert slopes[4] > 0


def test_adam_without_bias_correction_blows_up_early():
    problem = b.quadratic(10, steps=40, every=1)
    x, y = problem.data
    problem = replace(problem, data=(x, 0.1 * y))
    start = np.mean((0.1 * y) ** 2)
    with_, without = (problem.run(mn.Adam(bias_correction=c), 0.1, 0).losses for c in (True, False))
    # The first step is 0.1 / sqrt(0.001) times as long, which is too far.
    assert with_.max() < start
    assert without.max() == without[0] > 3 * start


def test_gradient_evaluations_of_a_line_search_are_counted_and_end_the_run():
    one = replace(b.quadratic(10, steps=40, every=1), target=1e-3)
    counted = []

    class Counting(mn.losses.SquaredError):
        def apply(self, *arguments):
            counted.append(1)
            return super().apply(*arguments)

    curve = replace(one, loss=Counting()).run(mn.LBFGS(), 1.0, 0)
    passes = sum(counted) - len(set(curve.evaluations))  # each measurement is a pass too
    assert curve.evaluations[0] > 1
    assert (np.diff(curve.evaluations) >= 0).all()
    assert curve.evaluations[-1] == one.steps <= passes < one.steps + 25  # the step that spends the budget is taken
    assert curve.losses[-1] == curve.losses[np.isfinite(curve.losses)].min() < 1e-9
    assert one.run(mn.SGD(), 0.01, 0).evaluations.tolist() == list(range(1, 41))
    assert not NOISY.takes(mn.LBFGS())
    assert QUADRATIC.takes(mn.LBFGS())


def test_a_curve_is_read_at_other_times_than_it_was_measured_at():
    curve = b.Curve(np.array([3.0, 5.0, 9.0]), np.array([4.0, 2.0, 1.0]), np.full(3, math.nan), 0.0)
    assert curve.at(np.array([2.0, 3.0, 4.0, 8.0, 10.0])).tolist() == [math.inf, 4, 4, 2, 1]


def test_trials_are_chosen_on_validation_data_and_reported_on_test_data():
    x, y = QUADRATIC.data
    # On the test data every run is bad, and large rates are best on the validation data.
    apart = replace(QUADRATIC, validation=(x, y), test=(x, y + 10), target=1.0, validation_target=0.05)
    cell = b.run([apart], [SGD], SHORT).cells[apart.name, "SGD"]
    same_training = b.run([QUADRATIC], [SGD], SHORT).cells[QUADRATIC.name, "SGD"]
    assert cell.best == same_training.best
    assert (cell.trial_scores == same_training.trial_scores).all()
    assert (cell.finals > 50).all()
    assert (cell.times == math.inf).all()
    assert QUADRATIC.run(mn.SGD(), 0.1, 0, "validation").final == apart.run(mn.SGD(), 0.1, 0, "validation").final


def test_rosenbrock_starts_elsewhere_for_each_seed():
    surface = b.Surface("valley", mn.landscapes.Rosenbrock(), 50, 10)
    one, again, other = (surface.run(mn.SGD(), 1e-4, seed).losses for seed in (0, 0, 1))
    assert (one == again).all()
    assert (one != other).any()
    assert surface.run(mn.SGD(), 1.0, 0).status == "diverged"


def test_stale_runs_are_found(tmp_path):
    once = b.Protocol(tuning=2, choosing=(0,), reporting=(100,))
    store = tmp_path / "runs.db"
    b.run([QUADRATIC], [SGD], once, store=store)
    changed = b.run([replace(QUADRATIC, batch=32)], [SGD], once, store=store)
    found = changed.check()
    (stale,) = (finding.text for finding in found if finding.kind == "stale")
    assert stale.startswith(f"{QUADRATIC.name}, SGD: 3 runs of another digest")
    assert "duplicate" in {finding.kind for finding in found}


def test_a_divergence_is_named_with_its_seed():
    wild = b.Entry("SGD", mn.SGD(), b.Space(lr=b.Log(1e3, 1e4)), b.constant)
    found = b.run([QUADRATIC], [wild], SHORT).check()
    assert [finding.kind for finding in found] == ["non-finite"] * 6
    assert "seed 105" in found[-1].text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tuning": 0}, "tuning"),
        ({"choosing": ()}, "one seed or more for choosing"),
        ({"reporting": (1, 1)}, "each once"),
        ({"choosing": (0, 1), "reporting": (1, 2)}, r"got \[1\] for both"),
        ({"choosing": (-1,)}, "choosing"),
    ],
)
def test_protocols_that_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        b.Protocol(**arguments)


def test_entries_and_names_that_are_refused():
    with pytest.raises(ValueError, match="expected a space of lr and hyper-parameters among"):
        b.Entry("Adam", mn.Adam(), b.Space(lr=b.Log(1e-3, 1.0), momentum=b.Uniform(0.0, 1.0)))
    with pytest.raises(ValueError, match="expected a space of lr"):
        b.Entry("Adam", mn.Adam(), b.Space(beta1=b.Uniform(0.0, 0.9)))
    with pytest.raises(TypeError, match="expected a rule"):
        b.Entry("Adam", mn.Adam, RATES)
    with pytest.raises(ValueError, match="each with a name of its own"):
        b.run([QUADRATIC], [SGD, SGD])
    with pytest.raises(ValueError, match="one problem or more"):
        b.run([], [SGD])
    with pytest.raises(ValueError, match="one of the rules SGD"):
        b.chosen(["Adma"])
    with pytest.raises(ValueError, match="No module named"):
        b.chosen(["no_such_module:Rule"])
    with pytest.raises(ValueError, match="tiny, small and classic"):
        b.problems("huge")
    with pytest.raises(ValueError, match="multiple of every"):
        b.quadratic(10, steps=10, every=4)


def test_targets_of_another_version_or_of_other_data_are_refused(tmp_path):
    path = tmp_path / "targets.json"
    finals = {name: [loss] for name, loss in zip(targets.REFERENCES, (1.0, 2.0, 3.0, 4.0), strict=True)}
    double = {name: [2 * loss for loss in losses] for name, losses in finals.items()}
    targets.write({QUADRATIC.name: targets.frozen(QUADRATIC, "own", finals, double, "protocol")}, path)
    (problem,) = targets.with_targets([QUADRATIC], path)
    assert (problem.target, problem.validation_target) == (pytest.approx(3.15), pytest.approx(6.3))
    assert targets.set_of(QUADRATIC, path) == "own"
    x, y = QUADRATIC.data
    with pytest.raises(ValueError, match="have changed"):
        targets.with_targets([replace(QUADRATIC, data=(x, y + 1e-9))], path)
    assert targets.set_of(replace(QUADRATIC, data=(x, y + 1e-9)), path) is None
    path.write_text('{"version": 1, "problems": {}}')
    with pytest.raises(ValueError, match="expected targets of version 2"):
        targets.with_targets([QUADRATIC], path)
    path.write_text("{")
    with pytest.raises(ValueError, match="expected targets as JSON"):
        targets.with_targets([QUADRATIC], path)


def test_published_entries_have_names_of_their_own_and_draw_within_their_spaces():
    entries = b.published()
    assert len({entry.name for entry in entries}) == len(entries) >= 30
    for entry in entries:
        trials = entry.trials(3, 0)
        assert trials == entry.trials(5, 0)[:3]
        assert all(entry.space.contains(trial) for trial in trials)
        entry.tuned(trials[0], 100)


def test_the_page_and_its_tables(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", only_a_mark)  # tests of plots draw this kind of figure
    overhead = whole.overhead(rounds=1)
    whole.report(tmp_path / "rules.html", overhead=overhead)
    text = (tmp_path / "rules.html").read_text(encoding="utf-8")
    assert "not told apart" in text
    assert [row["rule"] for row in overhead.rows] == ["SGD", "Momentum", "Adam"]
    assert all(name.split(" ")[0] in (QUADRATIC.name, NOISY.name) for name in list(overhead.rows[0])[1:])
    assert "Time of a step" in text
    assert "not minnet&#x27;s own" in text.replace("minnet's", "minnet&#x27;s")
    assert "data:image/png" in text
    assert "http" not in text.replace("http-equiv", "")
    assert (tmp_path / "rules.csv").read_text().count("\n") == 1 + 2 * 3
    assert (tmp_path / "rules.curves.csv").read_text().count("\n") == 1 + 2 * 3 * 6 * 8
    assert (tmp_path / "rules.runs.csv").read_text().count("\n") == 1 + 2 * 3 * (4 + 6)
    whole.report(tmp_path / "rules.md")
    assert (tmp_path / "rules.md").read_text().count("| Momentum |") == 1 + 2 + 1
    with pytest.raises(ValueError, match="expected one of the entries SGD, Momentum, Adam"):
        whole.table("Muon")
    with pytest.raises(ValueError, match="budgets"):
        whole.by_budget((0,))


def test_the_command(capsys, tmp_path):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert "iris_mlp" in listed
    assert "Log(" in listed
    assert "L-BFGS" in listed
    assert main(["--rules", "Adma"]) == 2
    assert "expected module:name" in capsys.readouterr().err
    assert main(["--problems", "digits"]) == 2
    assert "expected problems among" in capsys.readouterr().err
    assert main(["--tuning", "0", "--problems", "quadratic_exact_10", "--rules", "SGD"]) == 2
    few = ["--tuning", "2", "--choosing", "1", "--reporting", "2", "--problems", "quadratic_exact_10"]
    assert main([*few, "--rules", "SGD", "Momentum", "--report", str(tmp_path / "page.html")]) == 0
    assert "not told apart" in capsys.readouterr().out
    assert (tmp_path / "page.html").exists()


def test_the_command_on_the_page_reproduces_a_cell(capsys):
    (problem,) = (p for p in b.problems("tiny") if p.name == "quadratic_exact_10")
    result = b.run([problem], b.chosen(["SGD", "Momentum", "Adam"]), b.Protocol(2, (0,), (100,)))
    _, option, code = shlex.split(command(result, problem, ["Adam", "Momentum"]))
    assert option == "-c"
    exec(code)  # what a shell would give to Python
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if "Adam" in line)
    (expected,) = (line for line in repr(result.table()).splitlines() if "Adam" in line)
    assert line.split() == expected.split()
    assert command(b.run([QUADRATIC], [SGD], SHORT), QUADRATIC, ["SGD"]) is None


def test_targets_are_frozen_though_those_of_the_file_are_of_other_data(monkeypatch, capsys):
    written = {}
    monkeypatch.setattr(targets, "write", written.update)
    monkeypatch.setattr(targets, "with_targets", None)  # it would refuse the problem
    few = ["--tuning", "2", "--choosing", "1", "--reporting", "1", "--problems", "quadratic_exact_10"]
    assert main(["--freeze", *few]) == 0
    assert written["quadratic_exact_10"]["set"] == "tiny"
    finals = written["quadratic_exact_10"]["from"]["median final loss"]
    assert written["quadratic_exact_10"]["target"] == pytest.approx(1.05 * sorted(finals.values())[2])


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_every_problem_of_a_set_has_a_frozen_target(name):
    problems = b.problems(name)
    assert all(problem.target is not None and problem.target > 0 for problem in problems)
    assert len({problem.digest() for problem in problems}) == len(problems)


def test_a_digest_is_that_of_all_processors_and_differs_for_other_data():
    # Linear algebra and sums differ between processors in the last digits.
    x, y = QUADRATIC.data

    def digest(x):
        return replace(QUADRATIC, data=(x, y)).digest()

    assert digest(np.nextafter(x, np.inf)) == QUADRATIC.digest()
    changed = x.copy()
    changed[0, 0] *= 1 + 1e-6
    assert digest(changed) != QUADRATIC.digest()
