"""The example that looks at a network trains it, says how far images had to change, and draws four figures."""

import numpy as np
import pytest


@pytest.mark.usefixtures("one_thread")
def test_the_example_draws_what_the_network_sees(run_example, tmp_path):
    done = run_example("looking.py", "--epochs", "2", "--steps", "3", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "accuracy on 359 test images" in done.stdout
    table = done.stdout.split("fooling images\n")[1].splitlines()[1:11]
    assert all(int(line.split()[2]) == (i + 1) % 10 for i, line in enumerate(table))  # each is taken for the next class
    names = "saliency", "classes", "fooling", "layers"
    assert {path.name for path in tmp_path.glob("*.png")} == {f"looking_digits_{name}.png" for name in names}
    with np.load(tmp_path / "looking_digits_classes.npz") as rows:
        assert set(rows) == {"gradient", "blur", "blur, jitter"}
        images = np.stack(list(rows.values()))
    assert images.shape == (3, 10, 8, 8, 1)
    assert -1e-6 < images.min() < images.max() < 1 + 1e-6  # from black to white
