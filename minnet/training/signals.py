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
    """Let Ctrl-C and SIGTERM end the run after its current step; SIGTERM then takes its usual course.

    The second one is not waited with. Python hands signals to the main thread only; in others nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    came: list[int] = []

    def back() -> None:
        for number, handler in before.items():
            if handler is not None:  # None for one that Python did not set, and cannot set
                signal.signal(number, handler)

    def leave(number: int, frame: Any) -> None:
        came.append(number)
        trainer.leave("interrupted" if number == signal.SIGINT else "terminated")
        back()

    for number, handler in before.items():
        if handler in (signal.default_int_handler, signal.SIG_DFL):  # one of the user's own stays
            signal.signal(number, leave)
    try:
        yield
    except BaseException:
        if signal.SIGTERM in came:
            traceback.print_exc()  # such as that the run could not be saved: nobody else will be there to say so
        raise
    finally:
        back()
        if signal.SIGTERM in came:
            signal.raise_signal(signal.SIGTERM)
