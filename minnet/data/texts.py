"""Texts: a bundled play, and text files."""

from importlib import resources
from pathlib import Path

from .text import Text


def coriolanus() -> Text:
    """Load the play Coriolanus by Shakespeare: 154,469 characters, 61 different ones.

    It is the first play of the file that ``shakespeare`` reads.

    Returns:
        The text, as a ``Text``.
    """
    return Text((resources.files("minnet.data") / "bundled" / "coriolanus.txt").read_text(encoding="utf-8"))


def text(path: str | Path) -> Text:
    """Load a text file in UTF-8.

    Args:
        path: path of the file.

    Returns:
        The text, as a ``Text``, whose vocabulary is the characters that it has.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty or is not UTF-8. The error names it.
    """
    try:
        characters = Path(path).read_text(encoding="utf-8-sig")  # with or without a mark at its start
    except UnicodeDecodeError as error:
        raise ValueError(
            f"text: expected {path} in UTF-8; got byte {error.object[error.start]:#04x} at {error.start}"
        ) from error
    if not characters:
        raise ValueError(f"text: expected a text in {path}; got an empty file")
    return Text(characters)


def shakespeare(folder: str | Path) -> Text:
    """Load the 1.1 million characters of Shakespeare that are known as tinyshakespeare (Karpathy 2015).

    Args:
        folder: folder with ``input.txt``, or with the folder ``tinyshakespeare`` that has it.

    Returns:
        The text, as a ``Text``.

    Raises:
        FileNotFoundError: if the file is missing.
    """
    places = [Path(folder) / "input.txt", Path(folder) / "tinyshakespeare" / "input.txt"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"shakespeare: expected input.txt or tinyshakespeare/input.txt in {folder}; found neither"
        )
    return text(path)
