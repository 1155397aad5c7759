"""The pages of the reference, one a room, from the names that each room offers."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from docstrings import rewritten

# Rooms in the order in which a reader meets them: title, module, and names of ``minnet`` that no room lists.
ROOMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "net": ("Networks", "minnet.net", ()),
    "layers": ("Layers", "minnet.layers", ()),
    "initializers": ("Initializers", "minnet.layers.initializers", ()),
    "losses": ("Losses", "minnet.net.losses", ()),
    "rules": ("Update rules", "minnet.optim.rules", ()),
    "optim": ("The optimizer", "minnet.optim", ("Optimizer", "Group")),
    "schedules": ("Schedules", "minnet.schedules", ()),
    "data": ("Data", "minnet.data", ()),
    "datasets": ("Data sets", "minnet.data.datasets", ()),
    "training": ("Training", "minnet.training", ("CheckpointError", "get_num_threads", "set_num_threads")),
    "distributed": ("Data-parallel training", "minnet.distributed", ()),
    "gradcheck": ("Checking gradients", "minnet.gradcheck", ()),
    "diagnostics": ("Diagnostics", "minnet.diagnostics", ()),
    "averaging": ("Averages of weights", "minnet.averaging", ()),
    "ensemble": ("Ensembles", "minnet.ensemble", ()),
    "formats": ("Other libraries", "minnet.formats", ()),
    "sklearn": ("scikit-learn", "minnet.sklearn", ()),
    "experiments": ("Experiments", "minnet.experiments", ()),
    "benchmark": ("Benchmark of update rules", "minnet.benchmark", ()),
    "landscapes": ("Landscapes", "minnet.optim.landscapes", ()),
    "plots": ("Figures", "minnet.plots", ()),
}


def names_of(room: ModuleType) -> list[str]:
    """The public names of a room: ``__all__``, or what the module defines."""
    if hasattr(room, "__all__"):
        return list(room.__all__)
    return [
        name
        for name, thing in vars(room).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == room.__name__
    ]


def subjects(key: str) -> Iterator[tuple[str, Any]]:
    """Yield the shortest public path and the object of each name of a room, in alphabetical order.

    Type aliases and constants have no docstring of their own; the page of the function that takes them describes them.
    """
    import minnet

    _, module, more = ROOMS[key]
    room = import_module(module)
    for name in sorted({*names_of(room), *more}, key=str.lower):
        thing = getattr(room, name, None) or getattr(minnet, name)
        if inspect.isfunction(thing) or (inspect.isclass(thing) and thing.__module__.startswith("minnet.")):
            short = name in minnet.__all__ and getattr(minnet, name) is thing
            yield (f"minnet.{name}" if short else f"{_room_of(module)}.{name}"), thing


def _room_of(module: str) -> str:
    """How a user writes a room: ``minnet.rules``, wherever its files are."""
    import minnet

    last = module.rpartition(".")[2]
    return f"minnet.{last}" if getattr(minnet, last, None) is import_module(module) else module


def page(key: str, seen: set[int]) -> str:
    """Return the page of a room in reStructuredText. A name that several rooms offer is described once."""
    title, module, _ = ROOMS[key]
    found = [(path, thing) for path, thing in subjects(key) if id(thing) not in seen]
    seen.update(id(thing) for _, thing in found)
    lines = [title, "=" * len(title), ""]
    lines += [*rewritten(inspect.getdoc(import_module(module)).splitlines()), ""]
    lines += [".. autosummary::", "", *[f"   {path}" for path, _ in found], ""]
    for path, thing in found:
        heading = path.removeprefix("minnet.")
        lines += [heading, "-" * len(heading), ""]
        if inspect.isclass(thing):
            lines += [f".. autoclass:: {path}", "   :members:", *_left_out(thing), ""]
        else:
            lines += [f".. autofunction:: {path}", ""]
    return "\n".join(lines)


def _left_out(thing: type) -> list[str]:
    """The option that leaves out what scikit-learn writes into its estimators: its text links to its own glossary."""
    names = [name for name in vars(thing) if name.startswith("set_") and name.endswith("_request")]
    return [f"   :exclude-members: {', '.join(names)}"] if names else []


def write(folder: Path) -> None:
    """Write the pages and their index to ``folder``; a page that has not changed keeps its time.

    Pages of rooms that are no more are removed.
    """
    folder.mkdir(exist_ok=True)
    seen: set[int] = set()
    pages = {key: page(key, seen) for key in ROOMS}
    index = ["Reference", "=========", ""]
    index += ["What each part of minnet offers, from the docstrings. ``mn`` is ``import minnet as mn``.", ""]
    index += [".. toctree::", "   :maxdepth: 1", "", *[f"   {key}" for key in ROOMS], ""]
    pages["reference"] = "\n".join(index)
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for key, text in pages.items():
        path = folder / f"{key}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
