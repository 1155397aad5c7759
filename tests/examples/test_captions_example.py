"""The example with captions draws what it says, and measures words at their places."""

import importlib
from pathlib import Path

import numpy as np
import pytest

import minnet as mn

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("captions")


def test_the_example_runs(run_example, tmp_path):
    done = run_example("captions.py", "--epochs", "1", "--images", "200", "--units", "8", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "200 images of 1,438 digits" in done.stdout
    assert "of the captions whole" in done.stdout
    assert (tmp_path / "captions.png").stat().st_size > 5000


def test_an_image_has_the_digits_of_its_caption_side_by_side(example):
    digits = mn.datasets.digits()
    images, captions = example.draw(digits, 50, np.random.default_rng(0))
    for image, caption in zip(images, captions, strict=True):
        words = caption[caption >= 0]
        assert words[-1] == example.END
        left = image.copy()
        for word in words[:-1]:  # each digit is one of its class, somewhere to the right of the one before
            pictures = digits[0][digits[1] == word][..., 0]
            found = [
                start
                for start in range(example.WIDTH - 7)
                if (pictures == left[:, start : start + 8]).all(axis=(1, 2)).any()
            ]
            left[:, : found[0] + 8] = 0
        assert not left.any()


def test_a_caption_does_not_see_the_words_that_it_is_to_say(example):
    images, captions = example.draw(mn.datasets.digits(), 3, np.random.default_rng(0))
    captions[:] = [3, 5, 7, 9, example.END]
    net, changed = example.captioner(8), captions.copy()
    changed[:, 2] = 1
    one, other = (net.predict(example.network_input(images, given)) for given in (captions, changed))
    np.testing.assert_array_equal(one[:, :3], other[:, :3])
    assert (one[:, 3:] != other[:, 3:]).any()


def test_accuracies_count_words_at_their_places(example):
    end = example.END
    right = np.array([[3, 5, end, -1, -1], [1, end, -1, -1, -1]])
    found = np.array([[3, 5, end, -1, -1], [1, 2, end, -1, -1]])
    assert example.accuracies(found, right) == (4 / 5, 1 / 2)
