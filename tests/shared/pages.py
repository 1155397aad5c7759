"""The Python blocks of pages: what they are, how they run, and what they print.

``python tests/shared/pages.py docs/tutorial/1-linear-classifier.md`` runs a page, prints what each of its blocks
printed, and renews the figures that the page shows. ``blocks_of`` is for pages whose blocks are programs of their own,
``run_in_order`` for pages whose blocks go on from each other.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from PIL import Image

FENCE = re.compile(r"^```(python|text)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*(?:e[-+]?\d+)?|\binf\b|\bnan\b)")


def blocks_of(page: Path) -> list[str]:
    """Return the Python blocks of a page."""
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == "python"]


def printed_on(page: Path) -> list[tuple[str, str | None]]:
    """Return each Python block, and the output that the page shows right after it, or None."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [
        (text, after[1] if after[0] == "text" else None)
        for (kind, text), after in zip(found, [*found, ("", "")][1:], strict=True)
        if kind == "python"
    ]


def run_in_order(page: Path, folder: Path) -> Iterator[str]:
    """Run the blocks of a page in one namespace, in ``folder``, and yield what each prints.

    The blocks are one file with empty lines for the text between them, so that compiled kernels are kept beside it and
    an error names the line of the page.
    """
    text = page.read_text(encoding="utf-8")
    program = folder / f"{page.stem}.py"
    module = ModuleType(f"page_{page.stem.replace('-', '_')}")
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for the classes of the page
    starts = [(text.count("\n", 0, m.start(2)), m[2]) for m in FENCE.finditer(text) if m[1] == "python"]
    program.write_text("".join(block for _, block in starts), encoding="utf-8")
    try:
        for start, block in starts:
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile("\n" * start + block, str(program), "exec"), vars(module))
            yield said.getvalue()
    finally:
        del sys.modules[module.__name__]


def skeleton(output: str) -> list[str]:
    """Return the lines of an output without what numbers and columns change: digits, lengths of lines, white space.

    Numbers depend on the width of the processor's vectors in their last digits, and sizes of scratch memory depend on
    it altogether, with their units.
    """
    lines = (
        " ".join(re.sub("# [KMG]iB", "# bytes", NUMBER.sub("#", line)).replace("%", "").split())
        for line in output.strip().splitlines()
    )
    return [re.sub(r"[-=]{3,}", "---", line) for line in lines if line]


def figures_of(page: Path) -> list[Path]:
    """Return the figures that a page shows from the folder ``figures`` beside it."""
    return [page.parent / path for path in re.findall(r"!\[[^\]]*\]\((figures/[^)]+)\)", page.read_text("utf-8"))]


def shrink(drawn: Path, figure: Path) -> None:
    """Copy a figure with a palette of colours, at most 900 pixels wide: a third of its size, for the repository."""
    with Image.open(drawn) as image:
        image = image.convert("RGB")
        if image.width > 900:
            image = image.resize((900, round(image.height * 900 / image.width)), Image.Resampling.LANCZOS)
        image.quantize(128, dither=Image.Dither.NONE).save(figure, optimize=True)


def main() -> None:
    """Run pages, print their outputs, and renew their figures."""
    for name in sys.argv[1:]:
        page = Path(name).resolve()
        with tempfile.TemporaryDirectory() as folder:
            before = Path.cwd()
            os.chdir(folder)
            try:
                for number, said in enumerate(run_in_order(page, Path(folder)), 1):
                    print(f"--- {page.name}, block {number}\n{said}", end="", flush=True)
                for figure in figures_of(page):
                    figure.parent.mkdir(exist_ok=True)
                    shrink(Path(folder) / figure.name, figure)
            finally:
                os.chdir(before)


if __name__ == "__main__":
    main()
