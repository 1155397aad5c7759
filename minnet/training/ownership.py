"""Which run a callback belongs to.

A callback has a state, so one object serves one run at a time. Two runs that take steps by turns with one
``EarlyStopping`` would otherwise end with each other's weights.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Protocol
from weakref import ref

from .callbacks import Callback


class Owner(Protocol):
    """What is asked of a run that has callbacks. ``over`` is False while no other run may have them."""

    callbacks: list[Callback]
    over: bool
    step: int
    steps: int


@dataclass(frozen=True)
class _Claim:
    """The run that used a callback last. Both are weak references, so that neither stays alive for the other."""

    callback: ref[Callback]
    run: ref[Any]


_claims: dict[int, _Claim] = {}  # by id of the callback, because callbacks need not be hashable
_lock = Lock()


def _forget(place: int, _: ref[Callback]) -> None:
    """Remove the claim on a callback that no longer exists, before another object may get its id."""
    _claims.pop(place, None)


def with_inner(callbacks: Iterable[Callback]) -> Iterator[Callback]:
    """Yield all callbacks, and after each those that it runs itself."""
    for callback in callbacks:
        yield callback
        yield from with_inner(callback.inner())


def check(run: Owner, *, continues: bool) -> None:
    """Raise RuntimeError unless the run may use its callbacks now.

    Args:
        run: the run that begins or continues.
        continues: whether the callbacks hold a state of this run, so that no other run may have used them since.
    """
    for callback in with_inner(run.callbacks):
        claim = _claims.get(id(callback))
        if claim is None or claim.run() is run:
            continue
        other = claim.run()
        if other is not None and not other.over:
            raise RuntimeError(
                f"Trainer: expected callbacks that no other unfinished run uses; got {callback!r}, which is in a run "
                f"after step {other.step} of {other.steps}. Give each run objects of its own, or end that run first, "
                'with end("...") of its trainer'
            )
        if continues:
            raise RuntimeError(
                f"Trainer: expected callbacks with the state of this run; got {callback!r}, which another run has used "
                f"after step {run.step} of this one. Give each run objects of its own"
            )


def take(run: Owner, *, continues: bool) -> None:
    """Make the callbacks belong to this run until it is ``over``; RuntimeError as in ``check``."""
    with _lock:
        check(run, continues=continues)
        for callback in with_inner(run.callbacks):
            _claims[id(callback)] = _Claim(ref(callback, partial(_forget, id(callback))), ref(run))
        run.over = False
