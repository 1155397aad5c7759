"""Machine code of kernels that is kept in files: when it is used, when it is not, and what damage to the files does."""

import ast
import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
import pytest

from minnet.kernels import cache
from minnet.kernels.compile import kernel
from minnet.kernels.passes import flat

KERNELS = Path(cache.__file__).parent  # of the package that is tested, which may be an installed one
X = np.ones(3, np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder where kernels that are made in the test are kept."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_warned", [])
    return tmp_path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a kernel that was compiled."""
    made = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "CACHE_DIR", str(made))
        assert call(fresh()) == (0, 1)
    return made


@pytest.fixture
def filled(folder, files):
    """A folder in which the kernel's code is kept."""
    shutil.copytree(files, folder, dirs_exist_ok=True)
    return folder


def fresh():
    """A small kernel as another process would have it."""
    return kernel(flat.scale.py_func)


def call(compiled):
    """Call the kernel; returns (times its code was read, times it was compiled)."""
    x = X.copy()
    compiled(x, np.float32(2))
    np.testing.assert_array_equal(x, 2 * X)
    return sum(compiled.stats.cache_hits.values()), sum(compiled.stats.cache_misses.values())


def kept(folder, ending):
    (path,) = folder.rglob(f"*.{ending}")
    return path


def test_a_kernel_is_compiled_once_and_read_from_then_on(folder):
    assert [call(fresh()) for _ in range(3)] == [(0, 1), (1, 0), (1, 0)]


def test_files_are_read_wherever_they_were_copied_to(filled):
    assert call(fresh()) == (1, 0)


def flipped(raw):
    """One bit in the middle is another: the text of the file can still be read."""
    middle = len(raw) // 2
    return raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]


DAMAGE = {
    "empty": lambda raw: b"",
    "cut short": lambda raw: raw[: len(raw) // 2],
    "without its last byte": lambda raw: raw[:-1],
    "zeros": lambda raw: bytes(len(raw)),
    "zeros at the end": lambda raw: raw[: len(raw) // 2] + bytes(len(raw) - len(raw) // 2),
    "text": lambda raw: b"<html>quota exceeded</html>",
}


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_made_anew(filled, damage, ending):
    path = kept(filled, ending)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    hits, misses = call(fresh())
    assert misses == 1 or (ending == "nbi" and hits == 1)  # a list of files has a checksum behind what it needs
    assert call(fresh()) == (1, 0)


def test_a_flipped_bit_in_the_code_is_noticed(filled):
    path = kept(filled, "nbc")
    path.write_bytes(flipped(path.read_bytes()))
    assert [call(fresh()), call(fresh())] == [(0, 1), (1, 0)]


def test_code_of_other_sources_is_not_used_even_if_a_list_names_it(filled, monkeypatch):
    monkeypatch.setattr(cache, "digest", lambda file: "other sources")
    other = fresh()
    old = kept(filled, "nbc").read_bytes()
    call(other)
    kept(filled, "nbc").write_bytes(old)  # as if the disk had been full when the new code was to be written
    assert call(fresh()) == (0, 1)


def call_double(compiled):
    """``call`` with numbers of float64."""
    x = X.astype(np.float64)
    compiled(x, np.float64(2))
    np.testing.assert_array_equal(x, 2 * X)
    return sum(compiled.stats.cache_hits.values()), sum(compiled.stats.cache_misses.values())


def test_two_processes_that_keep_code_at_once_may_choose_one_name(filled):
    single = kept(filled, "nbc")
    code, names = single.read_bytes(), kept(filled, "nbi")
    names.unlink()
    assert call_double(fresh()) == (0, 1)  # under the name that the other process has chosen as well
    single.write_bytes(code)  # which that process writes last
    assert [call_double(fresh()), call_double(fresh())] == [(0, 1), (1, 0)]
    assert [call(fresh()), call(fresh()), call_double(fresh())] == [(0, 1), (1, 0), (1, 0)]


@contextmanager
def no_space():
    """Within this context files may have 100 bytes: writing more is an OSError, as on a full disk.

    pytest writes to a file too, if its output is redirected, so the context ends within the test.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_warned_of_once_and_kernels_run(folder):
    with pytest.warns(RuntimeWarning, match=r"not kept.*File too large.*Set NUMBA_CACHE_DIR") as caught, no_space():
        assert [call(fresh()) for _ in range(3)] == [(0, 1)] * 3
    assert len(caught) == 1
    assert not list(folder.rglob("*.nb?"))


def test_a_folder_that_has_become_unusable_is_warned_of_once_and_kernels_run(folder):
    first, second = fresh(), fresh()
    assert first._cache.cache_path == second._cache.cache_path  # looked for before it becomes unusable
    (inner,) = folder.iterdir()
    inner.rmdir()
    inner.write_text("in the way", encoding="utf-8")
    with pytest.warns(RuntimeWarning, match="Set NUMBA_CACHE_DIR") as caught:
        assert [call(first), call(second)] == [(0, 1)] * 2
    assert len(caught) == 1


# Which sources count -------------------------------------------------------------------------------------


def imported(path):
    """Files of the kernels' folder that one imports, by Python's own parser."""
    files = {
        path.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level and node.module
    }
    return {file for file in files if KERNELS in file.parents}


@pytest.mark.parametrize("path", sorted(KERNELS.rglob("*.py")), ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_the_sources_of_a_kernel_are_its_file_and_all_that_it_imports(path):
    expected = {path}
    while more := set().union(*map(imported, expected)) - expected:
        expected |= more
    assert cache.sources(path) == expected


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the kernels' files that may be changed, and their digests by name."""
    shutil.copytree(KERNELS, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache, "_FOLDER", tmp_path / "kernels")

    def digests():
        forget_sources()  # as in a new process
        monkeypatch.setattr(cache, "_imported", {path: cache._marks(path) for path in cache._FOLDER.rglob("*.py")})
        return {path.stem: cache.digest(path) for path in (tmp_path / "kernels").rglob("*.py")}

    yield tmp_path / "kernels", digests
    forget_sources()


def forget_sources():
    """As in a process that has not read the files of any kernel."""
    for known in (cache._contents, cache._imports, cache.digest):
        known.cache_clear()


@pytest.mark.parametrize(
    ("edited", "changed", "same"),
    [
        ("adam", {"adam"}, {"conv", "product", "flat", "elementwise"}),
        ("simd", {"product", "conv", "winograd", "pool"}, {"flat", "adam", "dropout"}),
        ("noise", {"dropout", "gather"}, {"product", "elementwise", "pool"}),
        ("compile", {"product", "conv", "flat", "elementwise", "softmax"}, set()),
        ("denormals", {"product", "conv", "flat", "elementwise", "softmax"}, set()),
        ("cache", {"cache"}, {"product", "flat", "compile"}),
    ],
)
def test_a_change_counts_for_the_kernels_that_are_made_of_it(copied, edited, changed, same):
    folder, digests = copied
    before = digests()
    (path,) = folder.rglob(f"{edited}.py")
    path.write_bytes(path.read_bytes() + b"\n")
    after = digests()
    assert changed <= {name for name in before if before[name] != after[name]}
    assert same <= {name for name in before if before[name] == after[name]}


def test_touching_files_changes_nothing(copied):
    folder, digests = copied
    before = digests()
    for path in folder.rglob("*.py"):
        os.utime(path, (1, 1))
    assert digests() == before


@pytest.mark.parametrize("changed_by", ["its own file", "a file that it imports", "an older file in its place"])
def test_what_was_changed_since_it_was_imported_is_neither_read_nor_kept(tmp_path, changed_by):
    """The process has the old code, and would keep it as that of the new sources."""
    shutil.copytree(KERNELS.parent, tmp_path / "minnet", ignore=shutil.ignore_patterns("__pycache__"))
    given = {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    assert elsewhere(tmp_path, **given)[:2] == (1, 0)
    edited = tmp_path / "minnet" / "kernels" / ("compile.py" if "imports" in changed_by else "passes/flat.py")
    change = f"""
from pathlib import Path
new = Path("new")
new.write_bytes(Path({str(edited)!r}).read_bytes() + b"\\n")
{"os.utime(new, (1, 1))" if "older" in changed_by else ""}
new.replace({str(edited)!r})
"""
    compiled, warned, text = elsewhere(tmp_path, change, **given)
    assert (compiled, warned) == (1, 1)
    assert "was changed after this process had imported minnet: start a new process" in text
    assert elsewhere(tmp_path, **given)[:2] == (1, 0)
    assert elsewhere(tmp_path, **given)[:2] == (0, 0)


# In a process of its own ---------------------------------------------------------------------------------

ELSEWHERE = """
import os
import sys
import warnings
import numpy as np
from numba.core import event

with warnings.catch_warnings(record=True) as caught, event.install_recorder("numba:compile") as compiled:
    warnings.simplefilter("always")
    import minnet
    from minnet.kernels.passes import flat
    exec(sys.argv[1])
    flat.scale(np.ones(3, np.float32), np.float32(2))
print(len(compiled.buffer) // 2, len(caught), *(warning.message for warning in caught))
"""


def elsewhere(package, before="", **environment):
    """(compilations, warnings, text) of a process that calls one kernel of a package, after it has run a program."""
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, before],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    compiled, warned, *text = run.stdout.split(maxsplit=2)
    return int(compiled), int(warned), "".join(text)


def test_where_nothing_can_be_kept_kernels_are_compiled_after_one_warning(tmp_path):
    shutil.copytree(KERNELS.parent, tmp_path / "minnet", ignore=shutil.ignore_patterns("__pycache__"))
    # A file where the folder should be keeps even the superuser from writing.
    (tmp_path / "minnet" / "kernels" / "passes" / "__pycache__").write_text("", encoding="utf-8")
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache", "NUMBA_CACHE_DIR": ""}
    compiled, warned, text = elsewhere(tmp_path, PYTHONDONTWRITEBYTECODE="1", **nowhere)
    assert (compiled, warned) == (1, 1)
    assert "not kept" in text
    assert "Set NUMBA_CACHE_DIR" in text
    given = {**nowhere, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    assert elsewhere(tmp_path, **given)[:2] == (1, 0)
    for path in (tmp_path / "minnet").rglob("*.py"):
        os.utime(path)
    assert elsewhere(tmp_path, **given)[:2] == (0, 0)
    edited = tmp_path / "minnet" / "kernels" / "passes" / "flat.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert elsewhere(tmp_path, **given)[:2] == (1, 0)


STEP = """
import sys
import numpy as np
import minnet as mn
from numba.core import event

with event.install_recorder("numba:compile") as compiled:
    layers = [mn.Conv2D(4, 3), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(300), mn.Tanh()]
    net = mn.Net([*layers, mn.Dropout(0.5), mn.Dense(3)], (8, 8, 3), mn.SoftmaxCrossEntropy())
    net.loss_and_grads(np.ones((70, 8, 8, 3)), np.zeros(70, np.int64))
    mn.Optimizer(net, mn.Adam()).step(0.1)
print(len(compiled.buffer), *sorted(name for name in sys.modules if name in ("numba.np.linalg", "scipy.linalg")))
"""


def test_a_step_whose_kernels_are_kept_imports_nothing_that_compiles(tmp_path):
    def run():
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(KERNELS.parent.parent)}
        done = subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    compiled, *imported = run()
    assert int(compiled) > 0
    assert "numba.np.linalg" in imported  # and SciPy, if there is one
    assert run() == ["0"]
