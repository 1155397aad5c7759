"""Docstrings as reStructuredText. They are written for ``help()``, where bars and stars mean what they say."""

import inspect
import re
from typing import Any

PLAIN = re.compile(r"(?<!\\)([|*])")
EMPHASIS = re.compile(r"(?<![\w*])\*(\w[\w ]*\w|\w)\*(?![\w*])")
LABEL = re.compile(r"(Shapes|Trained|State|Cost|Sources?|Conventions): ")  # paragraphs with a hanging indent
LISTED = re.compile(r"\s*(\*|-|\d+\.) ")


def rewrite(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring's lines; a hook of autodoc."""
    lines[:] = rewritten(lines)


def signature(app: Any, what: str, name: str, thing: Any, options: Any, given: str | None, returns: Any) -> Any:
    """Return the arguments of a class's constructor; a hook of autodoc, which would show those of ``__new__``."""
    if what != "class" or given is None:
        return given, returns
    found = inspect.signature(thing)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in found.parameters.values()]
    return re.sub(r"<factory>|<(\w+) [^>]*>", "...", str(inspect.Signature(bare))), None


def rewritten(lines: list[str]) -> list[str]:
    """Return the lines of a docstring in reStructuredText.

    Bars and stars outside double backquotes are escaped. An indented block after a paragraph is a formula or a program,
    so it is literal. ``State:``, ``Source:`` and the like begin paragraphs.
    """
    done: list[str] = []
    block: int | None = None  # the indentation of what a literal block belongs to
    quoted = False  # within double backquotes, which may go over several lines
    hanging = False  # in the later lines of a labelled paragraph
    last = ""  # the last line with text
    for line in lines:
        indent = _indent(line)
        if block is not None and line.strip() and indent <= block:
            block = None
        opens = not _indent(last) and last and not last.endswith(":") and not LISTED.match(last)
        if block is None and line.strip() and indent >= 4 and opens and not done[-1].strip():
            done += ["::", ""]
            block = 0
        if block is None:
            if label := LABEL.match(line):
                line, hanging = f"**{label[1]}:** {line[label.end() :]}", True
                done += [""]
            elif hanging:
                hanging = bool(indent)
                line = line.strip()
            bullet = line[: listed.end()] if (listed := LISTED.match(line)) else ""
            parts = line.removeprefix(bullet).split("``")
            for at, part in enumerate(parts):
                if bool(at % 2) == quoted:
                    parts[at] = _escaped(part)
            quoted ^= len(parts) % 2 == 0
            line = bullet + "``".join(parts)
            block = indent if line.endswith("::") else None
        done.append(line)
        last = line if line.strip() else last
    return done


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _escaped(text: str) -> str:
    if text.startswith("**"):  # a label
        return text[:2] + _escaped(text[2:]).replace(r"\*\*", "**", 1)
    pieces = EMPHASIS.split(text)
    return "".join(f"*{piece}*" if at % 2 else PLAIN.sub(r"\\\1", piece) for at, piece in enumerate(pieces))
