"""Why the steps of a run cannot be recorded."""

from collections.abc import Sequence

from ...kernels.compile import IS_COMPILED
from ...net.net import Net
from ...optim.optimizer import Optimizer


def reason_against(net: Net, optimizer: Optimizer) -> str | None:
    """Return why steps of these cannot be recorded; None if they can, as far as is known before recording.

    A layer, loss or rule of the user's own may do more than call kernels. Replayed steps would not do it.
    """
    if not IS_COMPILED:
        return "Numba's compiler is switched off (NUMBA_DISABLE_JIT)"
    if optimizer.searches:
        return f"{optimizer.rule} searches along a line"
    parts: list[tuple[str, Sequence[object]]] = [
        ("minnet.net.", (net, net.loss_function)),
        ("minnet.layers.", net.all_layers()),
        ("minnet.optim.rules.", optimizer.all_rules()),
    ]
    for room, several in parts:
        for part in several:
            if not type(part).__module__.startswith(room):
                return f"{type(part).__name__} is not one of minnet's own classes, so it may do more than call kernels"
    return None
