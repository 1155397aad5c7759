"""The main job's claims: the cheapest hold, faults refute them, runs go on where they were, the page stands alone.

The main job itself puts all claims to the test; ``.ci/run`` looks at its verdicts.
"""

import importlib
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minnet as mn
from minnet.experiments.store import Store

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "reproduce.py"


@pytest.fixture
def reproduce(monkeypatch):
    """The script as a module; its claims lie in a package beside it."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(SCRIPT.parent)
    yield importlib.import_module("reproduce")
    for name in set(sys.modules) - before:
        if name in ("reproduce", "population", "loss_surface") or name.split(".")[0] == "claims":
            del sys.modules[name]


def named(reproduce, name):
    return next(c for c in reproduce.CLAIMS if c.name == name)


QUICK = ["N1", "N9", "B3", "L2", "L3", "L4", "L5", "C1"]  # with all that a fault refutes below


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_claim_holds(reproduce, name, tmp_path):
    row = named(reproduce, name)(tmp_path, reproduce.Effort(quick=True))
    assert row.verdict == "holds", row
    assert len(row.measured) <= 100
    for figure in row.figures:
        assert (tmp_path / figure.name).stat().st_size > 5000
        assert figure.caption.endswith(".")


def test_a_claim_is_refuted_where_the_code_is_wrong(reproduce, tmp_path, monkeypatch):
    # With weights twenty times larger the first loss is not that of chance.
    normal = mn.initializers.Normal
    monkeypatch.setattr(mn.initializers, "Normal", lambda std: normal(20 * std))
    assert named(reproduce, "N9")(tmp_path, reproduce.Effort(quick=True)).verdict == "does not hold here"


def misplaced(self, t):
    """The height of a triangle with the 1 of floor(1 + t / (2 s)) where a source has it."""
    cycle = math.floor(1 + t) / (2 * self.half_cycle)
    return max(0.0, 1 - abs(t / self.half_cycle - 2 * cycle + 1)) * self.amplitude(cycle, t)


def late_by_one(cls, name):
    """The schedule one step late."""
    real = getattr(cls, name)
    return lambda self, t: real(self, max(0, t - 1))


def too_late(self, params, grads, state, *, lr, t, decay, real=mn.Adam.apply):
    """Adam that takes its first step for its second."""
    real(self, params, grads, state, lr=lr, t=t + 1, decay=decay)


FAULTS = [
    ("L3", mn.schedules.Triangular, "height", misplaced),
    ("L4", mn.schedules.Triangular2, "amplitude", lambda self, cycle, t: 0.5**cycle),
    ("C1", mn.schedules.ExpRange, "amplitude", lambda self, cycle, t: self.gamma**cycle),
    ("L2", mn.schedules.Step, "at", late_by_one(mn.schedules.Step, "at")),
    ("L5", mn.schedules.WarmRestarts, "at", late_by_one(mn.schedules.WarmRestarts, "at")),
    ("B3", mn.Adam, "apply", too_late),
]


@pytest.mark.parametrize(("name", "cls", "method", "fault"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_in_a_rule_or_schedule_refutes_its_claim(reproduce, tmp_path, monkeypatch, name, cls, method, fault):
    monkeypatch.setattr(cls, method, fault)
    assert named(reproduce, name)(tmp_path, reproduce.Effort(quick=True)).verdict == "does not hold here"


# The list ------------------------------------------------------------------------------------------------------------


def test_every_claim_of_the_sources_has_one_row(reproduce):
    wanted = {f"{code}{i}" for code, n in (("N", 25), ("L", 8), ("D", 4), ("C", 3), ("B", 7)) for i in range(1, n + 1)}
    names = [c.name for c in reproduce.CLAIMS]
    assert len(names) == len(set(names))
    assert set(names) == wanted | {"spiral", "digits", "cifar-mlp", "cifar-conv"}
    for c in reproduce.CLAIMS:
        assert c.name.startswith(c.source.code)
        assert c.statement.endswith((".", ".)")), c.name
        assert c.statement[0].isupper() or c.statement[0].isdigit(), c.name
        assert len(c.title) < 72, c.name


def test_the_pages_name_the_number_of_claims(reproduce):
    tested = sum(not c.needs for c in reproduce.CLAIMS)
    for page in ("README.md", "docs/results.md", "docs/index.md"):
        said = re.findall(r"(\d+) (?:published )?claims", (ROOT / page).read_text(encoding="utf-8"))
        assert said, page
        assert set(said) == {str(tested)}, page


def test_seeds_are_those_asked_for(reproduce):
    quick, full, asked = (reproduce.Effort(**given) for given in ({"quick": True}, {}, {"quick": True, "seeds": 2}))
    spiral = named(reproduce, "spiral")
    assert [len(spiral.parts(effort)) for effort in (quick, full, asked)] == [6, 20, 2]
    d1 = [named(reproduce, "D1").parts(effort)[0].arguments for effort in (quick, asked)]
    assert d1 == [("1/t", False, 10), ("1/t", False, 2)]


def test_a_verdict_says_which_parts_hold(reproduce):
    verdict_of = importlib.import_module("claims.base").verdict_of
    assert verdict_of({"one": True, "other": True}) == "holds"
    assert verdict_of({"one": False, "other": False}) == "does not hold here"
    assert verdict_of({"one": True, "other": False, "third": True}) == "depends: holds for one, third; not for other"


# Runs that go on -----------------------------------------------------------------------------------------------------

CALLS = []


def square(n):
    CALLS.append(n)
    if n == ENDS_AT[0]:
        raise KeyboardInterrupt
    if n == 13:
        raise ValueError("unlucky")
    return {"square": n * n, "array": np.full(3, n)}


ENDS_AT = [None]


@pytest.fixture
def made_up(reproduce, monkeypatch):
    """Three claims in place of the real ones, of which two share parts, and how to put them to the test."""
    base, running = importlib.import_module("claims.base"), importlib.import_module("claims.running")

    def parts(*numbers):
        return lambda effort: [base.Part(square, (n,)) for n in numbers]

    def judged(out, effort, *found):
        CALLS.append("judged")
        (out / "a.png").write_bytes(b"a figure")
        total = sum(one["square"] for one in found)
        return base.Row("1", f"sum {total}", "holds", "long & <b>", [base.Figure("a.png", "Look here.")])

    claims = [
        base.Claim("N1", "sum", "A sum.", base.NOTES, judged, parts(1, 2, 3)),
        base.Claim("L1", "another", "Another sum.", base.JORDAN, judged, parts(2, 3)),
        base.Claim("L2", "a constant", "Nothing.", base.JORDAN, judged),
    ]
    monkeypatch.setattr(running, "CLAIMS", claims)
    CALLS.clear()

    def run(path, chosen=claims):
        state = running.State(len(chosen))
        with Store(path, {"what": "test"}) as store, running.at_work(0) as (engine, _):
            try:
                return {f.claim.name: f for f in running.test(chosen, base.FULL, store, engine, state)}, state
            except KeyboardInterrupt:
                return None, state

    yield SimpleNamespace(base=base, running=running, claims=claims, run=run, judged=judged, parts=parts)
    ENDS_AT[0] = None


def test_a_run_that_was_interrupted_repeats_nothing(made_up, tmp_path):
    whole, _ = made_up.run(tmp_path / "whole.db")
    assert sorted(map(str, CALLS)) == ["1", "2", "3", *["judged"] * 3]  # shared parts are computed once
    done = []
    for ENDS_AT[0] in (2, 3, None):
        CALLS.clear()
        found, _ = made_up.run(tmp_path / "parts.db")
        assert (found is None) == (ENDS_AT[0] is not None)
        done += [call for call in CALLS if call != ENDS_AT[0]]
    assert sorted(map(str, done)) == ["1", "2", "3", *["judged"] * 3]
    CALLS.clear()
    again, state = made_up.run(tmp_path / "parts.db")
    assert CALLS == []
    assert state.stored == 4
    for name in whole:
        assert whole[name].row == found[name].row == again[name].row
        assert again[name].files == {"a.png": b"a figure"}
    assert whole["N1"].row.measured == "sum 14"


def test_other_code_and_other_efforts_take_nothing_over(made_up, tmp_path, monkeypatch):
    made_up.run(tmp_path / "a.db")
    before = made_up.running.code()
    monkeypatch.setattr(made_up.running, "VECTOR_BYTES", 1)
    made_up.running.code.cache_clear()
    assert made_up.running.code() != before
    CALLS.clear()
    made_up.run(tmp_path / "a.db")
    assert len(CALLS) == 6
    quick, full = made_up.base.Effort(quick=True), made_up.base.FULL
    keys = {made_up.running.judgement(made_up.claims[2], effort, (), ()).key for effort in (quick, full)}
    assert len(keys) == 2


def test_an_error_costs_its_claims_only(made_up, tmp_path):
    broken = made_up.base.Claim(
        "B1", "broken", "It fails.", made_up.base.CHOOSING, made_up.judged, made_up.parts(1, 13)
    )
    made_up.claims.append(broken)
    found, state = made_up.run(tmp_path / "a.db", made_up.claims)
    assert found["B1"].row is None
    assert "ValueError: unlucky" in found["B1"].words
    assert found["N1"].row is not None
    assert state.done == state.total == 4


# What it says --------------------------------------------------------------------------------------------------------


def test_processes_say_what_they_compile_and_run(reproduce, tmp_path):
    running = importlib.import_module("claims.running")

    def event(name):
        return SimpleNamespace(data={"dispatcher": SimpleNamespace(py_func=SimpleNamespace(__name__=name))})

    notes = running.Notes(str(tmp_path))
    assert str(running.Busy.of(tmp_path)) == "starting processes"
    notes.works_on("N9")
    assert str(running.Busy.of(tmp_path)) == "running N9"
    notes.on_start(event("matmul"))
    notes.on_start(event("a_helper"))
    assert str(running.Busy.of(tmp_path)) == "compiling matmul for N9"
    notes.on_end(event("a_helper"))
    notes.on_end(event("matmul"))
    busy = running.Busy.of(tmp_path)
    assert (busy.running, busy.compiling, busy.kernels) == (["N9"], [], 1)
    state = running.State(total=49, done=7, cost=10.0, whole=40.0)
    ticker = reproduce.Ticker(state, tmp_path, 2)
    assert re.fullmatch(
        r"    20 s: 7 of 49 done, about 60 s left, 1 kernels compiled; running N9", ticker.text(ticker._begun + 20)
    )


class Parsed(HTMLParser):
    """What a page is made of: its elements, and that each is closed."""

    EMPTY = ("meta", "img", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.words = [], [], ""
        self.feed(text)
        assert self.open == ["html"] or self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data if "style" not in self.open else ""

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_the_page_stands_alone_and_has_a_card_for_each_claim(made_up, tmp_path):
    page = importlib.import_module("claims.page")
    broken = made_up.base.Claim("B1", "broken", "It fails.", made_up.base.CHOOSING, made_up.judged, made_up.parts(13))
    missing = made_up.base.Claim("x", "left out", "No data.", made_up.base.COURSE, made_up.judged, needs="cifar10")
    made_up.claims.append(broken)
    found, _ = made_up.run(tmp_path / "a.db", made_up.claims)
    found["L1"].row.verdict = "depends: holds for <one>; not for other"
    found["L2"].row.verdict, found["L2"].row.measured = "does not hold here", "word " * 30 + "END"
    text = page.page(list(found.values()), ["minnet & co"], "python examples/reproduce.py --quick", [missing])
    parsed = Parsed(text)
    ids = [attributes["id"] for _, attributes in parsed.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["id"]: a["class"] for a in parsed.all("article")} == {
        **{"N1": "holds", "L1": "depends", "L2": "fails", "B1": "untested bare"}
    }
    inside = [a["href"] for a in parsed.all("a") if a["href"].startswith("#")]
    assert {href[1:] for href in inside} == {"top", "N1", "L1", "L2", "B1"} <= set(ids)
    outside = [a["href"] for a in parsed.all("a") if not a["href"].startswith("#")]
    assert all(href.startswith("https://") for href in outside)
    assert "https://cs231n.github.io/neural-networks-3/" in outside
    assert all(a["src"].startswith("data:image/png;base64,") for a in parsed.all("img"))
    assert not parsed.all("link") + parsed.all("script")
    assert page.tally_words(list(found.values())) == "1 hold, 1 depend, 1 do not hold here, 1 ended with an error"
    assert parsed.all("img")[0]["alt"] == "N1, figure: Look here."
    viewport = {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    assert viewport in parsed.all("meta")
    assert "@media (max-width:640px)" in text  # one column of cards
    words = " ".join(parsed.words.split())
    assert "1hold" in words.replace(" ", "")
    assert "python examples/reproduce.py --quick --only L1" in words
    assert "Not tested, as their data were not given (--data FOLDER): x." in words
    assert "depends: holds for <one>; not for other" in words
    assert "long & <b>" in words
    assert "ValueError: unlucky" in words
    short, rest = words[words.index("word word") :].split("everything that was measured")[:2]
    assert "END" not in short
    assert "END" in rest


def test_the_script_writes_table_page_and_figures_and_goes_on(tmp_path):
    (tmp_path / "index.html").write_text("the page of all claims")
    command = [sys.executable, str(SCRIPT), "--only", "N9", "L2", "--quick", "--out", str(tmp_path), "--workers", "1"]
    for stored in (False, True):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""  # no progress bar where nobody watches
        assert done.stdout.startswith(f"minnet {mn.__version__}: 2 of 51 claims with few seeds, 1 at a time.")
        assert "[2 of 2] " in done.stdout
        assert "N9: the first loss is that of chance" in done.stdout
        assert "2 claims in" in done.stdout
        assert ("2 results taken from" in done.stdout) == stored
    page = Parsed((tmp_path / "N9_L2.html").read_text(encoding="utf-8"))
    assert [a["id"] for a in page.all("article")] == ["N9", "L2"]
    assert "python examples/reproduce.py --quick --only N9" in page.words
    assert len(page.all("img")) == 1
    assert (tmp_path / "l2_step_decay.png").stat().st_size > 5000
    assert re.search(r"^\| N9 \|.*\| holds \|$", (tmp_path / "N9_L2.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert (tmp_path / "index.html").read_text() == "the page of all claims"


def test_a_store_that_cannot_be_used_is_named(run_example, tmp_path):
    with Store(tmp_path / "claims.db", {"what": "another study"}):
        pass
    done = run_example("reproduce.py", "--only", "L2", "--out", str(tmp_path), "--workers", "0")
    assert done.returncode == 1
    assert done.stderr.startswith("reproduce.py: Store: expected a store of this study in ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "N99"], "got N99"),
        (["--seeds", "1"], "expected --seeds of at least 2"),
        (["--only", "cifar-mlp"], "expected --data with a folder cifar10 in it for cifar-mlp; got None"),
        (["--data", "."], "expected --data with a folder cifar10 in it"),
        (["--workers", "-1"], "expected --workers of at least 0"),
    ],
)
def test_bad_arguments_are_named(run_example, arguments, expected):
    done = run_example("reproduce.py", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
