"""What holds for every kernel: a naive twin in one of the files beside, a cache, and compilation that keeps NaN."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from twins import KERNELS

import minnet.kernels
from minnet.kernels.compile import FAST

PACKAGE = Path(minnet.__file__).parent


def test_every_kernel_has_a_twin():
    public = {name for name, kernel in KERNELS.items() if kernel._cache.cache_path}  # all but helpers
    tables = [runpy.run_path(str(path))["TWINS"] for path in Path(__file__).parent.glob("test_kernels_*.py")]
    assert public == {param.values[0] for table in tables for param in table}


# How kernels are compiled ------------------------------------------------------------------------------------


def test_every_kernel_is_cached_and_keeps_nan_and_infinity():
    # "nnan" and "ninf", which fastmath=True implies, would let isnan and 0 * x be optimised away.
    assert not FAST & {"nnan", "ninf", "fast"}
    for name, kernel in KERNELS.items():
        assert kernel.targetoptions["fastmath"] <= FAST, name
        assert kernel.targetoptions["error_model"] == "numpy", name
        shared = kernel.py_func.__module__.endswith(
            (
                *("block", "channels", "chunks", "elementary", "means", "moves", "noise", "packed", "partials", "rows"),
                *("strips", "sums", "through_time"),
            )
        )
        is_helper = (
            (shared and name != "means.squares_fit")
            or kernel.py_func.__name__.startswith("_")
            or name.endswith((".with_borders", ".narrow"))
        )
        assert bool(kernel._cache.cache_path) != is_helper, name


def test_a_change_in_a_helpers_file_is_noticed(tmp_path):
    # Numba itself looks only at the file of the kernel when it decides whether kept code is still good.
    package = tmp_path / "minnet"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    helper, kernel = package / "kernels" / "first.py", package / "kernels" / "second.py"
    helper.write_text("from .compile import helper\n\n@helper\ndef number():\n    return 20\n")
    kernel.write_text(
        "from .compile import kernel\nfrom .first import number\n\n@kernel\ndef twice():\n    return 2 * number()\n"
    )

    def run():
        program = "from minnet.kernels.second import twice; print(twice(), sum(twice.stats.cache_hits.values()))"
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert run() == ["40", "0"]
    assert run() == ["40", "1"], "code that is still good is compiled again"
    helper.write_text(helper.read_text().replace("20", "505"))
    assert run() == ["1010", "0"]
