"""What every test finds, wherever the tests are run."""

import atexit
import gc
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

# Two test processes have as many threads each as there are cores. A thread of OpenMP usually waits for the others in a
# loop, which takes their cores from them, so here it sleeps. OpenMP reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Tests run in another folder than the one in which they are started; see ``current_folder``.
for name in {"PYTHONPATH", "MINNET_DATA", "NUMBA_CACHE_DIR"} & os.environ.keys():
    paths = os.environ[name].split(os.pathsep)
    os.environ[name] = os.pathsep.join(os.path.abspath(path) for path in paths if path)

# Where neither the folder of the kernels nor a home can be written, machine code is not kept: minnet warns of it, and
# every process compiles anew. The process that starts the others sets a place for all of them.
_kernels = Path(importlib.util.find_spec("minnet").origin).parent / "kernels"
if "NUMBA_CACHE_DIR" not in os.environ and not any(
    os.access(place, os.W_OK) for place in (_kernels, os.path.expanduser("~"))
):
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="minnet-tests-")
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)

# The objects that collection makes stay to the end. To search them for garbage again and again takes a fifth of the
# time of collection, and later a part of the time of every test.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def current_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder, which is the current one while tests run."""
    folder, before = tmp_path_factory.mktemp("current"), Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)
    gc.collect()  # a run that was dropped ends here
    fail_if_any(folder)


@pytest.fixture(autouse=True)
def nothing_left_behind(current_folder: Path) -> Iterator[None]:
    """A test that leaves a file in the current folder fails: it would lie about wherever the tests are started."""
    yield
    fail_if_any(current_folder)


def fail_if_any(folder: Path) -> None:
    """Remove all files of a folder; if there are any, the test fails."""
    left = sorted(folder.iterdir())
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if left:
        names = ", ".join(path.name for path in left)
        message = (
            f"expected this test, and those before it whose objects it dropped, to write into tmp_path; got {names}"
        )
        pytest.fail(message, pytrace=False)


@pytest.fixture(autouse=True)
def usual_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM do in every test what they do in a terminal.

    A shell lets programs that it starts in the background (``nohup pytest &``) ignore SIGINT. Tests send signals to
    themselves and to processes of their own, which inherit what is ignored.
    """
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


@pytest.fixture(autouse=True)
def all_threads() -> Iterator[None]:
    """A test that sets the number of threads, or runs a program that does, leaves it to the next one as it was.

    Otherwise tests that compare one thread with two would be skipped if they came after such a test.
    """
    yield
    numba = sys.modules.get("numba")  # imported by tests, after the settings above
    if numba is not None and has_threads(numba):
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


def has_threads(numba: ModuleType) -> bool:
    """Return whether Numba has started threads, without starting them."""
    try:
        numba.threading_layer()
    except ValueError:
        return False
    return True
