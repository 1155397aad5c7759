"""The common style of all figures, and the writing of figures and their data."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..storage.files import check_folder, write_whole

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
        drawn = Figure(figsize=(width * panels, heights.sum()), layout="constrained")
        axes = drawn.subplots(len(heights), panels, gridspec_kw={"height_ratios": heights})
        return drawn, list(np.ravel(axes))


_BROKEN = (0, (5, 1.2))


def look(rank: int) -> dict[str, Any]:
    """Return the style of the line with this rank, counted from 0: its colour, dashes, width and order.

    Every second line is dashed and drawn on top, so that two lines that coincide are both visible. There are seven
    colours, so the second seven lines are solid where the first seven are dashed. 14 ranks have different styles.
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
    """Add a legend without a frame. Matplotlib reads defaults when it creates a legend, so the style is set here."""
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
    """
    from matplotlib.backend_bases import FigureCanvasBase

    if not isinstance(path, str | Path):
        return
    check_folder(path)
    form, known = Path(path).suffix.removeprefix("."), sorted({*FigureCanvasBase.filetypes, "gif"})
    if form and form.lower() not in known:  # without an ending it is a PNG
        raise ValueError(f"plots: expected a path that ends in one of {', '.join(known)}; got {Path(path).name!r}")


def save(drawn: Any, path: Place) -> Any:
    """Write a figure to a file, completely or not at all.

    Args:
        drawn: the Matplotlib figure.
        path: path of the file, whose ending is the format, such as ``.png``, ``.svg`` or ``.pdf``; an open binary file,
            which gets a PNG; or None to return the figure.

    Returns:
        The figure if ``path`` is None, else None.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: if Matplotlib does not know the format.
    """
    if path is None:
        return drawn
    if not isinstance(path, str | Path):
        path.write(as_png(drawn))
        return None
    check_place(path)
    write_whole(path, _as_bytes(drawn, Path(path).suffix.removeprefix(".") or "png"))
    return None


def _as_bytes(drawn: Any, form: str) -> bytes:
    file = io.BytesIO()
    drawn.savefig(file, format=form, dpi=STYLE["figure.dpi"], bbox_inches="tight")
    return file.getvalue()


def as_png(drawn: Any) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    return _as_bytes(drawn, "png")


def save_rows(path: Place, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a figure's data to a CSV file of the same name, if ``path`` is a path."""
    if not isinstance(path, str | Path):
        return
    check_place(path)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    write_whole(Path(path).with_suffix(".csv"), text.getvalue())


def save_arrays(path: Place, **arrays: np.ndarray) -> None:
    """Write a figure's arrays to an NPZ file of the same name, if ``path`` is a path."""
    if not isinstance(path, str | Path):
        return
    check_place(path)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]  # its stubs take the names for its own arguments
    write_whole(Path(path).with_suffix(".npz"), packed.getvalue())
