"""NUMBA_DISABLE_JIT=1: Python runs the kernels, slowly, with the same results but for rounding."""

import os
import subprocess
import sys
from pathlib import Path

import every_pass
import numpy as np


def test_every_pass_gives_the_same_without_compiled_code(tmp_path):
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "error", str(Path(every_pass.__file__)), str(tmp_path / "python.npz")]
    subprocess.run(command, env=environment, check=True)
    in_python, compiled = np.load(tmp_path / "python.npz"), every_pass.results()
    assert set(in_python) == set(compiled)
    for name, expected in compiled.items():
        bound = 3e-5 if name.endswith("float32") else 1e-13
        assert np.abs(in_python[name] - expected).max() <= bound * np.abs(expected).max(), name


def test_no_kernel_is_compiled():
    code = "from minnet.kernels.passes import dense; assert type(dense.column_sums).__name__ == 'function'"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, check=True)
