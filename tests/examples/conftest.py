"""What the tests of the examples share."""

import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import minnet as mn

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run_example(monkeypatch, capsys) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs a program of ``examples/`` by its name and arguments.

    It does in this process what ``python examples/NAME`` does in one of its own, which would spend seconds on imports.
    """
    monkeypatch.syspath_prepend(EXAMPLES)

    def run(name, *arguments):
        command = [str(EXAMPLES / name), *arguments]
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        return subprocess.CompletedProcess(command, code, *capsys.readouterr())

    yield run
    for name in [name for name in sys.modules if name.split(".")[0] == "claims"]:
        del sys.modules[name]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for kernels, as threads of small ones mostly wait where several processes share the cores."""
    threads = mn.get_num_threads()
    mn.set_num_threads(1)
    yield
    mn.set_num_threads(threads)
