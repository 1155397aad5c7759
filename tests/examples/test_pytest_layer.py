"""The template of a repository with passes and tests of its own: its tests pass, and fail for a mistake."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minnet

TEMPLATE = Path(__file__).parents[2] / "examples" / "pytest_layer"


def run(folder):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(minnet.__file__).parents[1])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("broken", [False, True])
def test_the_template_passes_until_a_gradient_is_wrong(tmp_path, broken):
    folder = tmp_path / "copy"
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    module = folder / "layers.py"
    text = module.read_text(encoding="utf-8")
    assert "dout @ w.T, x.T @ dout, dout.sum(axis=0)" in text
    if broken:
        module.write_text(text.replace("dout.sum(axis=0)", "dout.mean(axis=0)", 1), encoding="utf-8")
    ended = run(folder)
    if broken:
        assert ended.returncode == 1
        assert "FAILED tests/test_gradients.py::test_affine[4]" in ended.stdout
        assert "1 failed" in ended.stdout  # one sample does not tell a mean from a sum
    else:
        assert ended.returncode == 0, ended.stdout + ended.stderr
