"""Every program that the pages name is run: here, in short and on a few random images, or by a test of its own."""

import re
from pathlib import Path

import numpy as np
import pytest

import minnet as mn

ROOT = Path(__file__).parents[2]
# Programs without a test of their own, the arguments of a short run, and what it prints.
SHORT = {
    "cifar10_3c3d.py": (["--epochs", "2"], "accuracy on 40 test images"),
    "ensembles.py": (["--epochs", "1", "--members", "2", "--seeds", "1"], "N25: averages of weights, cosine"),
    "mnist.py": (["--epochs", "1"], "test accuracy"),
    "to_pytorch.py": (["--epochs", "1"], ""),
    "two_layer.py": (["--epochs", "1"], "validation accuracy"),
}


def images(shape, count, rng):
    return rng.integers(0, 256, (count, *shape), np.uint8), rng.integers(0, 10, count)


@pytest.fixture
def few_images(monkeypatch, tmp_path):
    """Random images in place of MNIST and CIFAR-10, of which 1,000 are for validation."""
    rng = np.random.default_rng(0)
    for name, shape in (("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))):
        parts = images(shape, 1200, rng), images(shape, 40, rng)
        monkeypatch.setattr(mn.datasets, name, lambda folder, parts=parts: parts)
    monkeypatch.setenv("MINNET_DATA", str(tmp_path))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", SHORT)
def test_a_program_runs_in_short(name, run_example, few_images, tmp_path):
    arguments, words = SHORT[name]
    out = ["--out", str(tmp_path)] if "--out" in (ROOT / "examples" / name).read_text(encoding="utf-8") else []
    done = run_example(name, *arguments, *out)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert not out or list(tmp_path.glob("*.png"))


def test_every_program_that_the_pages_name_is_run():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"examples/(\w+\.py)", page.read_text(encoding="utf-8"))}
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    run = re.findall(r'(?:run_example\(|"examples" / )"(\w+\.py)"', tests)
    assert named <= {*run, *SHORT}
    assert named == {path.name for path in (ROOT / "examples").glob("*.py")}
