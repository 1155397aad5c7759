"""The common style of all figures, and the writing of figures and their data."""

import csv
import inspect
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, ParamSpec, TypeVar

import numpy as np

from ..storage.files import check_folder, write_together

P = ParamSpec("P")
R = TypeVar("R")

# A palette for readers with colour blindness and for printing in grey (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "savefig.bbox": "tight",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.5,
}


def figure(panels: int = 1, *, width: float = 4.2, height: float | Sequence[float] = 3.0) -> tuple[Any, list[Any]]:
    """Create a Matplotlib figure in minnet's style.

    Args:
        panels: number of panels side by side.
        width: width of a panel in inches.
        height: height of a panel in inches; a sequence for several rows of panels.

    Returns:
        (figure, axes): the axes of all panels, row by row.
    """
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    heights = np.atleast_1d(height)
    with matplotlib.rc_context({**STYLE, "axes.prop_cycle": cycler(color=COLOURS)}):
        drawn: Any = Figure(figsize=(width * panels, heights.sum()), layout="constrained")
        drawn._repr_png_ = partial(_as_bytes, drawn, "png")  # a notebook shows pyplot's figures only, unless it can ask
        axes = drawn.subplots(len(heights), panels, gridspec_kw={"height_ratios": heights})
        return drawn, list(np.ravel(axes))


_BROKEN = (0, (5, 1.2))


def look(rank: int) -> dict[str, Any]:
    """Return the style of the line with this rank, counted from 0: its colour, dashes, width and order.

    Every second line is dashed and drawn on top, so that two lines that coincide are both visible. There are seven
    colours, so the second seven lines are solid where the first seven are dashed. 14 ranks have different styles.

    Args:
        rank: rank of the line, counted from 0.

    Returns:
        Keyword arguments of Matplotlib's ``plot``.
    """
    broken = rank % 2 == 0
    dashes = _BROKEN if broken else "-"
    return {
        "color": COLOURS[rank % len(COLOURS)],
        "linestyle": dashes,
        "linewidth": 1.6,
        "zorder": 2.5 if broken else 2,
    }


def legend(axis: Any) -> None:
    """Add a legend without a frame. Matplotlib reads defaults when it creates a legend, so the style is set here.

    Args:
        axis: the Matplotlib axes.
    """
    axis.legend(frameon=False, fontsize=8)


def shared_legend(drawn: Any, labels: Sequence[str], columns: int) -> None:
    """Add one legend below all panels, with labels in the order of their rank, see ``look``."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], label=label, **look(rank)) for rank, label in enumerate(labels)]
    drawn.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), columns), frameon=False, fontsize=9)


# Where a figure goes: a path, whose ending names the format; an open binary file, which gets a PNG; or None.
Place = str | Path | BinaryIO | None


def check_place(path: Place) -> None:
    """Check that a figure can be written to ``path``, before it or its data are written.

    Raises:
        FileNotFoundError: if the folder of a path does not exist.
        ValueError: if the path has an ending that is no format.
        TypeError: if it is neither a path nor an open binary file nor None.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    if not isinstance(path, str | Path):
        if path is not None and (isinstance(path, io.TextIOBase) or not hasattr(path, "write")):
            hint = ' opened for text; open it with mode "wb"' if isinstance(path, io.TextIOBase) else ""
            raise TypeError(f"plots: expected a path, an open binary file or None; got {path!r}{hint}")
        return
    check_folder(path)
    form, known = Path(path).suffix.removeprefix("."), sorted({*FigureCanvasBase.filetypes, "gif"})
    if form and form.lower() not in known:  # without an ending it is a PNG
        raise ValueError(f"plots: expected a path that ends in one of {', '.join(known)}; got {Path(path).name!r}")


def _nothing_in(value: Any) -> str | None:
    """Return where there is nothing to draw in a value: "" for the whole, the names of the part; None if nowhere."""
    value = getattr(value, "steps", value)  # of a history, a monitor or a sweep
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return None
    if len(value) == 0:
        return ""
    if not isinstance(value, Mapping | list | tuple):
        return None
    parts: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, part in parts:
        inside = _nothing_in(part)
        if inside is not None:
            return f"[{name!r}]{inside}"
    return None


def draws(subject: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function that draws: its place and what it draws are checked before anything is drawn or written.

    Args:
        subject: name of the argument that it draws, which must not be empty, nor any part of it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def draw(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments
            check_place(given.get("path"))
            place = _nothing_in(given[subject])
            if place is not None:
                raise ValueError(
                    f"plots.{function.__name__}: expected something to draw; got an empty {subject}{place}"
                )
            return function(*args, **kwargs)

        return draw

    return decorate


@dataclass(frozen=True)
class Table:
    """The data of a figure as a CSV file."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]
    suffix: ClassVar[str] = ".csv"

    def content(self) -> bytes:
        """Return the content of the file."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(self.columns)
        table.writerows(self.rows)
        return text.getvalue().encode()


@dataclass(frozen=True)
class Text:
    """The data of a figure as the text of a CSV file."""

    text: str
    suffix: ClassVar[str] = ".csv"

    def content(self) -> bytes:
        """Return the content of the file."""
        return self.text.encode()


class Arrays:
    """The data of a figure as an NPZ file."""

    suffix: ClassVar[str] = ".npz"

    def __init__(self, **arrays: np.ndarray) -> None:
        self.arrays = arrays

    def content(self) -> bytes:
        """Return the content of the file."""
        packed = io.BytesIO()
        # Its stubs take the names for its own arguments.
        np.savez_compressed(packed, **self.arrays)  # type: ignore[arg-type]
        return packed.getvalue()


def save(drawn: Any, path: Place, beside: Table | Text | Arrays | None = None) -> Any:
    """Write a figure to a file, with its data in a file of the same name; both completely or none at all.

    Args:
        drawn: the Matplotlib figure.
        path: path of the file, whose ending is the format, such as ``.png``, ``.svg`` or ``.pdf``; an open binary file,
            which gets a PNG; or None to return the figure.
        beside: the data, which are written beside a path only; None for none.

    Returns:
        The figure if ``path`` is None, else None.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: if Matplotlib does not know the format.
        TypeError: if ``path`` is anything else, such as a file that is open for text.
    """
    if path is None:
        return drawn
    check_place(path)
    form = Path(path).suffix.removeprefix(".") if isinstance(path, str | Path) else ""
    write(path, _as_bytes(drawn, form or "png"), beside)
    return None


def write(path: str | Path | BinaryIO, content: bytes, beside: Table | Text | Arrays | None) -> None:
    """Write the content of an image file, and the data of the figure beside it if ``path`` is a path."""
    if not isinstance(path, str | Path):
        path.write(content)
        return
    contents = {Path(path): content}
    if beside is not None:
        contents[Path(path).with_suffix(beside.suffix)] = beside.content()
    write_together(contents)


def _as_bytes(drawn: Any, form: str) -> bytes:
    file = io.BytesIO()
    drawn.savefig(file, format=form, dpi=STYLE["figure.dpi"], bbox_inches="tight")
    return file.getvalue()


def as_png(drawn: Any) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    return _as_bytes(drawn, "png")
