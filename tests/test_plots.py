"""Figures that show something one can count."""

import numpy as np
import pytest
from matplotlib.image import imread

from minnet import plots


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_name_says_the_format(tmp_path, suffix):
    path = tmp_path / f"grid{suffix}"
    plots.images(path, np.zeros((3, 4, 5, 1)), columns=2, title="nothing")
    assert path.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_images_are_stretched_each_by_itself_and_put_side_by_side(tmp_path):
    """Halves of red and black, of green and black at a thousandth of that scale, and an image that is all the same."""
    pictures = np.zeros((3, 8, 8, 3), np.float32)
    pictures[0, :4, :, 0], pictures[1, :, :4, 1], pictures[2] = 5, 5e-3, -7
    pictures[1] -= 3
    plots.images(tmp_path / "grid.png", pictures, columns=2, title="")
    pixels = np.rint(255 * imread(tmp_path / "grid.png")[..., :3]).astype(int)

    def places(colour):
        return np.argwhere((pixels == colour).all(axis=-1))

    red, green, black = places((255, 0, 0)), places((0, 255, 0)), places((0, 0, 0))
    assert len(red) == pytest.approx(len(green), rel=0.2)
    assert len(black) == pytest.approx(4 * len(red), rel=0.2)  # two halves and one whole
    assert red[:, 1].max() < green[:, 1].min()  # the second image is right of the first,
    assert black[:, 0].max() > max(red[:, 0].max(), green[:, 0].max())  # the third below
