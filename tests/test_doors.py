"""The rooms of the package and the doors between them: who may import whom, and when.

Imports are read from the source with ``ast``, so nothing has to be run, and a forbidden import is named with its file.
"""

import ast
import inspect
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import minnet as mn

PACKAGE = Path(mn.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MODULES["minnet"] = MODULES.pop("__init__")

# What each room may import of minnet when it is imported itself. A package stands for all its modules. A new module
# needs a row, which is the moment to ask whether it stands in the right place.
DOORS = {
    "checks": set(),
    "streams": set(),
    "files": set(),
    "spec": set(),
    "kernels": {
        "kernels.arrays",
        "kernels.chunks",
        "kernels.borders",
        "kernels.cache",
        "kernels.calls",
        "kernels.channels",
        "kernels.compile",
        "kernels.denormals",
        "kernels.elementary",
        "kernels.means",
        "kernels.noise",
        "kernels.plain",
        "kernels.simd",
        "kernels.sums",
    },
    "initializers": {"checks", "spec"},
    "schedules": {"checks", "schedules"},
    "memory": {"streams", "spec", "kernels"},
    "threads": {"checks"},
    "summary": {"memory", "spec"},
    "rules": {"streams", "checks", "spec", "kernels", "schedules", "rules"},
    "losses": {"checks", "spec", "kernels"},
    "layers": {"checks", "spec", "kernels", "initializers", "memory", "layers"},
    "net": {
        "streams",
        "checks",
        "summary",
        "spec",
        "kernels",
        "memory",
        "layers",
        "losses",
        "initializers",
        "schedules",
        "rules",
    },
    "data": {"streams", "checks", "kernels"},
    "datasets": {"streams", "checks", "data", "files"},
    "listing": set(),
    "progress": set(),
    "history": {"checks", "files", "listing"},
    "groups": {"checks", "spec", "rules", "schedules"},
    "optimizer": {"checks", "spec", "kernels", "rules", "schedules", "groups", "net"},
    "direction": set(),
    "callbacks": {"checks", "files", "direction"},
    "controllers": {"checks", "callbacks", "direction"},
    "tensorfile": set(),
    "archive": {"files", "tensorfile"},
    "table": {"history"},
    "folderlock": set(),
    "checkpoint": {"table", "archive", "callbacks", "checks", "direction", "files", "folderlock", "moments"},
    "description": {"net"},
    "resume": {"table", "archive", "checkpoint", "data", "description", "history", "net", "schedules"},
    "gradcheck": {"streams", "checks", "files", "spec", "layers", "losses", "net", "rules", "optimizer", "gradcheck"},
    "signals": set(),
    "train": {
        *("progress", "signals", "streams"),
        *("checks", "files", "spec", "rules", "schedules", "groups", "net", "optimizer"),
        *("data", "history", "callbacks", "losses"),
        *("archive", "checkpoint", "resume"),
    },
    "moments": {"checks"},
    "answers": {"losses"},
    "comparison": {"answers", "checks", "direction", "losses", "streams"},
    "averaging": {
        *(
            "streams",
            "answers",
            "checks",
            "averaging",
            "callbacks",
            "comparison",
            "data",
            "kernels",
            "layers",
            "moments",
            "net",
        ),
    },
    "ensemble": {
        *("answers", "checks", "archive", "averaging", "callbacks", "comparison", "description", "direction"),
        *("ensemble", "losses", "moments", "net"),
    },
    "landscapes": {"streams", "checks", "optimizer", "rules", "schedules"},
    "lr_finder": {"checks", "direction", "files", "groups", "rules", "net", "data", "train", "lr_finder"},
    "diagnostics": {
        *(
            "streams",
            "checks",
            "files",
            "spec",
            "initializers",
            "layers",
            "losses",
            "memory",
            "net",
            "optimizer",
            "rules",
        ),
        *("data", "train", "callbacks", "history", "lr_finder", "gradcheck", "moments", "diagnostics"),
    },
    "plots": {"files", "gradcheck", "history", "lr_finder", "plots"},
}
# Doors that open only when a function is called: a figure asked of what it shows.
LATE_DOORS = {(room, "plots") for room in ("history", "schedules", "lr_finder", "gradcheck", "diagnostics")}

OUTSIDE = {"numpy", "numba", "llvmlite", *sys.stdlib_module_names}
# Other packages, and the room that may import them, inside its functions only.
LATE_OUTSIDE = {
    "matplotlib": {"plots"},
    "cycler": {"plots"},
    "PIL": {"plots"},
    "tqdm": {"progress", "lr_finder", "diagnostics"},
    "safetensors": {"archive"},
    "torch": set(),
}


@dataclass(frozen=True)
class Import:
    """One imported module: of minnet (``target`` without the package's name), or of another package."""

    target: str
    inside: bool  # of minnet
    late: bool  # within a function
    typing: bool  # under ``if TYPE_CHECKING``
    line: int


def imports_of(module, source, is_package=False):
    """All imports of a module's source, with relative ones resolved."""
    found = []

    def add(name, node, late, typing):
        inside = name == "minnet" or name.startswith("minnet.")
        found.append(Import(name.removeprefix("minnet").lstrip("."), inside, late, typing, node.lineno))

    def visit(node, late, typing):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    add(alias.name, child, late, typing)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = ("minnet." + module).split(".") if module != "minnet" else ["minnet"]
                    keep = len(parts) - child.level + (1 if is_package else 0)
                    base = ".".join([*parts[:keep], *([child.module] if child.module else [])])
                for alias in child.names:
                    # ``from . import checks`` imports a module, ``from .spec import Plan`` a name in one.
                    whole = f"{base}.{alias.name}".removeprefix("minnet.")
                    add(f"minnet.{whole}" if whole in MODULES else base, child, late, typing)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for part in child.body:
                    visit(ast.Module([part], []), late, True)
                visit(ast.Module(child.orelse, []), late, typing)
            else:
                visit(child, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda), typing)

    visit(ast.parse(source), False, False)
    return found


ALL_IMPORTS = {
    name: imports_of(name, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    for name, path in MODULES.items()
}


def room_of(module):
    return module.split(".")[0]


def allowed(module, target):
    """Whether the row of ``module`` names ``target`` or its room."""
    return bool({target, room_of(target)} & DOORS[room_of(module)])


def faults(module, imports):
    """Imports of minnet that the table does not allow."""
    for i in imports:
        if not i.inside or i.typing or (i.late and (room_of(module), room_of(i.target)) in LATE_DOORS):
            continue
        if not allowed(module, i.target):
            doors = sorted(DOORS[room_of(module)])
            yield f"{module}, line {i.line}: expected imports of {doors} only; got {i.target or 'minnet itself'}"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"minnet"}))
def test_a_module_imports_only_what_its_room_may(module):
    assert room_of(module) in DOORS, f"{module} has no row in the table of doors"
    assert not list(faults(module, ALL_IMPORTS[module]))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("spec", "from . import checks"),
        ("kernels.flat", "from .batch_norm import batch_norm"),
        ("kernels.flat", "from ..spec import Plan"),
        ("rules", "from .net import Net"),
        ("layers.dense", "from ..losses import Loss"),
        ("layers.dense", "import minnet.net"),
        ("layers.dense", "def plan(self):\n    from ..net import Net"),
        ("checks", "from minnet import spec"),
        ("net", "from . import train"),
        ("train", "import minnet"),
        ("train", "if late:\n    from .plots import figure"),
    ],
)
def test_a_forbidden_door_would_be_seen(module, source):
    assert list(faults(module, imports_of(module, source)))


def test_the_table_of_doors_names_every_room_and_has_no_circle():
    assert set(DOORS) == {room_of(module) for module in MODULES} - {"minnet"}
    done = set()
    while len(done) < len(DOORS):
        ready = {room for room, opens in DOORS.items() if {room_of(t) for t in opens} - {room} <= done} - done
        assert ready, f"a circle among {sorted(set(DOORS) - done)}"
        done |= ready


@pytest.mark.parametrize("module", sorted(MODULES))
def test_other_packages_are_imported_only_where_they_are_used(module):
    for i in ALL_IMPORTS[module]:
        package = room_of(i.target)
        if i.inside or i.typing or package in OUTSIDE:
            continue
        assert package in LATE_OUTSIDE, f"{module}, line {i.line}: imports {i.target}, which is no dependency"
        assert room_of(module) in LATE_OUTSIDE[package], f"{module}, line {i.line}: imports {i.target}"
        assert i.late, f"{module}, line {i.line}: imports {i.target} at import, not where it is used"


def test_numba_is_known_to_the_kernels_alone():
    users = {module for module, imports in ALL_IMPORTS.items() if any(room_of(i.target) == "numba" for i in imports)}
    assert users == {
        *(
            f"kernels.{name}"
            for name in (
                "activation",
                "batch_norm",
                "borders",
                "cache",
                "calls",
                "compile",
                "conv",
                "denormals",
                "elementary",
                "gather",
                "gradients",
                "group_norm",
                "layer_norm",
                "pool",
                "product",
                "residual",
                "simd",
                "update",
                "update_adam",
                "update_schedule_free",
                "update_tensor",
                "winograd",
            )
        ),
        "threads",
    }


def test_the_package_imports_names_and_does_nothing_else():
    body = ast.parse(MODULES["minnet"].read_text(encoding="utf-8")).body
    kinds = {type(node) for node in body[1:]}
    assert isinstance(body[0], ast.Expr)  # the docstring
    assert kinds <= {ast.ImportFrom, ast.Assign, ast.FunctionDef}
    assert [node.name for node in body if isinstance(node, ast.FunctionDef)] == ["__getattr__"]  # for mn.plots, late
    assert {node.targets[0].id for node in body if isinstance(node, ast.Assign)} == {"__version__", "__all__"}


# Public names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", mn.__all__)
def test_a_public_name_exists_and_says_what_it_is(name):
    value = getattr(mn, name)
    text = inspect.getdoc(value)
    assert text
    assert not text.startswith(f"{name}("), "a signature that dataclass made, not a docstring"


@pytest.mark.parametrize("name", mn.__all__)
def test_the_public_methods_of_a_public_class_say_what_they_do(name):
    value = getattr(mn, name)
    if inspect.isclass(value):
        silent = [m for m in dir(value) if not m.startswith("_") and inspect.isfunction(getattr(value, m))]
        # A method that overrides a documented one inherits its docstring, and so does inspect.getdoc.
        assert [m for m in silent if not inspect.getdoc(getattr(value, m))] == []


def test_all_is_sorted_unique_and_complete():
    assert len(set(mn.__all__)) == len(mn.__all__)
    bound = {
        alias.asname or alias.name
        for node in ast.parse(MODULES["minnet"].read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert bound == set(mn.__all__)


# What no file may do -----------------------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent
SOURCES = [
    *MODULES.values(),
    *(path for folder in ("examples", "bench") for path in sorted((ROOT / folder).rglob("*.py"))),
]
assert any(path.name == "reproduce.py" for path in SOURCES)
RANDOM = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64", "Philox"}


def offences(source):
    """Uses of a global random state, of pickle, and of text run as code."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            base = ast.unparse(node.value)
            names = [f"{'numpy.random' if base == 'np.random' else base}.{node.attr}"]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            names = [node.func.id]
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            names = ["pickle"]
        for name in names:
            package, *rest = name.split(".")
            if package in ("pickle", "cloudpickle", "dill", "marshal", "shelve", "random", "eval", "exec"):
                yield f"line {node.lineno}: {name}"
            if package == "numpy" and rest[:1] == ["random"] and rest[1:] and rest[1] not in RANDOM:
                yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_global_random_state_no_pickle_no_code_from_text(path):
    assert not list(offences(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "np.random.seed(0)",
        "x = numpy.random.normal(size=3)",
        "from numpy.random import rand",
        "import random",
        "import pickle",
        "from pickle import loads",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_an_offence_would_be_seen(source):
    assert list(offences(source))


def text_without_encoding(source):
    """Calls that open a text file in whatever encoding the machine prefers."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            call = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = {keyword.arg for keyword in node.keywords}
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            binary = ast.unparse(node.func) in ("os.open", "gzip.open") or any("b" in mode for mode in modes[-1:])
            text = call in ("read_text", "write_text") or (call == "open" and not binary)
            if text and "encoding" not in given:
                yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_text_file_is_opened_with_its_encoding(path):
    assert not list(text_without_encoding(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source", ["path.read_text()", "path.write_text(text)", "open(path)", "path.open('w')", "path.open(newline='')"]
)
def test_a_text_file_without_an_encoding_would_be_seen(source):
    assert list(text_without_encoding(source))


# A fresh process ---------------------------------------------------------------------------------------------

FRESH = """
import sys

import numba
import numpy
from numba.core import event

before = set(sys.modules)
with event.install_recorder("numba:compile") as compiled:
    import minnet

kernels = [
    value
    for name, module in sys.modules.items() if name.startswith("minnet.kernels")
    for value in vars(module).values() if hasattr(value, "py_func")
]
print(len(compiled.buffer), len(kernels), sum(len(kernel.signatures) for kernel in kernels))
print(*sorted(sys.modules.keys() - before))

# The recorder does see a compilation.
with event.install_recorder("numba:compile") as compiled:
    minnet.Net([minnet.ReLU()], 3).predict(numpy.ones((2, 3), numpy.float32))
print(len(compiled.buffer))
"""


@pytest.fixture(scope="module")
def fresh_import(tmp_path_factory):
    """What a new interpreter with an empty kernel cache says about ``import minnet``."""
    cache = tmp_path_factory.mktemp("cache")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True, check=True)
    counts, loaded, later = run.stdout.splitlines()
    return [int(word) for word in counts.split()], loaded.split(), int(later)


def test_importing_minnet_compiles_nothing(fresh_import):
    (compiled, kernels, signatures), _, later = fresh_import
    assert kernels > 30
    assert (compiled, signatures) == (0, 0)
    assert later > 0


# Modules of the standard library that minnet needs at import and NumPy and Numba may not have loaded.
STANDARD = {"fcntl", "fractions", "gzip", "signal"} | {"decimal", "_decimal", "_pydecimal"}  # the latter by fractions


def test_importing_minnet_loads_little_beside_numpy_and_numba(fresh_import):
    # How long that takes depends on the machine: bench/first_step.py measures it.
    _, loaded, _ = fresh_import
    assert "minnet" in loaded
    assert {name for name in loaded if name.partition(".")[0] != "minnet"} <= STANDARD


def test_importing_minnet_loads_no_module_that_is_imported_late(fresh_import):
    _, loaded, _ = fresh_import
    assert not [name for name in loaded if name.startswith("minnet.plots")]
