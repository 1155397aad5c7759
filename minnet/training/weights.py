"""Weights of a net in a file: written alone, and read from there or from a checkpoint."""

from pathlib import Path

import numpy as np

from ..net.description import describe_architecture
from ..net.net import Net
from ..storage import archive
from ..storage.archive import CheckpointError
from .checkpoint import offer_older
from .description import compare, describe_net
from .saved import Saved


def save_weights(net: Net, path: str | Path) -> None:
    """Write the weights and buffers of a net to one safetensors file for ``load_weights``.

    The file is written completely or not at all. To save a run, use ``Checkpoint`` or ``Trainer.save``.

    Args:
        net: the net.
        path: path of the file.

    Raises:
        OSError: the file cannot be written.
    """
    archive.write(path, {"net": describe_net(net), "handed_out": None}, net.named_parameters() | net.named_buffers())


def load_weights(net: Net, path: str | Path) -> None:
    """Read weights and buffers from a file of ``save_weights`` or a checkpoint into ``net``.

    The net can then predict, or a new run can start from it. If the rule of the run trains at one point and predicts at
    another (``ScheduleFreeSGD``), the weights are those to predict with.

    Args:
        net: may have another loss or none, another seed and other penalties than the net in the file.
        path: a file, or a folder of ``Checkpoint``, whose newest whole file is read.

    Raises:
        CheckpointError: a ValueError: the file is damaged, is of a net with other layers, or has values with which no
            net predicts: NaN, infinity, a variance below 0. The message names them. The net is unchanged.
        FileNotFoundError: there is no file. The net is unchanged.
    """
    saved = Saved.of(path)
    file, given = saved.get("net", kind=dict), describe_architecture(net)
    with offer_older(saved.path):
        compare(saved.path, "net", *({name: of.get(name) for name in given if name != "loss"} for of in (file, given)))
        params, buffers = saved.weights(net)
        if saved.get("handed_out", kind=(np.ndarray, type(None))) is not None:
            params = saved.array(net.params, "handed_out")
        _check_finite(saved, net, params, buffers)
    net.params, net.buffers = params, buffers


def _check_finite(saved: Saved, net: Net, params: np.ndarray, buffers: np.ndarray) -> None:
    """Raise CheckpointError for NaN and infinity: a run that diverges may go on from them, but no net predicts."""
    for layout, vector in ((net.layout, params), (net.buffer_layout, buffers)):
        for name, values in layout.views(vector).items():
            if not np.isfinite(values).all():
                raise CheckpointError(
                    f"expected a finite {name} in {saved.path}; got NaN or infinity. The net had them when it was "
                    "saved, as in a run that diverges; take an earlier file of it"
                )
