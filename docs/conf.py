"""How Sphinx builds the documentation: ``pip install '.[docs]' && sphinx-build -W docs docs/out``."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "building"))

import docstrings  # noqa: E402 - of docs/building
import links  # noqa: E402
import overrides  # noqa: E402
import reference  # noqa: E402

import minnet  # noqa: E402

project = "minnet"
author = "The minnet authors"
copyright = "The minnet authors"
version = release = minnet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["out", "building"]

# Pages. Headings have the anchors that GitHub gives them, so that a link works in both places.
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"minnet {release}"
html_static_path = ["static"]
html_css_files = ["minnet.css"]
html_show_sourcelink = False

# Docstrings: Google style; the docstring of a class describes the arguments of its constructor.
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Class attributes", "Attributes")]
autodoc_inherit_docstrings = True  # of a method that overrides another one; ``overrides`` shortens them
autodoc_member_order = "bysource"
# Docstrings say what arguments are; with types, signatures would fill half a screen.
autodoc_typehints = "none"
python_maximum_signature_line_length = 88
autosummary_generate = False
toc_object_entries_show_parents = "hide"


def setup(app):
    """Write the pages that come from the code before they are read, and let links leave ``docs/``."""
    reference.write(DOCS / "generated")
    links.copy_pages(DOCS)
    app.connect("source-read", links.leave)
    app.connect("autodoc-process-signature", docstrings.signature)
    app.connect("autodoc-process-docstring", overrides.shorten, priority=300)
    app.connect("autodoc-process-docstring", docstrings.rewrite, priority=400)  # before napoleon
