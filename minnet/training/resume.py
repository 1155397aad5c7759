"""The state of a run as a document with arrays, and how it is restored."""

import numpy as np

from ..net.description import Document
from ..storage.archive import CheckpointError
from . import ownership
from .description import (
    ResumableRun,
    compare_branch,
    compare_run,
    describe_net,
    describe_order,
    describe_run,
)
from .saved import Saved
from .table import rows_of, table_of


def state_of(trainer: ResumableRun) -> tuple[Document, dict[str, np.ndarray]]:
    """Return (document, weights and buffers by name) of a run between two steps.

    The arrays are views, so they must be written before the run continues.
    """
    net, optimizer, batches, good = trainer.net, trainer.optimizer, trainer.batches, trainer.good
    document = {
        "identity": trainer.identity,
        "net": describe_net(net),
        "run": describe_run(trainer),
        "arguments": {"steps": trainer.steps, **describe_order(trainer)},
        "at": {
            "step": trainer.step,
            "net_step": net.step,
            "steps": optimizer.steps,
            "epoch_index": batches.epoch_index,
            "position": batches.position,
            "ended": trainer.ended,
        },
        "lr_factor": float(trainer.lr_factor),
        "epoch_so_far": list(trainer.epoch_so_far),
        "optimizer": {
            **{"state": optimizer.state, "numbers": optimizer.numbers},
            "contents": optimizer.contents(),
        },
        "handed_out": _handed_out(trainer),
        "good": {
            **{"params": good.params, "buffers": good.buffers, "state": good.slots, "numbers": good.numbers},
            **{"net_step": good.net_step, "steps": good.steps},
        },
        "history": {
            "stopped": trainer.history.stopped,
            "epochs": table_of(trainer.history.epochs),
            "steps": table_of(trainer.history.steps),
        },
        "callbacks": [
            {"kind": type(callback).__name__, "bystander": callback.bystander, "state": callback.state()}
            for callback in trainer.callbacks
        ],
    }
    return document, net.named_parameters() | net.named_buffers()


def _handed_out(trainer: ResumableRun) -> np.ndarray | None:
    """Return the weights to predict with if the rule trains at others, else None."""
    optimizer, net = trainer.optimizer, trainer.net
    if trainer.ended:  # the net has these weights already
        return None
    with optimizer.evaluating():
        return net.params.copy() if optimizer.is_evaluating else None


def go_on(trainer: ResumableRun, saved: Saved, trust_data: bool = False) -> None:
    """Let a new trainer continue the saved run, with the same bits. If this raises CheckpointError, nothing changes."""
    compare_run(saved, trainer, trust_data)
    identity = saved.get("identity", kind=str)
    put_back(trainer, saved)
    trainer.identity = identity


def branch_off(trainer: ResumableRun, saved: Saved, trust_data: bool = False) -> None:
    """Let a new trainer take its own way from the saved state, with its own hyper-parameters.

    It is another run: it keeps its own identity, and is not stopped if the saved run was to stop. If this raises
    CheckpointError, nothing has changed.
    """
    compare_branch(saved, trainer, trust_data)
    put_back(trainer, saved)
    trainer.history.stopped = None


def put_back(trainer: ResumableRun, saved: Saved) -> None:
    """Restore the saved state in a new trainer. If this raises CheckpointError, nothing has changed.

    Nothing here depends on a hyper-parameter. What must agree between the trainer and the file is compared before.
    """
    net, optimizer, batches, good = trainer.net, trainer.optimizer, trainer.batches, trainer.good
    # Read and check everything first.
    params, buffers = saved.weights(net)
    slots = saved.array(optimizer.state, "optimizer", "state")
    numbers = saved.numbers(optimizer.numbers, "optimizer", "numbers")
    before = [
        saved.array(like, "good", name)
        for name, like in (("params", good.params), ("buffers", good.buffers), ("state", good.slots))
    ]
    before.append(saved.numbers(good.numbers, "good", "numbers"))
    saved.check_buffers(net, before[1])
    names = ("step", "net_step", "steps", "epoch_index", "position")
    step, net_step, steps, epoch_index, position = (saved.get("at", name, kind=int, least=0) for name in names)
    good_net_step, good_steps = (saved.get("good", name, kind=int, least=0) for name in ("net_step", "steps"))
    ended = saved.get("at", "ended", kind=bool)
    if step > trainer.steps or position >= batches.per_epoch:
        raise saved.spoilt(("at",), saved.get("at"))
    lr_factor = saved.get("lr_factor", kind=float)
    so_far = saved.get("epoch_so_far", kind=list)
    kinds = [type(value) for value in so_far]
    if len(kinds) != 3 or kinds[0] is not float or not {*kinds[1:]} <= {int, float, type(None)} or so_far[1] is None:
        raise saved.spoilt(("epoch_so_far",), so_far)
    stopped = saved.get("history", "stopped", kind=(str, type(None)))
    epochs, rows = saved.table("history", "epochs"), saved.table("history", "steps")
    ownership.check(trainer, continues=False)
    _restore_callbacks(trainer, saved)
    ownership.take(trainer, continues=False)
    # From here on nothing can fail, so the state changes as a whole.
    net.params, net.buffers, net.step = params, buffers, net_step
    optimizer.state, optimizer.numbers, optimizer.steps = slots, numbers, steps
    trainer.latest.take(net, optimizer)
    for place, values in zip((good.params, good.buffers, good.slots, good.numbers), before, strict=True):
        np.copyto(place, values)
    good.net_step, good.steps = good_net_step, good_steps
    batches.seek(epoch_index, position)
    trainer.step, trainer.lr_factor, trainer.ended = step, lr_factor, ended
    trainer.epoch_so_far = so_far[0], so_far[1], so_far[2]
    # Between two epochs, ``latest`` is the present state, and the first loss after it is not known yet.
    trainer.unproven = step > 0 and position == 0
    trainer.history.stopped = stopped
    # Last, because rows take several times the memory of columns; a refused file does not take it.
    trainer.history.epochs.rows, trainer.history.steps.rows = rows_of(epochs), rows_of(rows)


def _restore_callbacks(trainer: ResumableRun, saved: Saved) -> None:
    """Restore the state of every callback; if one raises an error, none has changed.

    A bystander takes the state of the first bystander of its class in the file. The content of a file may make any
    callback, also a user's own, fail with any exception.
    """
    entries = saved.get("callbacks", kind=list)
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("state"), dict):
            raise saved.spoilt(("callbacks",), entry)
    own = [entry["state"] for entry in entries if not entry.get("bystander")]
    looking_on = [entry for entry in entries if entry.get("bystander")]
    if len(own) != sum(not callback.bystander for callback in trainer.callbacks):
        raise saved.spoilt(("callbacks",), f"{len(own)} states")
    states = []
    for callback in trainer.callbacks:
        if not callback.bystander:
            states.append(own.pop(0))
            continue
        alike = [i for i, entry in enumerate(looking_on) if entry.get("kind") == type(callback).__name__]
        states.append(looking_on.pop(alike[0])["state"] if alike else {})
    before = [callback.state() for callback in trainer.callbacks]
    try:
        for callback, state in zip(trainer.callbacks, states, strict=True):
            callback.check(state, trainer.net)
        for callback, state in zip(trainer.callbacks, states, strict=True):
            callback.restore(state)
    except Exception as error:
        for callback, state in zip(trainer.callbacks, before, strict=True):
            callback.restore(state)
        raise CheckpointError(
            f"expected states of the callbacks in {saved.path}; got {type(error).__name__}: {error}"
        ) from error
