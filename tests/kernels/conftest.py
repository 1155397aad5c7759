"""What several tests of kernels use."""

import numba
import pytest
from numba.core.codegen import JITCodeLibrary

from minnet.kernels import cache


@pytest.fixture
def emitted(monkeypatch, tmp_path):
    """The names of what machine code is made of or read, in a process that has kept nothing."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_warned", [])
    names, finalize = [], JITCodeLibrary._finalize_specific

    def counted(library):
        if library.name != "nrt":  # what Numba has for all
            names.append(library.name.rpartition(".")[2])
        finalize(library)

    monkeypatch.setattr(JITCodeLibrary, "_finalize_specific", counted)
    return names
