"""One look for all figures, and the data beside them."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..storage.files import check_folder, write_whole

# A palette that survives grey printing and colour blindness (Okabe and Ito 2008).
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
    """A Matplotlib figure with ``panels`` axes side by side, in minnet's style; sizes in inches a panel.

    Several heights make as many rows of panels; the axes come row by row.
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
    """Colour, dashes and place in the stack of the line with this rank from 0; 14 ranks look different.

    Every second line is broken and lies on top, so that neighbours that coincide, such as two forms of momentum, both
    show. As the colours are seven, the second round has whole lines where the first has broken ones.
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
    """A legend without a frame. Matplotlib reads its defaults when it is made, so the style stands here."""
    axis.legend(frameon=False, fontsize=8)


def shared_legend(drawn: Any, labels: Sequence[str], columns: int) -> None:
    """One legend below all panels: labels in order of rank, see ``look``."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], label=label, **look(rank)) for rank, label in enumerate(labels)]
    drawn.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), columns), frameon=False, fontsize=9)


# Where a figure goes: a path, whose ending names the format; an open binary file, which gets a PNG; or None.
Place = str | Path | BinaryIO | None


def check_place(path: Place) -> None:
    """Refuse what no figure can be written to; asked before anything is written, also the data beside the figure.

    FileNotFoundError if the folder of a path does not exist, ValueError if its ending names no format.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    if not isinstance(path, str | Path):
        return
    check_folder(path)
    form, known = Path(path).suffix.removeprefix("."), sorted({*FigureCanvasBase.filetypes, "gif"})
    if form and form.lower() not in known:  # without an ending it is a PNG
        raise ValueError(f"plots: expected a path that ends in one of {', '.join(known)}; got {Path(path).name!r}")


def save(drawn: Any, path: Place) -> Any:
    """Write a figure to ``path``, whole or not at all, and return None; for a ``path`` of None return the figure.

    A path's ending names the format, such as ``.png``, ``.svg`` or ``.pdf``; an open file gets a PNG. FileNotFoundError
    if the folder does not exist, ValueError for a format that Matplotlib does not know.
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
    """A figure as the bytes of a PNG file."""
    return _as_bytes(drawn, "png")


def save_rows(path: Place, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write what a figure at ``path`` shows beside it, as a CSV file of the same name, if it is a path."""
    if not isinstance(path, str | Path):
        return
    check_place(path)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    write_whole(Path(path).with_suffix(".csv"), text.getvalue())


def save_arrays(path: Place, **arrays: np.ndarray) -> None:
    """Write arrays that a figure at ``path`` shows beside it, as an NPZ file of the same name, if it is a path."""
    if not isinstance(path, str | Path):
        return
    check_place(path)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]  # its stubs take the names for its own arguments
    write_whole(Path(path).with_suffix(".npz"), packed.getvalue())
