"""What pyproject.toml allows is what the tests are run with."""

import re
import tomllib
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
