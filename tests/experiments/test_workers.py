"""Engines: the same outcomes from each, and a unit that fails, hangs or dies costs itself only."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import units_of_work as work

from minnet.experiments import Engine, EngineError, Outcome, Shared, Store, StoreError, Unit, run

SHARED = Path(work.__file__).parent


def units(n, function=work.square):
    return [Unit(f"{function.__name__} {i}", function, (i,), {"number": i}) for i in range(n)]


def table(store):
    """What does not depend on who ran the units, by key."""
    return {
        row.key: (row.outcome.status, row.outcome.result.get("figure"), str(row.outcome.result.get("curve")))
        for row in store.rows()
    }


def serial(given):
    with Store(None, {}) as store:
        assert len(list(run(given, store))) == len(given)
        return table(store)


@pytest.fixture(scope="module")
def pool():
    with Engine(2) as engine:
        yield engine


def test_units_in_this_process_are_stored_and_not_run_again():
    with Store(None, {}) as store:
        first = list(run(units(3), store))
        assert [outcome.result["figure"] for _, outcome in first] == [0, 1, 4]
        again = list(run(units(5, work.square), store))
        assert [unit.columns["number"] for unit, _ in again] == [0, 1, 2, 3, 4]
        assert len(store.rows()) == 5


def test_units_are_given_what_they_share():
    given = [Unit(f"shared {i}", work.square, (Shared(name),)) for i, name in enumerate(("three", "four"))]
    with ThreadPoolExecutor(1) as pool:
        for options in ({}, {"executor": pool}):
            with Engine(shared={"three": 3, "four": 4}, **options) as engine, Store(None, {}) as store:
                found = {unit.key: outcome.result["figure"] for unit, outcome in engine.run(given, store)}
                assert found == {"shared 0": 9, "shared 1": 16}
    with Store(None, {}) as store, pytest.raises(ValueError, match=r"among \['three'\]; got \['four'\]"):
        Engine(shared={"three": 3}).run(given, store)


def test_units_with_the_same_key_run_once():
    with Store(None, {}) as store:
        assert len(list(run([*units(2), *units(2)], store))) == 4
        assert len(store.rows()) == 2


def test_a_unit_that_raises_costs_itself_only_and_leaves_its_words():
    with Store(None, {}) as store:
        given = [*units(1, work.failing), *units(1, work.no_number), *units(2)]
        found = {unit.key: outcome for unit, outcome in run(given, store)}
    assert [outcome.status for outcome in found.values()] == ["failed", "diverged", "done", "done"]
    assert found["failing 0"].words.startswith("ValueError: no trial 0\nTraceback")
    assert "units_of_work.py" in found["failing 0"].words


def test_processes_give_what_one_process_gives_and_survive_units_that_die_and_raise(pool, tmp_path):
    once = Unit("once", work.dying_once, (str(tmp_path / "once"),))
    bad = [*units(1, work.dying), *units(1, work.failing), once]
    bad += [*units(1, work.dying_amid_its_answer), *units(1, work.leaving)]
    bad += [*units(1, work.raising_what_cannot_be_pickled), *units(1, work.returning_what_cannot_be_pickled)]
    with Store(tmp_path / "a.db", {}) as store:
        found = {unit.key: outcome for unit, outcome in pool.run([*bad, *units(12)], store)}
        assert table(store).items() >= serial(units(12)).items()
    assert found["dying 0"].status == "died"
    assert "signal 9" in found["dying 0"].words
    assert found["dying_amid_its_answer 0"].status == "died"
    assert found["leaving 0"].words.startswith("SystemExit: no trial 0\nTraceback")
    assert found["raising_what_cannot_be_pickled 0"].words.startswith("Unpicklable: ")
    assert found["returning_what_cannot_be_pickled 0"].status == "failed"
    assert found["failing 0"].status == "failed"
    assert found["once"].status == "done"  # it was handed out once more
    assert found["square 3"].where["threads"] == 1
    assert len(found) == 19


def test_a_unit_that_hangs_is_ended_and_others_go_on(pool, monkeypatch):
    with Store(None, {}) as store:
        with monkeypatch.context() as patch:
            patch.setattr(pool._processes, "_limit", 1.0)  # as Engine(2, limit=1.0) does
            ((_, outcome),) = pool.run(units(1, work.hanging), store)
        assert outcome == Outcome("late", "took longer than 1 s, and its process was ended")
        assert {outcome.status for _, outcome in pool.run(units(4), store)} == {"done"}


def test_a_process_that_is_killed_while_it_has_no_unit_costs_nothing(pool):
    with Store(None, {}) as store:
        list(pool.run(units(2), store))
        os.kill(pool._processes._workers[0].process.pid, signal.SIGKILL)
        assert {outcome.status for _, outcome in pool.run(units(6), store)} == {"done"}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_a_process_has_no_more_threads_than_it_was_told(pool):
    """One that works, and one that waits for the end of the coordinator."""
    with Store(None, {}) as store:
        ((_, outcome),) = pool.run(units(1, work.threads_of_this_process), store)
    assert outcome.result["figure"] == 2, outcome.words


def test_states_and_arrays_travel_as_they_are(pool):
    with Store(None, {}) as store:
        list(pool.run([Unit("w", work.waiting, (3, 0.0)), *units(1)], store))
        assert store.get("w").state == b"state"
        np.testing.assert_array_equal(store.get("square 0").result["curve"], np.arange(3.0))


class Counting:
    """An executor that counts calls in flight."""

    def __init__(self):
        self.inner, self.now, self.most = ThreadPoolExecutor(2), 0, 0

    def submit(self, function, /, *arguments):
        self.now += 1
        self.most = max(self.most, self.now)
        future = self.inner.submit(function, *arguments)
        future.add_done_callback(self._done)
        return future

    def _done(self, _):
        self.now -= 1


def test_any_executor_is_an_engine_with_at_most_twice_its_workers_in_flight():
    executor = Counting()
    with Store(None, {}) as store:
        list(run(units(30), store, executor=executor, workers=2))
        assert table(store) == serial(units(30))
    assert 2 <= executor.most <= 4
    executor.inner.shutdown()


class Losing:
    """An executor that loses every unit of a kind, or breaks."""

    def __init__(self, breaks=False):
        self.calls, self.breaks = [], breaks

    def submit(self, function, /, *arguments):
        self.calls.append(arguments[0].key)
        future = Future()
        if self.breaks and len(self.calls) > 3:
            raise RuntimeError("cannot schedule new futures")
        if arguments[0].key == "square 1":
            future.set_exception(OSError("connection lost"))
        else:
            future.set_result(function(*arguments))
        return future


def test_a_unit_that_the_engine_loses_is_tried_twice():
    executor = Losing()
    with Store(None, {}) as store:
        found = {unit.key: outcome for unit, outcome in run(units(4), store, executor=executor, workers=1)}
    assert executor.calls.count("square 1") == 2
    assert len(executor.calls) == 5
    assert (found["square 1"].status, found["square 2"].status) == ("died", "done")
    assert "OSError: connection lost" in found["square 1"].words


def test_an_executor_that_breaks_stops_the_study_and_leaves_what_was_done():
    with Store(None, {}) as store:
        with pytest.raises(EngineError, match="run the study again"):
            list(run(units(9), store, executor=Losing(breaks=True), workers=1))
        done = len(store.rows())
        assert 0 < done < 9
        list(run(units(9), store))
        assert table(store) == serial(units(9))


def test_ctrl_c_leaves_what_was_done():
    def interrupt(unit, outcome):
        if unit.columns["number"] == 2:
            raise KeyboardInterrupt

    with Store(None, {}) as store:
        with pytest.raises(KeyboardInterrupt):
            list(run(units(9), store, progress=interrupt))
        assert len(store.rows()) == 3
        list(run(units(9), store))
        assert table(store) == serial(units(9))


def test_a_store_that_cannot_be_written_stops_the_study(monkeypatch):
    with Store(None, {}) as store:
        store._file.execute("PRAGMA max_page_count=8")
        big = [Unit(f"w {i}", work.square, (i,), {"text": "x" * 10_000}) for i in range(9)]
        with pytest.raises(StoreError, match="full"):
            list(run(big, store))


# Before anything starts --------------------------------------------------------------------------------------


def test_a_lambda_an_inner_function_and_what_cannot_be_pickled_are_refused():
    def inner(x):
        return {}, None

    for function, words in ((lambda x: ({}, None), "a lambda"), (inner, "one within another function")):
        for unit in (Unit("k", function, (1,)), Unit("k", work.square, (function,))):
            with Store(None, {}) as store, pytest.raises(TypeError, match=f"got {words}.*Put it in a module"):
                run([unit], store, workers=2)
    with Store(None, {}) as store, pytest.raises(TypeError, match="can be pickled"):
        run([Unit("k", work.square, ((x for x in ()),))], store, workers=2)


PROGRAM = """
import os
from minnet.experiments import Store, Unit, run
import units_of_work as work

def own(x):
    return {"figure": 1.0 * x, "folder": os.getcwd()}, None

def main():
    os.makedirs("inner", exist_ok=True)
    os.chdir("inner")
    with Store(None, {}) as store:
        print([tuple(o.result.values()) for _, o in run([Unit("k", FUNCTION, (3,))], store, workers=1)])

"""


def program(body, path=None, function="own"):
    text = PROGRAM.replace("FUNCTION", function) + body
    environment = {**os.environ, "PYTHONPATH": f"{SHARED}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    options = {"capture_output": True, "text": True, "env": environment}
    if path is None:
        return subprocess.run([sys.executable, "-"], input=text.replace('"inner"', '"."'), **options)
    path.write_text(text, encoding="utf-8")
    return subprocess.run([sys.executable, path.name], cwd=path.parent, **options)


def test_a_program_without_a_main_guard_is_refused(tmp_path):
    done = program("main()\n", tmp_path / "search.py")
    assert 'RuntimeError: workers: expected `if __name__ == "__main__":` around the program' in done.stderr
    assert "run with workers=0" in done.stderr
    assert done.stderr.count("Traceback") == 1


def test_a_program_with_a_main_guard_runs_and_its_processes_are_in_its_folder(tmp_path):
    done = program('if __name__ == "__main__":\n    main()\n', tmp_path / "search.py")
    assert (done.stdout, done.stderr) == (f"{[(3.0, str(tmp_path / 'inner'))]}\n", "")


def test_a_program_that_processes_cannot_import_is_an_error_that_says_so(tmp_path):
    body = 'if __name__ == "__main__":\n    main()\nelse:\n    raise OSError("not here")\n'
    done = program(body, tmp_path / "search.py")
    assert done.stderr.count("OSError: not here") == 3  # their own words
    assert "EngineError: Engine: expected processes that start; got 3 that ended as they started" in done.stderr


def test_a_program_on_standard_input_is_refused():
    assert "typed in a notebook or on standard input" in program("main()\n").stderr
    assert "expected a main program in a file" in program("main()\n", function="work.square").stderr


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"workers": -1}, ValueError, "at least 0"),
        ({"workers": 1.5}, TypeError, "whole number"),
        ({"limit": 3}, ValueError, "workers=1 or more for a limit"),
        ({"limit": 0, "workers": 1}, ValueError, "above 0"),
        ({"executor": 3}, TypeError, "an executor with submit"),
    ],
)
def test_engines_that_are_none_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        Engine(**arguments)


COORDINATOR = """
import os, sys
from minnet.experiments import Store, Unit, run
import units_of_work as work

if __name__ == "__main__":
    with Store(sys.argv[1], {}) as store:
        for unit, outcome in run([Unit(str(i), work.waiting, (i, 30.0 * (i > 1))) for i in range(4)], store, workers=2):
            print(*os.popen(f"pgrep -P {os.getpid()}").read().split(), flush=True)
"""


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_workers_are_gone_soon_after_their_coordinator_and_the_study_goes_on(how, tmp_path):
    """Ctrl-C sends SIGINT to the whole group of processes."""
    path = tmp_path / "search.py"
    path.write_text(COORDINATOR, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{SHARED}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    options = {"text": True, "env": environment, "start_new_session": True}
    with subprocess.Popen(
        [sys.executable, path, tmp_path / "a.db"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    ) as started:
        children = started.stdout.readline().split()
        started.stdout.readline()
        if how == "killed":
            started.send_signal(signal.SIGKILL)
        else:
            os.killpg(started.pid, signal.SIGINT)
        errors = started.communicate(timeout=25)[1]  # trials of 30 s are under way
    assert started.returncode == -(signal.SIGKILL if how == "killed" else signal.SIGINT)
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt\n") == (how == "interrupted")
    assert len(children) >= 2
    until = time.monotonic() + 20
    while (left := [child for child in children if Path(f"/proc/{child}").exists()]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left
    with Store(tmp_path / "a.db", {}) as store:
        stored = store.rows()
        assert len(stored) == 2
        list(run([Unit(str(i), work.waiting, (i, 0.0)) for i in range(4)], store))
        assert [row.outcome.result["figure"] for row in store.rows()] == [0, 1, 2, 3]
        assert store.rows()[:2] == stored
