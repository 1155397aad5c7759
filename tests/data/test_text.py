"""Texts as numbers, windows of them, sequences of different lengths, and the texts that minnet reads."""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

import minnet as mn
from minnet import datasets
from minnet.data import Text, padded


def test_characters_are_numbered_in_sorted_order():
    text = Text("to be, or not to be")
    assert text.vocabulary == " ,benort"
    np.testing.assert_array_equal(text.words[:5], [7, 5, 0, 2, 3])
    assert text.words.dtype == np.int32
    assert text.decode(text.words) == "to be, or not to be"


@pytest.mark.parametrize("characters", ["\x00a", "naïve — 数", "🙂🙃🙂", "a\r\n\tb"])
def test_decoding_undoes_encoding(characters):
    text = Text(characters)
    assert text.decode(text.encode(characters)) == characters
    twin = {character: number for number, character in enumerate(sorted(set(characters)))}
    np.testing.assert_array_equal(text.words, [twin[character] for character in characters])


def test_a_vocabulary_may_be_given_in_any_order():
    text = Text("abba", "xba")
    np.testing.assert_array_equal(text.words, [2, 1, 1, 2])
    assert text.decode(0) == "x"


def test_windows_are_followed_by_the_next_character():
    x, y = Text("abcdefgh").windows(3)
    np.testing.assert_array_equal(x, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(y, [[1, 2, 3], [4, 5, 6]])
    x, y = Text("abcdefgh").windows(3, step=1)
    np.testing.assert_array_equal(x, [[i, i + 1, i + 2] for i in range(5)])
    np.testing.assert_array_equal(y, x + 1)
    x, y = Text("abcd").windows(3)  # the shortest text
    np.testing.assert_array_equal((x, y), ([[0, 1, 2]], [[1, 2, 3]]))


def test_streams_go_on_row_by_row():
    x, y = Text("abcdefghijklmnopqrst").streams(3, 2)  # 19 characters with a next one: 3 batches of 3 windows of 2
    np.testing.assert_array_equal(x[:3], [[0, 1], [6, 7], [12, 13]])
    batches = [x[i : i + 3] for i in range(0, len(x), 3)]
    np.testing.assert_array_equal(np.concatenate(batches, axis=1), np.arange(18).reshape(3, 6))
    np.testing.assert_array_equal(y, x + 1)
    x, y = Text("abcde").streams(2, 2)  # the shortest text
    np.testing.assert_array_equal((x, y), ([[0, 1], [2, 3]], [[1, 2], [3, 4]]))


def test_both_parts_of_a_text_have_its_vocabulary():
    first, second = Text("aaaaaaaabz").split(0.8)
    assert (first.characters, second.characters) == ("aaaaaaaa", "bz")
    assert first.vocabulary == second.vocabulary == "abz"
    np.testing.assert_array_equal(second.words, [1, 2])


def test_a_text_can_be_passed_between_processes():
    text = pickle.loads(pickle.dumps(Text("abc")))
    assert (text.characters, text.vocabulary) == ("abc", "abc")
    np.testing.assert_array_equal(text.words, [0, 1, 2])


def test_shorter_sequences_are_filled_up():
    np.testing.assert_array_equal(padded([[3, 1], [], [2, 2, 5]], padding=-1), [[3, 1, -1], [-1, -1, -1], [2, 2, 5]])
    np.testing.assert_array_equal(padded([np.uint8([7])], 3, padding=0), [[7, 0, 0]])
    assert padded([[1]], padding=0).dtype == np.int64


def test_padding_changes_nothing_at_the_words():
    # Words behind the end do not reach the states before it, and targets behind it do not count.
    layers = [mn.Embedding(6, 3, padding=0), mn.RNN(4), mn.Dense(6)]
    loss = mn.SoftmaxCrossEntropy(ignored=-1)
    short, long = mn.Net(layers, 2, loss, dtype=np.float64), mn.Net(layers, 5, loss, dtype=np.float64)
    sequences, targets = [[3, 1], [2, 5]], [[1, 4], [5, 2]]
    losses = [
        net.loss_and_grads(padded(sequences, time, padding=0), padded(targets, time, padding=-1))
        for net, time in ((short, 2), (long, 5))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-14)
    np.testing.assert_allclose(short.grads, long.grads, 0, 1e-15)


BAD = {
    "an empty text": (lambda: Text(""), ValueError, "Text: expected at least one character; got an empty text"),
    "bytes": (lambda: Text(b"ab"), TypeError, "Text: expected characters as text; got bytes"),
    "a vocabulary with a character twice": (
        lambda: Text("a", "aba"),
        ValueError,
        "each character of the vocabulary once",
    ),
    "a character out of it": (lambda: Text("abc", "ab"), ValueError, "got 'c' at place 2"),
    "encoding another": (lambda: Text("abd").encode("abc"), ValueError, "got 'c' at place 2"),
    "decoding a number above": (lambda: Text("ab").decode([0, 2]), ValueError, "words from 0 to 1; got 2 at place 1"),
    "decoding a negative number": (lambda: Text("ab").decode(-1), ValueError, "words from 0 to 1; got -1 at place 0"),
    "decoding floats": (lambda: Text("ab").decode([0.0]), ValueError, "expected integers of one axis; got float64"),
    "a window as long as the text": (
        lambda: Text("abc").windows(3),
        ValueError,
        "at least 4 characters for windows of 3",
    ),
    "streams as long as the text": (
        lambda: Text("abcd").streams(2, 2),
        ValueError,
        "Text.streams: expected at least 5 characters for 2 windows of 2; got 4",
    ),
    "no stream": (lambda: Text("abc").streams(0, 1), ValueError, "expected batch_size of at least 1; got 0"),
    "a window of nothing": (lambda: Text("abc").windows(0), ValueError, "expected time of at least 1; got 0"),
    "a step of nothing": (lambda: Text("abc").windows(1, step=0), ValueError, "expected step of at least 1; got 0"),
    "a part of nothing": (
        lambda: Text("abc").split(0.1),
        ValueError,
        "expected a fraction that leaves two parts; got 0.1",
    ),
    "no sequences": (lambda: padded([], padding=0), ValueError, "padded: expected at least one sequence; got none"),
    "too long": (lambda: padded([[1], [1, 2]], 1, padding=0), ValueError, "at most 1 words; got 2 in number 1"),
    "of floats": (lambda: padded([[1], [0.5]], padding=0), TypeError, "sequences of integers; got float64 of shape"),
    "an array in it": (lambda: padded([[[1]]], padding=0), TypeError, "got int64 of shape .1, 1. as number 0"),
}


@pytest.mark.parametrize(("make", "kind", "message"), BAD.values(), ids=BAD)
def test_bad_input(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_coriolanus_is_bundled():
    text = datasets.coriolanus()
    assert (len(text), len(text.vocabulary)) == (154469, 61)
    assert text.characters.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n")
    assert text.characters.endswith("Yet he shall have a noble memory. Assist.\n")


def test_a_file_is_read(tmp_path):
    (tmp_path / "input.txt").write_text("ein Ei, zwei Äpfel\n", encoding="utf-8")
    assert datasets.text(tmp_path / "input.txt").characters == "ein Ei, zwei Äpfel\n"
    assert datasets.shakespeare(tmp_path).characters == "ein Ei, zwei Äpfel\n"


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"shakespeare: expected input\.txt or tinyshakespeare/input\.txt in"):
        datasets.shakespeare(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        datasets.text(tmp_path / "nowhere")
    (tmp_path / "bad").write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match=r"text: expected .*bad in UTF-8; got byte 0xff at 3"):
        datasets.text(tmp_path / "bad")
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbfab")  # as some editors begin a file
    assert datasets.text(tmp_path / "marked").characters == "ab"
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match=r"text: expected a text in .*empty; got an empty file"):
        datasets.text(tmp_path / "empty")


def test_shakespeare_is_the_file_that_others_use():
    folder = os.environ.get("MINNET_DATA")
    if not folder:
        pytest.skip("MINNET_DATA is unset: the reader is not tested on the real file")
    text = datasets.shakespeare(folder)
    assert (len(text), len(text.vocabulary)) == (1115394, 65)  # as Karpathy's char-rnn and nanoGPT print
    digest = hashlib.sha256(text.characters.encode()).hexdigest()
    assert digest == hashlib.sha256((Path(folder) / "tinyshakespeare" / "input.txt").read_bytes()).hexdigest()
    assert text.characters.startswith(datasets.coriolanus().characters)
