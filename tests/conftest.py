"""What every test finds, wherever the tests are run."""

import os
import signal
from collections.abc import Iterator

import pytest

# Two test processes have as many threads each as there are cores. A thread of OpenMP usually waits for the others in a
# loop, which takes their cores from them, so here it sleeps. OpenMP reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


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
