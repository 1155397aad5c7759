"""A download that goes on where it was cut."""

import sys
from pathlib import Path
from typing import Any

from ..base.shown import in_notebook

_PATIENCE = 30.0  # seconds without an answer, or without a byte of it, after which a server counts as silent
_PIECE = 2**14  # bytes that are written at a time; what a cut connection may cost


class Resuming:
    """Downloads one file for pooch, which gives the address and the path, checks the content and makes it visible.

    What has come is kept in a partial file beside the file. The next download asks for the rest with the header
    ``Range`` (RFC 9110, section 14). A server that does not know it sends the whole file.

    Args:
        part: path of the partial file.
        size: number of bytes of the whole file.
        progress: whether to show a bar on standard error; None for a bar on a terminal and in a notebook.
    """

    def __init__(self, part: Path, size: int, progress: bool | None) -> None:
        self.part, self.size = part, size
        shown = in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
        self._silent = not (shown if progress is None else progress)

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Download the file, or the rest of it, to ``output_file``.

        Raises:
            ConnectionError: the server cannot be reached, refuses, falls silent or breaks off, in plain words. What has
                come is kept.
            ValueError: the server has a larger or smaller file. Nothing is kept.
        """
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        if have > self.size:  # this is no part of the file
            have = 0
        if have < self.size:
            # A compressed answer would have other bytes than the file, and its ranges other places.
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
            try:
                with requests.get(url, headers=headers, stream=True, timeout=_PATIENCE) as response:
                    self._receive(response, have)
            except requests.RequestException as error:
                raise ConnectionError(_in_words(error)) from error
        if self.part.stat().st_size < self.size:  # the end of a connection does not tell whether all has come
            raise ConnectionError(f"it broke off after {self.part.stat().st_size} of {self.size} bytes")
        self.part.replace(output_file)

    def _receive(self, response: Any, have: int) -> None:
        """Write an answer to the partial file, after the ``have`` bytes that are there or in their place."""
        from tqdm.auto import tqdm

        if response.status_code == 416:  # the file that the server has ends before the rest begins
            self._give_up(f"it has fewer than {have} bytes")
        response.raise_for_status()
        rest = response.status_code == 206
        if rest and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            self._give_up(f"it sent {response.headers.get('Content-Range')!r} instead of the rest from byte {have}")
        if not rest:
            self.part.unlink(missing_ok=True)
        done = have if rest else 0
        with (
            self.part.open("ab") as file,
            tqdm(
                desc=self.part.stem.lstrip("."),
                **{"total": self.size, "initial": done, "unit": "B", "unit_scale": True, "disable": self._silent},
            ) as bar,
        ):
            for piece in response.iter_content(_PIECE):
                done += len(piece)
                if done > self.size:
                    break
                file.write(piece)
                bar.update(len(piece))
        if done > self.size:
            self._give_up("it has more bytes")

    def _give_up(self, what: str) -> None:
        """Remove the partial file, of which no whole one can be made, and raise ValueError."""
        self.part.unlink(missing_ok=True)
        raise ValueError(f"{what}, and {self.size} are expected")


def _in_words(error: Any) -> str:
    """Say what an exception of requests means, without the names of its classes."""
    import requests

    if error.response is not None:
        return f"it answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return f"it is silent for {_PATIENCE:g} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "it broke off"
    if isinstance(error, requests.ConnectionError):
        return "it cannot be reached (is this machine offline?)"
    return str(error)
