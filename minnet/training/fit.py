"""``fit``: a whole training run in one call."""

from collections.abc import Iterable
from typing import Any

from ..base.guide import guided
from ..data import Augment, Data, Standardizer
from ..distributed import MPI
from ..net.net import Net
from ..optim.groups import Group
from ..optim.rules import Hyper, Rule
from .callbacks import Callback
from .history import History
from .inputs import Rate, WeightedData
from .progress import Progress
from .trainer import Trainer


@guided
def fit(
    net: Net,
    data: Data,
    *,
    rule: Rule,
    lr: Rate,
    batch_size: int = 100,
    epochs: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    drop_last: bool = False,
    augment: Augment | None = None,
    standardize: Standardizer | None = None,
    validation: Data | WeightedData | None = None,
    sample_weight: Any = None,
    evaluate_training: bool | int = False,
    weight_decay: Hyper = 0.0,
    clip_norm: Hyper = None,
    groups: Iterable[Group] = (),
    callbacks: Iterable[Callback] = (),
    exchange: MPI | None = None,
    progress: Progress = None,
) -> History:
    """Train ``net`` and return the history of the run.

    Ctrl-C ends the run after the current step and returns the history so far (``history.stopped`` is then
    ``"interrupted"``). SIGTERM does the same (``"terminated"``) and then takes its usual course. ``Checkpoint`` among
    the callbacks saves the run before it ends. A second Ctrl-C ends the run at once.

    Args:
        progress: what is written to standard error. ``"bar"`` or True shows a progress bar. ``"lines"`` writes one line
            per epoch with loss, accuracy, validation, learning rate and time. False writes nothing. None chooses a bar
            on a terminal and in a notebook, and lines elsewhere, such as in a log file or under pytest.
        others: all other arguments are those of ``Trainer``.

    Returns:
        The ``History`` of the run; its docstring lists the columns. ``loss`` and ``accuracy`` are running means in
        training mode, so they differ from the result of ``net.evaluate`` on the training data.
        ``evaluate_training=True`` adds columns with that result.
    """
    return Trainer(
        net,
        data,
        rule=rule,
        lr=lr,
        batch_size=batch_size,
        epochs=epochs,
        steps=steps,
        seed=seed,
        drop_last=drop_last,
        augment=augment,
        standardize=standardize,
        validation=validation,
        sample_weight=sample_weight,
        evaluate_training=evaluate_training,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        groups=groups,
        callbacks=callbacks,
        exchange=exchange,
    ).run(progress)
