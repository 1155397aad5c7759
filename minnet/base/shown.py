"""How reports show themselves in a notebook."""

import html
import sys

_STYLE = "white-space: pre; overflow-x: auto; font-family: monospace; line-height: 1.2"  # Jupyter has another font


class Shown:
    """Base class of objects that are read as text with columns: a notebook shows the text and does not break its lines.

    Without it, a notebook shows ``repr``, which is for programs, and wraps lines that are wider than the page.
    """

    def _repr_html_(self) -> str:
        return as_html(str(self))


class ShownText(str):
    """Text with lines, which a notebook shows as ``print`` would."""

    def _repr_html_(self) -> str:
        return as_html(self)


def in_notebook() -> bool:
    """Return whether this process runs a notebook, which shows bars although its standard error is no terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def as_html(text: str) -> str:
    """Return text in a block whose lines are not broken; a wide one can be scrolled."""
    return f'<pre style="{_STYLE}">{html.escape(text)}</pre>'
