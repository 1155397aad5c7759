"""Texts as words: whole numbers, which a net with an Embedding takes. Here a word is a character."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..base import checks
from .arrays import Data


@dataclass(frozen=True, eq=False)
class Text:
    """A text, and the whole numbers that stand for its characters.

    Args:
        characters: the text.
        vocabulary: the characters that there are, in the order of their numbers. By default those of the text, sorted.

    Attributes:
        words: int32 array (len(text),), the number of each character.

    Raises:
        ValueError: if the text is empty or has characters that are not in the vocabulary.
    """

    characters: str
    vocabulary: str = ""
    words: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str):
            raise TypeError(f"Text: expected characters as text; got {type(self.characters).__name__}")
        if not self.characters:
            raise ValueError("Text: expected at least one character; got an empty text")
        if not self.vocabulary:
            object.__setattr__(self, "vocabulary", "".join(sorted(set(self.characters))))
        elif len(set(self.vocabulary)) < len(self.vocabulary):
            raise ValueError(f"Text: expected each character of the vocabulary once; got {self.vocabulary!r}")
        object.__setattr__(self, "words", self.encode(self.characters))

    def __len__(self) -> int:
        return len(self.characters)

    def __repr__(self) -> str:
        return f"Text({len(self)} characters, {len(self.vocabulary)} different ones)"

    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of the characters of a text, as an int32 array (len(text),).

        Args:
            text: characters, all of them in the vocabulary.

        Raises:
            ValueError: for a character that is not in the vocabulary. The error names it and its place.
        """
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        known = np.frombuffer(self.vocabulary.encode("utf-32-le"), np.uint32)
        order = np.argsort(known)
        places = np.minimum(np.searchsorted(known[order], points), len(known) - 1)
        words = order[places].astype(np.int32)
        strange = np.flatnonzero(known[words] != points)
        if strange.size:
            at = int(strange[0])
            raise ValueError(
                f"Text: expected characters of the vocabulary {self.vocabulary!r}; got {text[at]!r} at place {at}"
            )
        return words

    def decode(self, words: Any) -> str:
        """Return the text of some words: an integer, or an array of integers of one axis.

        Args:
            words: numbers of characters, from 0 to the length of the vocabulary - 1.

        Raises:
            ValueError: for a number that stands for no character.
        """
        numbers = np.atleast_1d(np.asarray(words))
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            raise ValueError(
                f"Text.decode: expected integers of one axis; got {numbers.dtype} of shape {numbers.shape}"
            )
        strange = (numbers < 0) | (numbers >= len(self.vocabulary))
        if strange.any():
            at = int(np.argmax(strange))
            raise ValueError(
                f"Text.decode: expected words from 0 to {len(self.vocabulary) - 1}; got {numbers[at]} at place {at}"
            )
        return "".join(self.vocabulary[word] for word in numbers)

    def split(self, fraction: float) -> tuple["Text", "Text"]:
        """Cut the text in two, of which the first is ``fraction`` of it. Both have the vocabulary of the whole.

        Text is not shuffled before it is cut: parts that overlap with training data would make it look learned.

        Args:
            fraction: share of the characters that the first part has, above 0 and below 1.

        Returns:
            The two parts in their order, such as training and validation text.

        Raises:
            ValueError: a part would be empty.
        """
        cut = round(checks.fraction("Text.split", "fraction", fraction) * len(self))
        if not 0 < cut < len(self):
            raise ValueError(
                f"Text.split: expected a fraction that leaves two parts; got {fraction} of {len(self)} characters"
            )
        return Text(self.characters[:cut], self.vocabulary), Text(self.characters[cut:], self.vocabulary)

    def windows(self, time: int, *, step: int | None = None) -> Data:
        """Cut the text into windows, for a net that says at each position which character comes next.

        Args:
            time: number of positions of a window.
            step: distance from the start of a window to the next. None for ``time``, windows that do not overlap. With
                a smaller step, ``Batches`` draws from windows that start at more places.

        Returns:
            (x, y) of shape (n, time), int32: y[i, t] is the character after x[i, t].

        Raises:
            ValueError: if the text is too short for one window.
        """
        time = checks.count("Text.windows", "time", time)
        step = time if step is None else checks.count("Text.windows", "step", step)
        if len(self) <= time:
            raise ValueError(
                f"Text.windows: expected at least {time + 1} characters for windows of {time}; got {len(self)}"
            )
        starts = np.arange(0, len(self) - time, step)[:, np.newaxis] + np.arange(time)
        return self.words[starts], self.words[starts + 1]

    def streams(self, batch_size: int, time: int) -> Data:
        """Cut the text into streams side by side, for a net that carries its state on from batch to batch.

        The text is cut into ``batch_size`` parts of equal length, and each part into windows that do not overlap. Row b
        of a batch goes on where row b of the batch before ended, for batches of ``batch_size`` in the order of the
        result. A net with layers such as ``LSTM(units, streams=batch_size)`` is trained on them in this order by
        ``fit``, and ``Batches(..., shuffle=False)`` returns them so. What is left at the end of the text, fewer than
        batch_size * time characters, is not used.

        Args:
            batch_size: number of streams.
            time: number of positions of a window.

        Returns:
            (x, y) of shape (batches * batch_size, time), int32: y[i, t] is the character after x[i, t].

        Raises:
            ValueError: if the text is too short for one batch.
        """
        streams = checks.count("Text.streams", "batch_size", batch_size)
        time = checks.count("Text.streams", "time", time)
        batches = (len(self) - 1) // (streams * time)
        if not batches:
            raise ValueError(
                f"Text.streams: expected at least {streams * time + 1} characters for {streams} windows of {time}; "
                f"got {len(self)}"
            )
        used = streams * batches * time
        by_stream = (words[:used].reshape(streams, batches, time) for words in (self.words, self.words[1:]))
        x, y = (np.ascontiguousarray(part.swapaxes(0, 1)).reshape(-1, time) for part in by_stream)
        return x, y


def padded(sequences: Sequence[Any], time: int | None = None, *, padding: int) -> np.ndarray:
    """Put sequences of different lengths into the rows of one array.

    Args:
        sequences: sequences of integers.
        time: number of columns. None for the length of the longest sequence.
        padding: the number behind the end of a shorter sequence: a word of its own in inputs (``Embedding(padding=)``,
            ``LSTM(padding=)``, ``SelfAttention(padding=)``), or a label that the loss ignores in targets
            (``SoftmaxCrossEntropy(ignored=-1)``).

    Returns:
        An int64 array (len(sequences), time).

    Raises:
        TypeError, ValueError: if there are no sequences, one is longer than ``time``, or one is not of integers.
    """
    rows = [np.asarray(sequence) for sequence in sequences]
    if not rows:
        raise ValueError("padded: expected at least one sequence; got none")
    for i, row in enumerate(rows):
        if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
            raise TypeError(
                f"padded: expected sequences of integers; got {row.dtype} of shape {row.shape} as number {i}"
            )
    longest = max(range(len(rows)), key=lambda i: rows[i].size)
    time = max(rows[longest].size, 1) if time is None else checks.count("padded", "time", time)
    if rows[longest].size > time:
        raise ValueError(
            f"padded: expected sequences of at most {time} words; got {rows[longest].size} in number {longest}"
        )
    out = np.full((len(rows), time), checks.whole("padded", "padding", padding), np.int64)
    for row, place in zip(rows, out, strict=True):
        place[: row.size] = row
    return out
