"""Texts that a network writes: one word after the other, each drawn from what the network expects next."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from ..base import checks, streams
from ..base.guide import guided
from ..layers import Layer
from ..layers.by_steps import reads_by_steps
from ..layers.changed import changed
from ..layers.kept import kept
from .net import Net, as_net


@guided
def generate(
    net: Net,
    prompt: Any,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    slide: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Let a network go on from some words, one word at a time.

    The scores at the last position are those of the next word. It is drawn from softmax(scores / temperature), and is
    then read like the words before it. A net of recurrent layers, and of layers that act on each position by itself,
    reads each word once and keeps its state, so texts may have any length. A net with causal ``SelfAttention``
    without padding, or with ``PositionalEncoding``, reads each word once, too, and keeps the keys and values, but may
    read only as many words as its input has: its context. Nets with layers of other kinds read the whole text again for
    each word.

    Args:
        net: a net whose input is (time,) words and whose output is the scores (time, vocabulary) of each next word. A
            position must not see those after it.
        prompt: the words to go on from, at least one: integers from 0 to vocabulary - 1, such as ``Text.encode`` gives.
        length: number of words to write.
        temperature: above 0; below 1 likely words become more likely, above 1 less.
        top_k: number of words with the highest scores to draw from; None for all.
        slide: whether a net with a context reads only the last words of a text that has become longer than it, all
            again for each word, as their places change. If False, such a text is refused before it begins.
        seed: seed of the draws.

    Returns:
        The words written, int64 of shape (length,), without the prompt. ``Text.decode`` makes a text of them.

    Raises:
        TypeError, ValueError: the net does not take words or does not score them, a position sees those after it, a
            word is not in the vocabulary, the text is longer than the context, or another argument is out of range.
        FloatingPointError: the scores are not finite.
    """
    words = _checked_prompt(net, prompt)
    length = checks.count("generate", "length", length)
    temperature = checks.positive("generate", "temperature", temperature)
    if top_k is not None and checks.count("generate", "top_k", top_k) > net.vocabulary:
        raise ValueError(f"generate: expected top_k of at most {net.vocabulary} words; got {top_k}")
    checks.truth("generate", "slide", slide)
    rng = streams.generator(checks.count("generate", "seed", seed, least=0), "words to generate")
    if all(map(reads_by_steps, net.all_layers())):
        scores = _step_by_step(_reader(net, net.layers), words, None)
    else:
        _check_context(net, len(words), length, slide)
        _check_hidden(net, words, slide and len(words) + length - 1 > net.input_shape[0])
        context, scores = net.input_shape[0], _by_windows(net, words)
        keep = partial(kept, context=context)
        if all(reads_by_steps(keep(layer)) for layer in net.all_layers()):
            scores = chain(_step_by_step(_reader(net, changed(net.layers, keep)), words, context), scores)
        else:
            _check_order(net, words)
    start = len(words)
    while len(words) < start + length:
        words.append(_drawn(next(scores), temperature, top_k, rng))
    return np.array(words[start:], np.int64)


def _checked_prompt(net: Any, prompt: Any) -> list[int]:
    as_net("generate", net)
    if not net.vocabulary or len(net.input_shape) != 1:
        raise ValueError(
            f"generate: expected a net of words (time,), whose first layer is an Embedding; got {net.layers.layers[0]} "
            f"for input of shape {net.input_shape}"
        )
    if net.output_shape != (*net.input_shape, net.vocabulary):
        raise ValueError(
            f"generate: expected a net that scores the {net.vocabulary} words at each position, with output shape "
            f"{(*net.input_shape, net.vocabulary)}; got {net.output_shape}"
        )
    hint = " (Text.encode makes words of a text)" if isinstance(prompt, str) else ""
    words = np.asarray(prompt)
    if words.dtype.kind not in "iu" or words.ndim != 1 or not words.size:
        raise ValueError(
            f"generate: expected a prompt of at least one word, integers of one axis; got {words.dtype} of shape "
            f"{words.shape}{hint}"
        )
    strange = np.flatnonzero((words < 0) | (words >= net.vocabulary))
    if strange.size:
        at = int(strange[0])
        raise ValueError(f"generate: expected words from 0 to {net.vocabulary - 1}; got {words[at]} at prompt[{at}]")
    return [int(word) for word in words]


def _check_context(net: Net, prompt: int, length: int, slide: bool) -> None:
    context, read = net.input_shape[0], prompt + length - 1  # the last word is not read
    if prompt > context:
        raise ValueError(
            f"generate: expected a prompt of at most {context} words, the context of the net; got {prompt}"
        )
    if read > context and not slide:
        raise ValueError(
            f"generate: expected at most {context} words to read, the context of the net; got a prompt of {prompt} and "
            f"length={length}. With slide=True it reads the last {context} of them"
        )


def _check_hidden(net: Net, words: list[int], slides: bool) -> None:
    """Raise ValueError if attention that leaves a padding word out could see nothing of a text."""
    hidden = net.words_left_out()
    if words[0] in hidden:
        raise ValueError(f"generate: expected a prompt that begins with another word than the padding; got {words[0]}")
    if hidden and slides:
        raise ValueError(
            "generate: expected slide=False for a net with attention that leaves out padding, as the padding may "
            f"become the first word of what it reads; got slide=True and a text longer than {net.input_shape[0]} words"
        )


def _check_order(net: Net, words: list[int]) -> None:
    """Raise ValueError if the scores at the first position depend on the words after it."""
    one = _window(net, words)
    other, hidden = one.copy(), net.words_left_out()
    seen = [word for word in range(net.vocabulary) if word not in hidden]
    one[0, 1:], other[0, 1:] = seen[0], seen[-1]
    first, second = (net.predict(x)[0, 0] for x in (one, other))
    if np.abs(first - second).max() > np.sqrt(np.finfo(net.dtype).eps) * np.abs(first).max():
        raise ValueError(
            "generate: expected a net whose positions do not see those after them (SelfAttention(..., causal=True), no "
            "reverse and no Bidirectional); the scores at the first position depend on later words"
        )


def _reader(net: Net, layers: Layer) -> Net:
    """Return a net of these layers that reads one word in a pass, with the weights of ``net``."""
    reader = Net(layers, (1,), dtype=net.dtype, seed=net.seed)  # the weights do not depend on the number of steps
    reader.params, reader.buffers = net.params, net.buffers
    return reader


def _step_by_step(reader: Net, words: list[int], context: int | None) -> Iterator[np.ndarray]:
    """Yield the scores of the word after ``words``, to which the caller adds one each time; read each word once.

    Ends when ``context`` words have been read.
    """
    for i, word in enumerate(words):  # a list goes on with what is added in the meantime
        if i == context:
            return
        scores = reader.forward(np.array([[word]]), continues=i > 0)
        if i + 1 >= len(words):
            yield scores[0, 0]


def _by_windows(net: Net, words: list[int]) -> Iterator[np.ndarray]:
    """Yield the scores of the word after ``words``, to which the caller adds one each time; read all for each."""
    while True:
        yield net.predict(_window(net, words))[0, min(len(words), net.input_shape[0]) - 1]


def _window(net: Net, words: list[int]) -> np.ndarray:
    """Return the last words at the first positions of an input (1, time); positions after them have the word 0."""
    window, last = np.zeros((1, *net.input_shape), np.int64), words[-net.input_shape[0] :]
    window[0, : len(last)] = last
    return window


def _drawn(scores: np.ndarray, temperature: float, top_k: int | None, rng: np.random.Generator) -> int:
    """Draw a word: the one whose score, plus noise of Gumbel's distribution, is highest (Maddison et al. 2014)."""
    if not np.isfinite(scores).all():
        raise FloatingPointError("generate: expected finite scores; got NaN or infinity")
    values = scores.astype(np.float64)
    values = (values - values.max()) / temperature
    if top_k is not None:
        values[np.argsort(-values, kind="stable")[top_k:]] = -np.inf
    return int(np.argmax(values + rng.gumbel(size=values.size)))
