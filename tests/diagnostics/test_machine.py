"""``python -m minnet`` says what minnet runs on, and ``doctor`` what is wrong with that."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minnet as mn
from minnet.diagnostics import machine
from minnet.diagnostics.machine import Machine, findings

INSTALLED = Path(mn.__file__).parents[1]  # where Python finds minnet
ROOT = Path(__file__).parents[2]
OWN_EXTRAS = {"docs", "test", "dev"}  # for those who work on minnet
SOUND = Machine(
    versions={name: "1.0" for name in ("minnet", "numpy", "numba", "llvmlite")} | dict.fromkeys(machine.PEERS),
    processor="A processor (x86_64)",
    cores=4,
    vector_bytes=64,
    threads=4,
    library="omp",
    compiled=True,
    places=(Path("/kept/a"), Path("/kept/b")),
    size=1_500_000,
    unkept=None,
    refused=None,
)


def test_it_looks_for_what_every_extra_installs():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = {re.split("[<>=]", need)[0] for name in extras for need in extras[name] if name not in OWN_EXTRAS}
    assert wanted <= {*machine.PEERS}


FAULTS = {
    "no OpenMP": ({"library": "workqueue"}, "libgomp"),
    "a folder that cannot be written": ({"unkept": "read-only"}, "anew (read-only)"),
    "another folder than was asked for": ({"refused": "read-only"}, "NUMBA_CACHE_DIR names (read-only)"),
    "one thread": ({"threads": 1}, "one thread, although this process has 4 cores"),
    "too many threads": ({"threads": 8}, "8 threads, although this process has 4 cores only"),
    "no AVX2": ({"vector_bytes": 16}, "no AVX2"),
    "no compiler": ({"compiled": False}, "NUMBA_DISABLE_JIT"),
}


def test_nothing_is_wrong_with_a_sound_machine():
    assert findings(SOUND) == []
    assert findings(replace(SOUND, threads=1, cores=1)) == []
    assert findings(replace(SOUND, vector_bytes=16, processor="Apple M1 (arm64)")) == []


@pytest.mark.parametrize(("changes", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found_and_has_a_remedy(changes, words):
    (found,) = findings(replace(SOUND, **changes))
    assert words in f"{found.what}; {found.remedy}"
    assert found.remedy


def test_the_lines_say_what_there_is():
    text = "\n".join(SOUND.lines())
    assert "512 bits" in text
    assert "1.5 MB in /kept" in text
    assert "4, run by omp" in text
    assert "no other package" in text
    assert "torch 2.0" in "\n".join(replace(SOUND, versions={**SOUND.versions, "torch": "2.0"}).lines())
    assert "not kept on disk" in "\n".join(replace(SOUND, places=()).lines())


@pytest.mark.parametrize(("changes", "code"), [({}, 0), ({"threads": 1}, 1)])
def test_the_exit_code_says_whether_something_is_wrong(changes, code, monkeypatch, capsys):
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: replace(SOUND, **changes)))
    assert machine.main(["doctor"]) == code
    printed = capsys.readouterr().out
    assert ("nothing is wrong" in printed) == (code == 0)
    assert "a product of 512 x 512 matrices" in printed
    assert machine.main([]) == 0


def test_the_timed_product_is_a_product(monkeypatch):
    seen = []
    monkeypatch.setattr(machine, "multiply", lambda a, *more: seen.append((a, more)) or more[7].fill(0))
    machine.timed()
    a, (_, _, b, _, _, _, _, c, *_) = seen[0]
    assert a.shape == b.shape == c.shape
    assert np.isfinite(c).all()


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "minnet", *arguments], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(INSTALLED), **environment},
    )  # fmt: skip


def test_a_cache_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    # Python runs the kernels, so that none is compiled into the folder that Numba takes instead.
    done = run("doctor", NUMBA_CACHE_DIR=str(tmp_path / "file" / "folder"), NUMBA_DISABLE_JIT="1")
    assert done.returncode == 1, done.stderr
    assert f"not kept in the folder that NUMBA_CACHE_DIR names ([Errno 20] Not a directory: '{tmp_path}" in done.stdout
    assert "set NUMBA_CACHE_DIR to a folder that can be written" in done.stdout


def test_a_folder_that_cannot_be_written_is_seen(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert machine._unwritable(tmp_path / "new") is None
    assert "Not a directory" in machine._unwritable(tmp_path / "file" / "folder")


def test_the_command_names_this_version():
    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["minnet:", mn.__version__]
    assert "vectors:" in done.stdout
