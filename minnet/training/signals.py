"""Ctrl-C and SIGTERM end a run between two steps."""

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .callbacks import Run


@contextmanager
def leave_on_signals(trainer: Run) -> Iterator[None]:
    """Within this context, Ctrl-C and SIGTERM end the run after its current step; SIGTERM then takes its usual course.

    A second signal takes effect at once. Python delivers signals to the main thread only, so nothing changes in other
    threads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    came: list[int] = []

    def back() -> None:
        for number, handler in before.items():
            if handler is not None:  # None: not set by Python, which cannot restore it
                signal.signal(number, handler)

    def leave(number: int, frame: Any) -> None:
        came.append(number)
        trainer.leave("interrupted" if number == signal.SIGINT else "terminated")
        back()

    for number, handler in before.items():
        if handler in (signal.default_int_handler, signal.SIG_DFL):  # a user's own handler stays
            signal.signal(number, leave)
    try:
        yield
    except BaseException:
        if signal.SIGTERM in came:
            traceback.print_exc()  # the signal ends the process before anyone prints it
        raise
    finally:
        back()
        if signal.SIGTERM in came:
            signal.raise_signal(signal.SIGTERM)
