"""A study: the same table for every engine and after every kill; trials that are prefixes; bad input."""

import csv
import io
import json
import re

import numpy as np
import pytest
import trials_to_run as built

from minnet.experiments import (
    Choice,
    Config,
    Engine,
    Grid,
    Halving,
    Log,
    Outcome,
    Random,
    Space,
    Store,
    StoreError,
    Study,
    Uniform,
    digest,
    progress,
)
from minnet.experiments.__main__ import main
from minnet.experiments.trials import train
from minnet.training.direction import Direction

SPACE = Space(lr=Log(1e-3, 1.0), momentum=Choice(0.5, 0.9))
RATE = Space(lr=Log(1e-3, 1.0))


def study(path=None, space=SPACE, build=built.build, metric="val_loss", **options):
    return Study(path, space, build, metric, **options)


def search(s, **options):
    """The searches of the README in small."""
    options = {"progress": False, **options}
    s.run(Random(8), steps=4, **options)
    s.run(Halving(8, rungs=(2, 6, 12)), **options)
    s.run(Random(3, within=s.narrowed(top=3)), steps=12, **options)
    return digest(s.table)


@pytest.fixture(scope="module")
def whole():
    with study() as s:
        yield search(s), s.table


def test_two_processes_give_the_digest_of_one(whole, tmp_path):
    with study(tmp_path / "s.db") as s:
        assert search(s, workers=2) == whole[0]
        assert {row.outcome.where["threads"] for row in s.rows} == {1}


@pytest.mark.parametrize("kill_after", [1, 9, 18, 20])
def test_a_study_that_was_broken_off_goes_on_and_repeats_nothing(kill_after, whole, tmp_path, monkeypatch):
    put, count = Store.put, []

    def breaking(self, unit, outcome):
        if len(count) == kill_after:
            raise KeyboardInterrupt
        count.append(unit.key)
        put(self, unit, outcome)

    monkeypatch.setattr(Store, "put", breaking)
    with study(tmp_path / "s.db") as s, pytest.raises(KeyboardInterrupt):
        search(s)
    assert len(count) == kill_after
    monkeypatch.setattr(Store, "put", lambda self, unit, outcome: (count.append(unit.key), put(self, unit, outcome)))
    for _ in range(2):  # the second time there is nothing to do
        with study(tmp_path / "s.db") as s:
            assert search(s) == whole[0]
    assert len(count) == len(set(count)) == len(whole[1])


def test_trials_are_the_same_however_many_are_asked_for():
    for strategy in (Random, lambda n: Halving(n, (1, 2))):
        few, many = (strategy(n).trials(SPACE, 3) for n in (2, 9))
        assert many[:2] == few
        assert len({trial.seed for trial in many}) == 9
    assert Random(2).trials(SPACE, 4) != few
    other = Space(lr=Log(1e-4, 1.0), momentum=Choice(0.5, 0.9))
    inner = Random(2, within=other).trials(SPACE, 3)
    assert [RATE.ranges["lr"].unit(t.config.lr) for t in inner] != [RATE.ranges["lr"].unit(t.config.lr) for t in few]


@pytest.mark.parametrize("rungs", [(4, 12), (2, 7, 12), (1, 11)])
def test_a_trial_that_goes_on_from_its_state_has_the_result_of_a_whole_one(rungs):
    config = Config({"lr": 0.3, "momentum": 0.9})
    state = None
    for steps in rungs:
        result, state = train(built.build, config, 7, steps, "val_loss", state, keep=True)
        alone, _ = train(built.build, config, 7, steps, "val_loss", None, keep=False)
        assert digest(result) == digest(alone)
        assert result["steps"] == steps
    if steps == 12:
        assert result["figure"] == built.build(config, 7).run(progress=False)["val_loss"][-1]


def test_a_trial_amid_an_epoch_has_the_validation_figure_of_that_step():
    config = Config({"lr": 0.3, "momentum": 0.9})
    result, _ = train(built.build, config, 7, 6, "val_accuracy", None, keep=False)
    trainer = built.build(config, 7)
    for record in trainer:
        if record.step == 6:
            break
    found = trainer.net.evaluate(*built.VAL)
    assert result["row"]["val_loss"] == found["loss"]
    assert result["figure"] == found["accuracy"]


def test_halving_keeps_the_best_of_each_rung():
    with study(metric="val_accuracy") as s:
        s.run(Halving(9, rungs=(2, 6, 12)), progress=False)
        rungs = {n: {r["trial"]: r["val_accuracy"] for r in s.table if r["steps"] == n} for n in (2, 6, 12)}
    assert [len(rungs[n]) for n in (2, 6, 12)] == [9, 3, 1]
    for short, long in ((2, 6), (6, 12)):
        kept = [rungs[short][name] for name in rungs[long]]
        assert sorted(kept) == sorted(rungs[short].values())[-len(kept) :]


def test_a_trial_that_raises_dies_hangs_or_diverges_costs_itself_only(tmp_path):
    space = Space(trouble=Choice(0, 1, 3, 4, 5, 6), lr=Log(1e-2, 1.0))
    with study(tmp_path / "s.db", space, built.troubled) as s:
        s.run(Grid({"lr": 1}), workers=2)
        found = {row["trouble"]: row for row in s.table}
        assert [found[i]["status"] for i in (0, 1, 3, 4, 5, 6)] == ["failed", "died", "diverged", *["done"] * 3]
        assert found[0]["words"] == "RuntimeError: no such data"
        report = s.report()
        assert report.counts == {"failed": 1, "died": 1, "diverged": 1, "done": 3}
        assert "1 x RuntimeError: no such data" in str(report)
        assert s.best()[0].columns["config"]["trouble"] in (4, 5, 6)
    with study(None, Space(trouble=Choice(2), lr=Log(1e-2, 1.0)), built.troubled) as s:
        s.run(Grid({"lr": 1}), workers=1, limit=1)
        assert [row["status"] for row in s.table] == ["late"]


def test_a_report_compares_leaders_on_fresh_seeds_and_repeats_nothing(tmp_path):
    with study(tmp_path / "s.db") as s:
        s.run(Random(10), progress=False)
        found = s.report(fresh_seeds=4, leaders=3, progress=False)
        rows = len(s.table)
        assert str(s.report(fresh_seeds=4, leaders=3)) == str(found)
        assert len(s.table) == rows == 10 + 3 * 4
        trials = {row["seed"] for row in s.table if row["kind"] == "trial"}
        fresh = {row["seed"] for row in s.table if row["kind"] == "fresh"}
        assert not trials & fresh
        assert len(fresh) == 4  # the same for each leader
        assert [leader.fresh.mean() for leader in found.leaders] == sorted(
            leader.fresh.mean() for leader in found.leaders
        )
        assert found.noise > 0
        assert {*found.tied} <= {leader.name for leader in found.leaders[1:]}
        assert "not told apart from the best" in str(found)
        # The leaders of later reports are trials of the search.
        assert all(row.columns["kind"] == "trial" for row in s.best(20))


def test_a_metric_is_maximised_where_it_should_be():
    with study(metric="val_accuracy") as s:
        s.run(Random(6), progress=False)
        assert s.best()[0].outcome.result["figure"] == max(row["val_accuracy"] for row in s.table)
    with study(metric="val_loss", mode="max") as s:
        s.run(Random(3), progress=False)
        assert s.best()[0].outcome.result["figure"] == max(row["val_loss"] for row in s.table)


def test_a_study_is_shown_and_exported(tmp_path, capsys):
    path = tmp_path / "s.db"
    with study(path) as s:
        s.run(Random(4), progress=False)
        s.to_csv(tmp_path / "table.csv")
        s.plot(tmp_path / "s.png")
        assert (tmp_path / "s.png").stat().st_size > 10_000
        table = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text(encoding="utf-8"))))
        assert [float(row["val_loss"]) for row in table] == [row["val_loss"] for row in s.table]
        assert {"lr", "momentum", "seconds", "machine", "threads", "version", "end val_accuracy"} <= set(table[0])
        assert "random 3" in repr(s)
        assert main(["show", str(path)]) == 0  # while the study is open
    shown = capsys.readouterr().out
    assert "4 outcomes, 0 of them failed; val_loss, min" in shown
    assert main(["show", str(path), "--csv"]) == 0
    assert capsys.readouterr().out.count("\n") == 5
    assert main(["show", str(tmp_path / "none.db")]) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_progress_is_quiet_off_a_terminal_and_a_line_in_a_log_where_asked_for(capsys):
    with study() as s:
        s.run(Random(2), steps=4)
        assert capsys.readouterr().err == ""
        s.run(Random(3), steps=4, progress=True)
        assert re.fullmatch(r"3 of 3 done, 0 failed, best so far \S+, 0:\d\d left\n", capsys.readouterr().err)


def test_the_time_that_is_left_does_not_count_what_was_stored(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = progress.ProgressLine(200, Direction("min"), True, stored=150)
    monkeypatch.setattr(line, "_terminal", True)
    for _ in range(150):
        line(None, Outcome("done", result={"figure": 1.0}))
    now[0] += 10
    line(None, Outcome("failed"))
    assert line.text(now[0]) == "151 of 200 done, 1 failed, best so far 1, 8:10 left"


# Bad input ---------------------------------------------------------------------------------------------------


def test_a_store_of_another_study_is_refused_with_what_differs(tmp_path):
    study(tmp_path / "s.db").close()
    for other, words in (
        ({"metric": "val_accuracy"}, "metric is"),
        ({"seed": 1}, "seed is 0 in the file, 1 here"),
        ({"space": Space(lr=Log(1e-3, 2.0), momentum=Choice(0.5, 0.9))}, "space is"),
    ):
        with pytest.raises(StoreError, match=words):
            study(tmp_path / "s.db", **other)


def test_other_data_make_another_study(tmp_path, monkeypatch):
    study(tmp_path / "s.db").close()
    monkeypatch.setattr(built, "TRAIN", (built.TRAIN[0] + 1, built.TRAIN[1]))
    with pytest.raises(StoreError, match=r"run data x crc32 is"):
        study(tmp_path / "s.db")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: study(metric="val_acc", mode="max"), ValueError, "val_acc"),
        (lambda: study(metric="fitness"), ValueError, "mode='min' or mode='max'"),
        (lambda: study(space=RATE), TypeError, r"to take \{'lr': .*expected one of lr; got 'momentum'"),
        (lambda: study(space=SPACE, build=built.plain), ValueError, "got momentum, which it did not read"),
        (lambda: study(build=lambda config, seed: None, space=RATE), TypeError, "return a Trainer; got None"),
        (lambda: study(space={"lr": 1}), TypeError, "expected a Space"),
        (lambda: study(space=Space(steps=Log(1, 2))), ValueError, r"columns of the table; got \['steps'\]"),
        (lambda: study(build=3), TypeError, "expected a function"),
        (lambda: Random(0), ValueError, "at least 1"),
        (lambda: Random(3, within=3), TypeError, "a Space"),
        (lambda: Halving(9, (900, 300)), ValueError, "rungs that rise"),
        (lambda: Halving(9, (100,)), ValueError, "at least two rungs"),
        (lambda: Halving(0, (1, 2)), ValueError, "at least 1"),
        (lambda: Halving(8, (100, 900)), ValueError, "at least 9 trials"),
        (lambda: study().run(Random(2), steps=0), ValueError, "at least 1"),
        (lambda: study().run(Random(2), steps=13), ValueError, "at most the 12 steps"),
        (lambda: study().run(Halving(8, (2, 13))), ValueError, "at most the 12 steps"),
        (lambda: study().run(Halving(8, (2, 12)), steps=12), ValueError, "no steps beside"),
        (lambda: study().run(Random(2, within=Space(x=Log(1, 2)))), ValueError, "the parameters lr, momentum"),
        (lambda: study().run(5), TypeError, "expected Random"),
        (lambda: study().narrowed(), ValueError, "trials that are done; got none"),
        (lambda: study().report(), ValueError, "trials that are done; got none"),
        (
            lambda: study(space=RATE, build=lambda c, s: built.plain(c, s)).run(Random(2), workers=2),
            TypeError,
            "lambda",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_runs(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_metric_that_no_row_has_ends_the_study_at_the_first_trial():
    with study(space=RATE, build=built.unnamed, metric="fitness", mode="max") as s:
        with pytest.raises(ValueError, match="fitness"):
            s.run(Random(5), progress=False)
        assert len(s.table) == 1
    with study(metric="accuracy") as s, pytest.raises(ValueError, match="figure of the validation data"):
        s.run(Random(5), steps=3, progress=False)


def test_a_study_in_which_all_fail_says_why_and_a_closed_one_that_it_is_closed():
    space = Space(trouble=Choice(0), lr=Log(1e-2, 1.0))
    with study(space=space, build=built.troubled) as s:
        s.run(Halving(4, (1, 2)))
        for ask in (s.report, s.narrowed):
            with pytest.raises(ValueError, match=r"got 4, none of them\. The first: RuntimeError: no such data"):
                ask()
    with pytest.raises(StoreError, match="expected an open store"):
        s.run(Random(1))


def test_workers_survive_several_searches():
    from minnet.experiments.trials import train as function
    from minnet.experiments.units import Unit

    with Engine(0) as engine, Store(None, {}) as store:
        for n in (2, 3):
            units = [
                Unit(str(i), function, (built.plain, Config({"lr": 0.1}), i, 4, "val_loss", None, False), {})
                for i in range(n)
            ]
            assert all(o.status == "done" for _, o in engine.run(units, store))
        assert len(store.rows()) == 3


def test_a_uniform_range_of_a_study_travels_through_its_store(tmp_path):
    space = Space(lr=Uniform(0.01, 0.1))
    with study(tmp_path / "s.db", space, built.plain) as s:
        s.run(Random(2), progress=False)
        stored = json.loads(s.store._file.execute("SELECT columns FROM units").fetchone()[0])
    assert stored["config"]["lr"] == Random(2).trials(space, 0)[0].config.lr
    assert np.isfinite(stored["seed"])
