"""What pyproject.toml allows is what the tests are run with."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]


def parts(version):
    """Numbers of a version, without zeros at its end."""
    numbers = [int(number) for number in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers


def test_the_oldest_versions_that_are_tested_are_the_oldest_that_are_allowed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    bounds = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups() for requirement in allowed)
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert {name: parts(version) for name, version in bounds.items()} == {name: parts(pinned[name]) for name in bounds}
    assert project["requires-python"] == ">=3.11"


def test_no_module_beside_the_tests_has_the_name_of_a_package_that_minnet_uses():
    """The tests find the modules of these folders by name, before what is installed."""
    ours = {path.stem for folder in ("bench", "tests/shared", "docs/building") for path in (ROOT / folder).glob("*.py")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    named = {re.split(r"[<>=]", requirement)[0] for requirements in wanted for requirement in requirements}
    used = {module for module, of in packages_distributions().items() if named & {name.lower() for name in of}}
    assert {"numpy", "numba"} <= used
    assert not ours & (used | set(sys.stdlib_module_names))
