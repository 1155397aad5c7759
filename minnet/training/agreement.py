"""Ranks that take the steps of a run together must be at the same run: what differs is found before the first step."""

import sys
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Protocol

from .. import kernels
from ..distributed.ranks import Ranks
from ..kernels.vector.simd import VECTOR_BYTES
from ..net.description import Document, differences
from .description import ResumableRun, as_text, describe_net, describe_order, describe_run

_PACKAGE = Path(kernels.__file__).parents[1]


class SharedRun(ResumableRun, Protocol):
    """A run whose steps are taken by several ranks. ``Trainer`` is one."""

    ranks: Ranks


def agree_on_run(trainer: SharedRun) -> None:
    """Let all ranks have the same identity; ValueError, on all of them, if they are not at the same run."""
    if trainer.ranks.count == 1:
        return
    told = trainer.ranks.share((trainer.identity, _describe(trainer)))
    trainer.identity, first = told[0]
    for rank, (_, other) in enumerate(told):
        found = differences("", first, other, "on rank 0", f"on rank {rank}")
        if found:
            raise ValueError(
                f"Trainer: expected the same program, data and arguments on all ranks; got another: {found}"
            )


def _describe(trainer: SharedRun) -> Document:
    """Describe all that the bits of a run depend on; arrays and code by checksums."""
    net, optimizer, batches = trainer.net, trainer.optimizer, trainer.batches
    arrays = {"weights": net.params, "buffers": net.buffers, "state of the rule": optimizer.state}
    return {
        "net": describe_net(net),
        **describe_run(trainer),
        **{name: as_text(value) for name, value in describe_order(trainer).items()},
        "steps": trainer.steps,
        "place": f"step {trainer.step}, pass {net.step}, epoch {batches.epoch_index}, position {batches.position}",
        **{name: f"crc32 {zlib.crc32(array.data)}" for name, array in arrays.items()},
        "code": dict(_code(trainer)),
        "version": {name: version(name) for name in ("numpy", "numba")} | {"Python": python_version()},
        "bytes of a vector": VECTOR_BYTES,
    }


def _code(trainer: SharedRun) -> Iterator[tuple[str, str]]:
    """Yield (module, checksum) of minnet, of the program, and of the modules of the run's own classes."""
    yield "minnet", _checksum(*sorted(_PACKAGE.rglob("*.py")))
    parts = [*trainer.net.all_layers(), trainer.net.loss_function, *trainer.optimizer.all_rules(), *trainer.callbacks]
    names = {type(part).__module__ for part in parts} | {"__main__"}
    for name in sorted(names):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is not None and not name.startswith("minnet.") and Path(path).is_file():
            yield ("the program" if name == "__main__" else name), _checksum(Path(path))


def _checksum(*paths: Path) -> str:
    total = 0
    for path in paths:
        total = zlib.crc32(path.read_bytes(), total)
    return f"crc32 {total}"
