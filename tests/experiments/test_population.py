"""Population based training: its winner is a plain run, and no engine or kill changes a bit of it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import populations as cases
import pytest

import minnet as mn
from minnet.experiments import (
    Choice,
    Config,
    Integer,
    Log,
    Population,
    Space,
    Store,
    StoreError,
    Uniform,
    When,
    evolution,
    lineage,
    pbt,
    population,
)
from minnet.experiments.__main__ import main

SPACE, SETTINGS = cases.SPACE, cases.SETTINGS


@pytest.fixture(scope="module")
def result():
    return pbt(cases.adam, SPACE, SETTINGS, progress=False)


def plain_run(result, build="adam"):
    """The winner as a user would repeat it, with ``fit``."""
    w = result.winner
    net = cases.net(w.seed)
    given = cases.given(w.schedules)
    if build == "momentum":
        given = {"rule": mn.Nesterov(w.schedules["beta"]), "lr": w.schedules["lr"], "clip_norm": 1.0}
    mn.fit(net, cases.images(), **cases.kept(w.seed), **given, progress=False)
    return net


def same(net, other):
    return np.array_equal(net.params, other.params) and np.array_equal(net.buffers, other.buffers)


# The winner --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("build", "seed"), [("adam", 1), ("momentum", 2)])
def test_the_winner_is_a_plain_run_with_schedules(build, seed):
    """With batch normalization, dropout and augmentation; rate, decay and momentum vary."""
    settings = Population(size=4, generations=3, steps=7, share=0.5, seed=seed)
    found = pbt(getattr(cases, build), SPACE, settings, progress=False)
    names = {*SPACE.ranges} - ({"decay"} if build == "momentum" else set())
    assert any(len(found.winner.schedules[name].values) > 1 for name in names)
    assert same(found.net(), plain_run(found, build))


MISTAKES = {
    "rate from the checkpoint": lambda trainer, saved: setattr(trainer, "lr", saved.get("run", "lr")),
    "decay from the checkpoint": lambda trainer, saved: _decay(trainer, saved.get("run", "weight_decay")),
    "slots of zeros": lambda trainer, saved: trainer.optimizer.state.fill(0),
    "noise from the start": lambda trainer, saved: setattr(trainer.net, "step", 0),
    "data from the start": lambda trainer, saved: trainer.batches.seek(0, 0),
}


def _decay(trainer, value):
    for part in trainer.optimizer._parts:
        part.decay = value


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_would_see_a_mistake(mistake, monkeypatch):
    branch_off = population.branch_off

    def mistaken(trainer, saved):
        branch_off(trainer, saved)
        MISTAKES[mistake](trainer, saved)

    monkeypatch.setattr(population, "branch_off", mistaken)
    settings = Population(size=4, generations=3, steps=7, share=0.5, seed=1)
    found = pbt(cases.adam, SPACE, settings, progress=False)
    assert any(len(schedule.values) > 1 for schedule in found.winner.schedules.values())
    assert not same(found.net(), plain_run(found))


def test_the_lineage_tells_parent_values_and_score_of_each(result):
    assert [(m.generation, m.member) for m in result.lineage] == [(g, i) for g in range(3) for i in range(4)]
    by_place = {(m.generation, m.member): m for m in result.lineage}
    for m in result.lineage:
        assert SPACE.contains(m.config)
        assert len(m.path) == m.generation + 1
        if m.generation == 0:
            assert m.parent is None
            continue
        parent = by_place[m.generation - 1, m.parent]
        assert m.path[:-1] == parent.path
        assert m.seed == parent.seed
        rank = sorted(range(4), key=lambda i: (by_place[m.generation - 1, i].score, i))
        if m.member == rank[-1]:  # truncation
            assert m.parent == rank[0]
            assert m.config != parent.config
        else:
            assert m.parent == m.member
            assert m.config == parent.config
    ways = result.ancestors()
    assert ways[-1] == result.lineage[-4:][result.best.member]
    assert {m.state for m in result.lineage} == {None}
    assert [m.config for m in ways] == list(result.best.path)
    assert result.best.score == min(m.score for m in result.lineage[-4:])


def test_the_score_that_selected_is_not_reported_as_the_result(result):
    apart = cases.images(50, 9)
    assert result.evaluate(apart) == result.net().evaluate(*apart)
    assert result.winner.selection_score == pytest.approx(result.evaluate(cases.images(30, 1))["loss"])
    assert not hasattr(result.winner, "score")
    assert "flatters: evaluate(data) measures the winner on data apart" in str(result)
    assert str(result).startswith("Population of 4 over 3 generations of 7 steps, 2 copies, 0 failed")


def test_a_figure_of_values_and_scores(result, tmp_path):
    drawn = result.plot()
    assert [axis.get_ylabel() for axis in drawn.axes] == ["lr", "decay", "beta", "val_loss"]
    thick = [line for line in drawn.axes[0].lines if line.get_linewidth() > 2]
    shown = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in thick]
    assert shown == [(7 * (m.generation + 1), m.config.lr) for m in result.ancestors()]
    result.plot(tmp_path / "lineage.svg")
    rows = (tmp_path / "lineage.csv").read_text().splitlines()
    assert rows[0] == "generation,member,parent,seed,lr,decay,beta,status,val_loss"
    assert len(rows) == 13


# Decisions ---------------------------------------------------------------------------------------------------

WIDE = Space(lr=Log(1e-4, 1.0), units=Integer(1, 9), share=Uniform(0.0, 1.0), level=Choice(0.5, 0.9, 0.99))


def scored(scores, space=WIDE, size=None):
    members = evolution.first(space, len(scores), 3)
    return [
        evolution.Member(0, m.member, None, m.seed, m.path, "done" if s is not None else "failed", s, b"")
        for m, s in zip(members, scores, strict=True)
    ]


def next_of(scores, mode="min", share=0.25, generation=0):
    settings = Population(size=len(scores), share=share)
    return evolution.next_generation(scored(scores), WIDE, settings, mn.training.direction.Direction(mode))


def test_ties_are_decided_by_place():
    coming = next_of([1.0] * 8)
    assert [m.parent for m in coming][:6] == [0, 1, 2, 3, 4, 5]
    assert {m.parent for m in coming[6:]} <= {0, 1}


def test_the_worst_copy_the_best_in_both_directions():
    scores = [3.0, 9.0, 1.0, 5.0, 7.0, 2.0, 8.0, 6.0]
    least, most = next_of(scores), next_of(scores, "max")
    assert {m.member for m in least if m.parent != m.member} == {1, 6}
    assert {least[1].parent, least[6].parent} <= {2, 5}
    assert {m.member for m in most if m.parent != m.member} == {2, 5}
    assert {most[2].parent, most[5].parent} <= {1, 6}


def test_members_that_failed_copy_the_best_even_if_they_are_many():
    coming = next_of([None, 2.0, None, None, 1.0, None, None, None])
    assert {m.member for m in coming if m.parent == m.member} == {1, 4}
    assert {m.parent for m in coming} == {1, 4}
    assert {m.parent for m in next_of([None, None, None, 1.0])} == {3}


@pytest.mark.parametrize("factor", [1.01, 1.25, 3.0])
def test_explored_values_stay_in_their_ranges_and_move(factor):
    config = WIDE.draw(np.random.default_rng(0))
    moved = dict.fromkeys(WIDE.ranges, 0)
    for i in range(300):
        before, config = config, evolution.explored(config, WIDE, factor, np.random.default_rng(i))
        assert WIDE.contains(config)
        assert isinstance(config.units, int)
        for name in moved:
            moved[name] += before[name] != config[name]
    assert min(moved.values()) > 150


def test_the_test_of_bounds_would_see_values_that_leave_them(monkeypatch):
    monkeypatch.setattr(Log, "clip", lambda self, value: value)
    with pytest.raises(AssertionError):
        test_explored_values_stay_in_their_ranges_and_move(3.0)


def test_values_are_perturbed_by_the_factor_or_drawn_anew():
    """About a quarter are drawn anew, and half of the others are lowered."""
    space, config = Space(lr=Log(1e-4, 1.0)), Config({"lr": 0.01})
    values = [evolution.explored(config, space, 2.0, np.random.default_rng(i)).lr for i in range(2000)]
    assert values.count(0.02) == pytest.approx(750, abs=80)
    assert values.count(0.005) == pytest.approx(750, abs=80)
    anew = [v for v in values if v not in (0.02, 0.005)]
    assert np.mean(np.log10(anew)) == pytest.approx(-2, abs=0.2)


def test_a_decision_depends_on_seed_generation_and_member_only():
    scores = [3.0, 9.0, 1.0, 5.0, 7.0, 2.0, 8.0, 6.0]
    assert next_of(scores) == next_of(scores)
    other = [3.1, *scores[1:]]
    assert [m.config for m in next_of(other)] == [m.config for m in next_of(scores)]
    configs = [
        evolution.explored(Config(m.config), WIDE, 1.2, evolution._stream(0, 1, m.member)) for m in next_of(scores)
    ]
    assert len({repr(config) for config in configs}) == 8


# Engines, stores and kills -----------------------------------------------------------------------------------


def test_every_engine_has_the_same_digest(result):
    processes = pbt(cases.adam, SPACE, SETTINGS, workers=2, progress=False)
    with ThreadPoolExecutor(3) as threads:
        futures = pbt(cases.adam, SPACE, SETTINGS, executor=threads, progress=False)
    assert processes.digest == futures.digest == result.digest
    assert pbt(cases.adam, SPACE, Population(**{**vars(SETTINGS), "seed": 8}), progress=False).digest != result.digest


def test_dask_has_the_same_digest(result):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        executor = client.get_executor(pure=False)
        assert pbt(cases.adam, SPACE, SETTINGS, executor=executor, progress=False).digest == result.digest


def test_killed_at_every_commit_it_ends_with_the_same_result(tmp_path):
    """Killed after each of the 6 commits, and amid the 3 that end a generation."""
    program = [sys.executable, cases.__file__, str(tmp_path / "store.db")]
    path = os.pathsep.join([str(Path(cases.__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(program, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [pbt(cases.adam, SPACE, cases.KILLED, progress=False).digest, "9"]


def test_a_store_goes_on_and_repeats_nothing(result, tmp_path, monkeypatch, capsys):
    path = tmp_path / "store.db"
    assert pbt(cases.adam, SPACE, SETTINGS, store=path, progress=False).digest == result.digest

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(population, "run_until", never)
    again = pbt(cases.adam, SPACE, SETTINGS, store=path, progress=False)
    assert again.digest == result.digest
    with pytest.raises(StoreError, match=r"population factor is 1\.25 in the file, 1\.5 here"):
        pbt(cases.adam, SPACE, Population(**{**vars(SETTINGS), "factor": 1.5}), store=path)
    _, rows = Store.reading(path)
    assert {row.columns["generation"] for row in rows} == {0, 1, 2}
    assert main(["show", str(path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "12 outcomes, 0 of them failed; val_loss, min" in shown[0]
    assert shown[1].split() == ["generation", "member", "parent", *SPACE.ranges, "val_loss", "seconds"]


# Bad input ---------------------------------------------------------------------------------------------------


def test_members_that_fail_are_replaced():
    found = pbt(cases.failing, SPACE, Population(size=6, generations=3, steps=7, seed=0), progress=False)
    failed = [m for m in found.lineage if m.status == "failed"]
    assert failed
    assert all(m.score is None for m in failed)
    assert found.best.score is not None
    assert same(found.net(), plain_run(found))


SETTINGS_REFUSED = {
    "smaller than its share needs": ({"size": 3}, ValueError, r"at least 4 members, so that a share of 0\.25 is one"),
    "of one": ({"size": 1, "share": 0.5}, ValueError, "at least 2 members"),
    "no members": ({"size": 0}, ValueError, "size"),
    "no generations": ({"generations": 0}, ValueError, "generations"),
    "no steps": ({"steps": 0}, ValueError, "steps"),
    "half a step": ({"steps": 0.5}, TypeError, "steps"),
    "more than half": ({"share": 0.6}, ValueError, "at most 0.5"),
    "no share": ({"share": 0.0}, ValueError, "share"),
    "factor of one": ({"factor": 1.0}, ValueError, "above 1"),
    "infinite factor": ({"factor": float("inf")}, ValueError, "factor"),
    "seed below 0": ({"seed": -1}, ValueError, "seed"),
}


@pytest.mark.parametrize("name", SETTINGS_REFUSED)
def test_settings_that_make_no_population_are_refused(name):
    given, kind, message = SETTINGS_REFUSED[name]
    with pytest.raises(kind, match=message):
        Population(**given)


CALLS_REFUSED = {
    "no space": (cases.adam, {"lr": 0.1}, TypeError, "expected a Space"),
    "texts": (cases.adam, Space(rule=Choice("a", "b")), ValueError, r"numeric ranges.*rule=Choice\('a', 'b'\)"),
    "a bool": (cases.adam, Space(on=Choice(True, 1.5)), ValueError, "numeric ranges"),
    "None": (cases.adam, Space(clip=Choice(None, 1.5)), ValueError, "numeric ranges"),
    "a condition": (cases.adam, Space(a=Choice(1, 2), b=When("a", 1, Log(1, 2))), ValueError, "numeric ranges.*b=When"),
    "no function": (None, SPACE, TypeError, "expected a function build"),
    "no trainer": (lambda config, seed: None, SPACE, TypeError, "return a Trainer"),
    "a space that build does not take": (cases.adam, Space(rate=Log(0.1, 1.0)), KeyError, "beta"),
}


@pytest.mark.parametrize("name", CALLS_REFUSED)
def test_calls_that_could_not_work_are_refused_before_anything_is_stored(name, tmp_path):
    build, space, kind, message = CALLS_REFUSED[name]
    with pytest.raises(kind, match=message):
        pbt(build, space, SETTINGS, store=tmp_path / "store.db", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_length_and_an_unknown_metric_are_refused():
    with pytest.raises(ValueError, match="a run of 28 steps, 4 generations of 7; got one of 21"):
        pbt(cases.adam, SPACE, Population(size=4, generations=4, steps=7))
    with pytest.raises(ValueError, match="val_los"):
        pbt(cases.adam, SPACE, SETTINGS, metric="val_los", mode="min")


VARYING = {
    "penalty": (lambda config, seed: cases.adam(config, seed, l2=config.decay), "net l2 is .* for one configuration"),
    "batches": (lambda config, seed: cases.adam(config, seed, batch_size=8 + (config.lr > 0.02)), "batches batch_size"),
    "seed": (lambda config, seed: cases.adam(config, int(config.lr * 1e6)), "net seed is .*batches seed"),
    "convention": (lambda config, seed: cases.adam(config, seed, bias=config.lr > 0.02), "state of the rule Adam"),
}


@pytest.mark.parametrize("name", VARYING)
def test_what_no_schedule_can_vary_is_refused_with_words(name):
    """The winner would be no plain run."""
    build, message = VARYING[name]
    with pytest.raises(ValueError, match=f"expected build to vary what a schedule can vary.*{message}"):
        pbt(build, SPACE, SETTINGS, progress=False)


def test_a_generation_in_which_all_fail_is_an_error_with_their_words():
    with pytest.raises(RuntimeError, match=r"generation 0 that has a figure; got none, as all 4 .*no data today"):
        pbt(cases.broken, SPACE, SETTINGS, progress=False)


def test_results_can_be_copied_and_printed(result):
    import pickle

    again = pickle.loads(pickle.dumps(result))
    assert again.digest == result.digest
    assert repr(result).startswith("PopulationResult(Population(size=4")
    assert isinstance(result.winner, lineage.Winner)
