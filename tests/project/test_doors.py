"""The rooms of the package and the doors between them: who may import whom, and when.

Imports are read from the source with ``ast``, so nothing has to be run, and a forbidden import is named with its file.
"""

import ast
import inspect
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import minnet as mn

PACKAGE = Path(mn.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MODULES["minnet"] = MODULES.pop("__init__")

# What each room may import of minnet, also for annotations and within functions. A room may import all of itself. The
# four folders of kernels/ are rooms of their own; all may import what lies in kernels/ itself.
DOORS = {
    "base": set(),
    "storage": set(),
    "kernels": {"base"},
    "kernels.vector": {"kernels"},
    "kernels.passes": {"kernels", "kernels.vector"},
    "kernels.updates": {"kernels", "kernels.vector"},
    "kernels.replay": {"kernels"},
    "plots": {"storage"},
    "schedules": {"base", "plots"},
    "layers": {"base", "kernels"},
    "net": {"base", "kernels", "layers"},
    "optim": {"base", "kernels", "layers", "net", "schedules"},
    "data": {"base", "storage", "kernels"},
    "distributed": {"base", "kernels", "layers", "net"},
    "training": {"base", "storage", "kernels", "plots", "schedules", "net", "optim", "data", "distributed"},
    "averaging": {"base", "kernels", "layers", "net", "data", "training"},
    "ensemble": {"base", "storage", "net", "data", "training", "averaging"},
    "experiments": {
        *("base", "storage", "kernels", "plots", "schedules", "net", "optim", "data", "training", "ensemble"),
    },
    "gradcheck": {"base", "storage", "plots", "layers", "net", "optim"},
    "diagnostics": {
        *("base", "storage", "kernels", "plots", "layers", "net", "optim", "data", "training", "gradcheck"),
    },
    "benchmark": {
        *("base", "storage", "kernels", "plots", "schedules", "layers", "net", "optim", "data", "training"),
        "experiments",
    },
    "formats": {"base", "storage", "layers", "net"},
    "sklearn": {"base", "schedules", "layers", "net", "optim", "data", "training", "ensemble"},
}
ROOT_MODULES = {"minnet", "__main__"}  # the package itself, and python -m minnet: both stand in no room
LATE = "plots"  # is imported within functions only, since Matplotlib is slow to import
MOST_ROOMS = 19

OUTSIDE = {"numpy", "numba", "llvmlite", *sys.stdlib_module_names}
# Other packages, and the room that may import them, inside its functions only.
LATE_OUTSIDE = {
    "matplotlib": {"plots"},
    "cycler": {"plots"},
    "PIL": {"plots", "data"},  # figures; folders of images
    "tqdm": {"training", "diagnostics", "data"},
    "safetensors": {"storage"},
    "mpi4py": {"distributed"},
    "torch": {"formats"},
    # Of extras.
    "onnx": {"formats"},
    "pooch": {"data"},
    "requests": {"data"},  # which pooch needs
    "pandas": {"training"},
    "tensorboardX": {"training"},
    "mlflow": {"training"},
    "wandb": {"training"},
}
# Modules that are imported when somebody asks for what is in them, and that inherit from another package.
UPON_REQUEST = {"sklearn": "minnet.sklearn.estimators"}


@cache
def tree(path):
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Import:
    """One imported module: of minnet (``target`` without the package's name), or of another package."""

    target: str
    inside: bool  # of minnet
    late: bool  # within a function
    line: int


def imports_of(module, root, is_package=False):
    """All imports of a module's syntax tree, with relative ones resolved."""
    found = []

    def add(name, node, late):
        inside = name == "minnet" or name.startswith("minnet.")
        found.append(Import(name.removeprefix("minnet").lstrip("."), inside, late, node.lineno))

    def visit(node, late):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    add(alias.name, child, late)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = ("minnet." + module).split(".") if module != "minnet" else ["minnet"]
                    keep = len(parts) - child.level + (1 if is_package else 0)
                    base = ".".join([*parts[:keep], *([child.module] if child.module else [])])
                for alias in child.names:
                    # ``from ..base import checks`` imports a module, ``from .spec import Plan`` a name in one.
                    whole = f"{base}.{alias.name}".removeprefix("minnet.")
                    add(f"minnet.{whole}" if whole in MODULES else base, child, late)
            elif not isinstance(child, ast.expr):  # no expression contains an import
                visit(child, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    visit(root, False)
    return found


@cache
def all_imports():
    """The imports of every module of the package."""
    return {name: imports_of(name, tree(path), path.name == "__init__.py") for name, path in MODULES.items()}


def room_of(module):
    first, *rest = module.split(".")
    inner = f"{first}.{rest[0]}" if rest else first
    return inner if inner in DOORS else first


def first_level(module):
    return module.split(".")[0]


def faults(module, imports):
    """Imports of minnet that the table does not allow."""
    room = room_of(module)
    for i in imports:
        if not i.inside:
            continue
        target = room_of(i.target)
        open_to = {room} | DOORS[room] | ({first_level(room)} if "." in room else set())
        known = target in open_to or (first_level(target) in open_to and first_level(room) != "kernels")
        if not known or (target == LATE != room and not i.late):
            got = i.target or "minnet itself"
            yield f"{module}, line {i.line}: expected imports of {sorted(open_to)} only; got {got}"


def test_a_module_imports_only_what_its_room_may():
    modules = all_imports().keys() - ROOT_MODULES
    assert [module for module in modules if room_of(module) not in DOORS] == [], "these have no row in the table"
    assert [fault for module in sorted(modules) for fault in faults(module, all_imports()[module])] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("layers.spec", "from ..net.net import Net"),
        ("layers.spec", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..net.net import Net"),
        ("kernels.vector.conv", "from ..passes.batch_norm import batch_norm"),
        ("kernels.compile", "from .vector.block import block"),
        ("kernels.passes.flat", "from ...layers.spec import Plan"),
        ("optim.rules.adam", "from ...training.trainer import Trainer"),
        ("layers.dense", "from ..net.losses import Loss"),
        ("layers.dense", "import minnet.net"),
        ("layers.dense", "def plan(self):\n    from ..net import net"),
        ("base.checks", "from minnet.layers import spec"),
        ("net.net", "from ..training import trainer"),
        ("training.trainer", "import minnet"),
        ("training.history", "from .. import plots"),
    ],
)
def test_a_forbidden_door_would_be_seen(module, source):
    assert list(faults(module, imports_of(module, ast.parse(source))))


def circles(graph):
    """What is left of a graph, by module all that it imports, once modules without imports are taken away."""
    left = {module: set(targets) & set(graph) - {module} for module, targets in graph.items()}
    while free := {module for module, targets in left.items() if not targets}:
        left = {module: targets - free for module, targets in left.items() if module not in free}
    return left


def with_packages(module, targets):
    """The imported modules and, of other packages than the module's own, the ``__init__`` that runs before each."""
    parts = [target.split(".") for target in targets]
    packages = {".".join(path[:n]) for path in parts for n in range(1, len(path))}
    return set(targets) | {package for package in packages if not f"{module}.".startswith(f"{package}.")}


def test_no_modules_import_each_other_in_a_circle():
    targets = {module: {i.target for i in imports if i.inside} for module, imports in all_imports().items()}
    assert circles({module: with_packages(module, names) for module, names in targets.items()}) == {}


def test_a_circle_would_be_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == {
        "a": {"b"},
        "b": {"c"},
        "c": {"a"},
        "d": {"a"},
    }


def test_the_table_of_doors_names_every_room_and_has_no_circle():
    assert set(DOORS) == {room_of(module) for module in MODULES} - ROOT_MODULES
    assert circles(DOORS) == {}


def test_the_picture_in_contributing_is_the_tree():
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = text.split("## The rooms")[1].split("```")[1]
    drawn = [line.split()[0].rstrip("/") for line in picture.splitlines() if line.strip() and not line.startswith(" ")]
    assert sorted(drawn) == sorted({first_level(module) for module in MODULES} - ROOT_MODULES)
    assert len(drawn) <= MOST_ROOMS
    inner = {line.split()[0].rstrip("/") for line in picture.splitlines() if line.startswith("  ") and line[2] != " "}
    assert inner == {room.split(".")[1] for room in DOORS if "." in room}


def test_the_map_in_contributing_names_what_there_is():
    root = Path(__file__).parents[2]
    table = (root / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Where to find")[1].split("##")[0]
    paths = re.findall(r"`(minnet/[^`]+)`", table)
    assert len(paths) > 10
    assert [path for path in paths if not (root / path).exists()] == []
    places = re.findall(r"`(\w+)` in `(minnet/[^`]+\.py)`", table)
    for name, path in places:
        tree = ast.parse((root / path).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert name in defined, f"{path} has no {name}"


def test_other_packages_are_imported_only_where_they_are_used():
    for module, i in ((module, i) for module, imports in all_imports().items() for i in imports):
        package = first_level(i.target)
        if i.inside or package in OUTSIDE or f"minnet.{module}" == UPON_REQUEST.get(package):
            continue
        assert package in LATE_OUTSIDE, f"{module}, line {i.line}: imports {i.target}, which is no dependency"
        assert first_level(module) in LATE_OUTSIDE[package], f"{module}, line {i.line}: imports {i.target}"
        assert i.late, f"{module}, line {i.line}: imports {i.target} at import, not where it is used"


def test_numba_is_known_to_the_kernels_alone():
    users = {
        module for module, imports in all_imports().items() if any(i.target.split(".")[0] == "numba" for i in imports)
    }
    assert {first_level(module) for module in users} == {"kernels"}


def test_the_package_imports_names_and_does_nothing_else():
    body = tree(MODULES["minnet"]).body
    kinds = {type(node) for node in body[1:]}
    assert isinstance(body[0], ast.Expr)  # the docstring
    assert kinds <= {ast.ImportFrom, ast.Assign, ast.FunctionDef}
    assert [node.name for node in body if isinstance(node, ast.FunctionDef)] == ["__getattr__", "__dir__"]
    assert {node.targets[0].id for node in body if isinstance(node, ast.Assign)} == {"__version__", "__all__", "_LATER"}


# Public names ------------------------------------------------------------------------------------------------


def test_a_public_name_exists_and_says_what_it_is():
    texts = {name: inspect.getdoc(getattr(mn, name)) for name in mn.__all__}
    assert [name for name, text in texts.items() if not text] == []
    assert [name for name, text in texts.items() if text.startswith(f"{name}(")] == [], (
        "a signature that dataclass made"
    )


def test_the_public_methods_of_a_public_class_say_what_they_do():
    for value in filter(inspect.isclass, (getattr(mn, name) for name in mn.__all__)):
        methods = [m for m in dir(value) if not m.startswith("_") and inspect.isfunction(getattr(value, m))]
        # A method that overrides a documented one inherits its docstring, and so does inspect.getdoc.
        assert [m for m in methods if not inspect.getdoc(getattr(value, m))] == [], value


def test_all_is_sorted_unique_and_complete():
    assert len(set(mn.__all__)) == len(mn.__all__)
    bound = {
        alias.asname or alias.name
        for node in tree(MODULES["minnet"]).body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert bound == set(mn.__all__)


# What no file may do -----------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
SOURCES = [
    *MODULES.values(),
    *(path for folder in ("examples", "bench") for path in sorted((ROOT / folder).rglob("*.py"))),
]
assert any(path.name == "reproduce.py" for path in SOURCES)
RANDOM = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64", "Philox"}


def offences(root):
    """Uses of a global random state, of pickle, and of text run as code, in a syntax tree."""
    for node in ast.walk(root):
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


def test_no_global_random_state_no_pickle_no_code_from_text():
    assert [f"{path}, {offence}" for path in SOURCES for offence in offences(tree(path))] == []


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
    assert list(offences(ast.parse(source)))


BINARY = {"os.open", "gzip.open", "tarfile.open", "Image.open"}  # which open no text, whatever their mode is


def text_without_encoding(root):
    """Calls that open a text file in whatever encoding the machine prefers, in a syntax tree."""
    for node in ast.walk(root):
        if isinstance(node, ast.Call):
            call = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = {keyword.arg for keyword in node.keywords}
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if call not in ("open", "read_text", "write_text") or "encoding" in given:
                continue
            binary = ast.unparse(node.func) in BINARY or any("b" in mode for mode in modes[-1:])
            if call != "open" or not binary:
                yield f"line {node.lineno}: {ast.unparse(node)}"


def test_every_text_file_is_opened_with_its_encoding():
    assert [f"{path}, {call}" for path in SOURCES for call in text_without_encoding(tree(path))] == []


@pytest.mark.parametrize(
    "source", ["path.read_text()", "path.write_text(text)", "open(path)", "path.open('w')", "path.open(newline='')"]
)
def test_a_text_file_without_an_encoding_would_be_seen(source):
    assert list(text_without_encoding(ast.parse(source)))


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
    assert not [name for name in loaded if name.startswith(("minnet.plots", "minnet.sklearn"))]


@pytest.mark.parametrize("module", UPON_REQUEST.values())
def test_no_module_imports_one_that_needs_another_package(module):
    users = [name for name, imports in all_imports().items() for i in imports if f"minnet.{i.target}" == module]
    assert users == []
