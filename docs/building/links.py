"""Links from the pages to what is outside ``docs/``.

The pages are read in two places: in the repository, where ``../CONTRIBUTING.md`` and ``../examples/`` are files, and on
the site. There, the pages of the repository's root are copied in, programs are offered as downloads, and a folder or a
page of a folder is only named.
"""

import re
from pathlib import Path

COPIED = {"CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog", "README.md": "readme"}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def copy_pages(docs: Path) -> None:
    """Copy the pages of the root to ``docs/generated``, with links as seen from there."""
    for name, copy in COPIED.items():
        text = (docs.parent / name).read_text(encoding="utf-8")
        text = re.sub(r"(\]\()(?!https?:|#)", r"\1../../", text)
        path = docs / "generated" / f"{copy}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def leave(app, docname: str, source: list[str]) -> None:
    """Rewrite the links of a page that lead out of ``docs/``; the hook of Sphinx that changes a page's text."""
    if not docname.startswith("generated/") or docname.removeprefix("generated/") in COPIED.values():
        docs = Path(app.srcdir)
        source[0] = rewritten(source[0], docs, (docs / docname).parent)


def rewritten(text: str, docs: Path, folder: Path) -> str:
    """Return the text of a page in ``folder`` with its links outside ``docs`` made for the site."""

    def link(match: re.Match[str]) -> str:
        words, path, anchor = match[1], match[2], match[3] or ""
        if path.startswith(("http:", "https:")):
            return match[0]
        target = (folder / path).resolve()
        up = "../" * len(folder.relative_to(docs).parts)
        if target.is_relative_to(docs):
            return f"[{words}]({up}{target.relative_to(docs)}{anchor})"
        inside = target.relative_to(docs.parent)
        if str(inside) in COPIED:
            return f"[{words}]({up}generated/{COPIED[str(inside)]}.md{anchor})"
        if target.is_file() and target.suffix != ".md":
            return match[0]  # a download
        return f"`{inside}`" if words in (str(inside), f"{inside}/") else f"{words} (`{inside}`)"

    return LINK.sub(link, text)
